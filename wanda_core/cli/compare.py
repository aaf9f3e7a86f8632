"""`compare`: measure perplexities of methods and sparsities."""

from __future__ import annotations

import argparse
import shlex
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from wanda_core.atomic_write import write_whole
from wanda_core.cli.arguments import FLAGS as COMMON
from wanda_core.cli.arguments import (
    add_settings,
    add_source,
    names,
    new_command,
    refuse_unwritable,
    settings_of,
)
from wanda_core.cli.progress_bar import Bar
from wanda_core.errors import Refused
from wanda_core.experiments.experiment import Experiment, ExperimentSettings
from wanda_core.method.bits import TYPES
from wanda_core.method.methods import METHODS
from wanda_core.method.recipe import Recipe

FLAGS = COMMON | {"method": "--methods", "sparsity": "--sparsities", "pattern": "--patterns"}
"""Settings that this command has lists of."""

EXAMPLES = """\
  compare pocket --sparsities 0.5,0.7 --patterns 2:4 --calibration text.txt --samples 16 --length 256 \\
      --evaluation other.txt --windows 32 --eval-length 256 --json results.json
  compare HuggingFaceTB/SmolLM2-135M --methods magnitude,wanda,sparsegpt --calibration c4 --evaluation wikitext2"""


def add_to(commands: Any) -> None:
    command = new_command(commands, "compare", "measure perplexities of methods and sparsities", EXAMPLES)
    command.set_defaults(run=run, flags=FLAGS)
    add_source(command, ExperimentSettings)
    command.add_argument(
        "--methods",
        type=names,
        default=["magnitude", "wanda"],
        metavar="A,B,...",
        help=f"of {', '.join(METHODS)} (default magnitude,wanda)",
    )
    command.add_argument(
        "--sparsities", type=names, default=[], metavar="S,T,...", help="default 0.5, or none with --patterns"
    )
    command.add_argument(
        "--patterns", type=names, default=[], metavar="N:M,...", help="N weights kept of every M inputs"
    )
    command.add_argument(
        "--bits",
        type=names,
        default=["16"],
        metavar="16,8,4",
        help="that kept weights are rounded to after pruning, as GGUF's Q8_0 and Q4_0 do: every point in each, and the "
        "dense model, too (default 16, as they are)",
    )
    add_settings(command, Recipe, ("group", "allocation", "schedule", "recovery", "order"))
    add_settings(
        command,
        ExperimentSettings,
        (
            "calibration",
            "chat",
            "samples",
            "length",
            "seed",
            "evaluation",
            "windows",
            "eval_length",
            "revision",
            "device",
            "dtype",
            "stream",
        ),
        required=("calibration", "evaluation"),
    )
    command.add_argument("--json", type=Path, metavar="FILE", help="write protocol and rows, row by row")
    command.add_argument("--csv", type=Path, metavar="FILE", help="write the rows as a table")
    command.add_argument(
        "--report", type=Path, metavar="FILE.html", help="write a report that opens anywhere and prints"
    )
    command.add_argument("--resume", action="store_true", help="keep what --json FILE holds already")


def recipes_of(options: argparse.Namespace) -> list[Recipe]:
    """Every method at every sparsity, then at every pattern, and these in another order of the channels; then all of
    them recovered, where these are asked for; and each in all the bits."""
    sparsities = options.sparsities or ([] if options.patterns else ["0.5"])
    common = {"schedule": options.schedule, "seed": options.seed}
    # N:M patterns have groups and an allocation of their own.
    unstructured = {"group": options.group, "allocation": options.allocation, **common}
    recipes = [
        Recipe(method=method, sparsity=_number(sparsity), **unstructured)
        for method in options.methods
        for sparsity in sparsities
    ] + [
        Recipe(method=method, pattern=pattern, **common)
        for method in options.methods
        for pattern in options.patterns
    ]
    if options.order != "none":
        if not options.patterns:
            raise Refused("{order} needs an N:M pattern: add {pattern} 2:4, or leave it out")
        recipes += [replace(r, order=options.order) for r in recipes if r.parsed_pattern.structured]
    if options.recovery != "none":
        recipes += [replace(recipe, recovery=options.recovery) for recipe in recipes]
    bits = [_whole(each) for each in options.bits]
    return [replace(recipe, bits=each) for recipe in recipes for each in dict.fromkeys(bits)]


def run(options: argparse.Namespace) -> None:
    from wanda_core.experiments.compare import compare, not_among
    from wanda_core.experiments.report import point_name, report_html
    from wanda_core.experiments.rows import load_json, save_csv, save_json
    from wanda_core.models.language_model import streaming_note

    recipes = recipes_of(options)
    if options.resume and not options.json:
        raise Refused("--resume needs --json FILE, the results to continue")
    refuse_unwritable(options.json, options.csv, options.report)
    kept = load_json(options.json) if options.resume and options.json.exists() else None
    experiment = Experiment.prepare(settings_of(ExperimentSettings, options))
    model, tokens, windows = experiment.model, experiment.tokens, experiment.windows
    assert windows is not None  # an evaluation text is required
    if note := streaming_note(model):
        print(note, flush=True)
    protocol = experiment.protocol
    known = []
    if kept:
        _refuse_other_protocol(options.json, kept[0], protocol)
        known = kept[1]
    rows: list[dict[str, Any]] = []
    layers: dict[str, list[Any]] = {}
    left: list[str] = []
    unwritten: list[str] = []

    def write(save: Callable[..., None], *what: Any) -> None:
        """A full disk is no reason to lose what was measured: it is printed at the end all the same."""
        try:
            save(*what)
        except Refused as error:
            unwritten.append(str(error))

    def keep(row: dict[str, Any], pruning: Any) -> None:
        rows.append(row)
        if pruning is not None and row["error"] is None:
            layers[point_name(row)] = pruning.reports
            if pruning.scan is not None:
                left.append(f"{point_name(row)}, {pruning.scan.told}")
            left.extend(f"{point_name(row)}, block {x.block}: {x.note}" for x in pruning.recovered if x.note)
            if pruning.recovered_model and pruning.recovered_model.note:
                left.append(f"{point_name(row)}: {pruning.recovered_model.note}")
        if options.json:
            # An earlier point stays in the file until it is measured anew, so that nothing is lost by stopping.
            write(save_json, options.json, protocol, rows + not_among(rows, known))
        if options.csv:
            write(save_csv, options.csv, rows)

    with Bar() as bar:
        compare(model, tokens, windows, recipes, known=known, on_row=keep, on_progress=bar, stop=options.stop)
    if options.report:
        command = shlex.join(["wanda-lab", *options.argv])
        write(write_whole, options.report, report_html(protocol, rows, layers=layers, command=command))
    _print_rows(rows, protocol)
    for line in left:
        print(line)
    if unwritten:
        raise Refused(unwritten[-1])
    if failed := [row for row in rows if row["error"]]:
        raise Refused(
            f"{len(failed)} of {len(rows)} points failed; {failed[0]['method']}: {failed[0]['error']}"
        )


def _refuse_other_protocol(file: Path, then: dict[str, Any], now: dict[str, Any]) -> None:
    # Neither decides what is measured, and earlier files lack the second.
    said = ("date", "bytes_per_token")
    differing = [key for key in now if key not in said and then.get(key) != now[key]]
    if differing:
        raise Refused(
            f"{file} was measured under another protocol ({', '.join(differing)} differ): give --json a new file"
        )


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise Refused(f"--sparsities takes numbers between 0 and 1, not `{text[:40]}`") from None


def _whole(text: str) -> int:
    if not text.isdecimal():
        raise Refused(f"--bits takes {', '.join(map(str, TYPES))}, not `{text[:40]}`")
    return int(text)


def _print_rows(rows: list[dict[str, Any]], protocol: dict[str, Any]) -> None:
    from wanda_core.experiments.front import bits_per_byte
    from wanda_core.experiments.rows import table

    shown = table(rows)
    shown["times dense"] = shown["perplexity"] / rows[0]["perplexity"] if rows[0]["perplexity"] else None
    length = protocol["bytes_per_token"]
    shown["bits/byte"] = [each and bits_per_byte(each, length) for each in shown["perplexity"]]
    columns = ["method", *(key for key in ("recovery", "order") if (shown[key] != "none").any())]
    columns += ["bits"] * bool((shown["bits"] != 16).any())
    columns += [
        "pattern",
        "sparsity_reached",
        "perplexity",
        "perplexity_low",
        "perplexity_high",
        "times dense",
        "bits/byte",
    ]
    for key in ("file", "packed", "deflated"):
        shown[f"{key} MB"] = shown[f"bytes_{key}"] / 1e6
        columns.append(f"{key} MB")
    columns += ["prune_seconds", "evaluate_seconds"]
    print(shown[columns].to_string(index=False, float_format="{:.4g}".format, na_rep="-"))
    print(
        f"\nPerplexity on the first {protocol['windows']} windows of {protocol['eval_length']} tokens of "
        f"{protocol['evaluation']}, with a 95% interval over windows; calibrated on {protocol['samples']} windows of "
        f"{protocol['length']} tokens of {protocol['calibration']}, seed {protocol['seed']}.\n"
        f"{protocol['device']}, {protocol['dtype']}, {protocol['threads']} threads, torch {protocol['torch']}, "
        f"transformers {protocol['transformers']}."
    )
