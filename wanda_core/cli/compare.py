"""`compare`: measure perplexities of methods and sparsities."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from wanda_core.cli.arguments import (
    CHARACTERS_PER_TOKEN,
    add_allocation,
    add_calibration,
    add_model,
    characters,
    load,
    names,
    refuse_unwritable,
)
from wanda_core.cli.progress_bar import Bar
from wanda_core.errors import Refused
from wanda_core.method.methods import METHODS

FLAGS = {"method": "--methods", "sparsity": "--sparsities", "pattern": "--patterns"}
"""Settings that this command has lists of."""


def add_to(commands: Any) -> None:
    command = commands.add_parser("compare", help="measure perplexities of methods and sparsities")
    command.set_defaults(run=run, flags=FLAGS)
    add_model(command)
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
    command.add_argument("--patterns", type=names, default=[], metavar="N:M,...")
    add_allocation(command)
    add_calibration(command)
    command.add_argument("--evaluation", required=True, metavar="FILE|DATASET")
    command.add_argument(
        "--windows", type=int, help="how many windows to evaluate (default: all of the text)"
    )
    command.add_argument("--eval-length", type=int, default=2048, help="tokens of an evaluation window")
    command.add_argument("--json", type=Path, metavar="FILE")
    command.add_argument("--csv", type=Path, metavar="FILE")
    command.add_argument("--resume", action="store_true", help="keep what --json FILE holds already")


def run(options: argparse.Namespace) -> None:
    from wanda_core.experiments.compare import compare, not_among
    from wanda_core.experiments.protocol import protocol as measured_by
    from wanda_core.experiments.rows import load_json, save_csv, save_json
    from wanda_core.method.recipe import Recipe
    from wanda_core.texts.sources import read_text
    from wanda_core.texts.windows import calibration_windows, encode, evaluation_windows

    sparsities = options.sparsities or ([] if options.patterns else ["0.5"])
    common = {"schedule": options.schedule, "seed": options.seed}
    recipes = [
        Recipe(method=method, sparsity=_number(sparsity), allocation=options.allocation, **common)
        for method in options.methods
        for sparsity in sparsities
    ] + [
        Recipe(method=method, pattern=pattern, **common)
        for method in options.methods
        for pattern in options.patterns
    ]
    if options.resume and not options.json:
        raise Refused("--resume needs --json FILE, the results to continue")
    refuse_unwritable(options.json, options.csv)
    kept = load_json(options.json) if options.resume and options.json.exists() else None

    if options.windows is not None and options.windows < 1:
        raise Refused("{windows} must be a whole number, 1 or more")
    if options.eval_length < 2:
        raise Refused("{eval_length} must be a whole number, 2 or more")
    evaluated = (options.windows or 10_000) * options.eval_length
    evaluation = read_text(options.evaluation, "evaluation", evaluated * CHARACTERS_PER_TOKEN)
    wanted = characters(options.samples, options.length)
    if options.calibration == options.evaluation:
        wanted += evaluated * CHARACTERS_PER_TOKEN
    text = read_text(options.calibration, "calibration", wanted)
    model = load(options, max(options.length, options.eval_length))
    windows = evaluation_windows(
        encode(evaluation.text, model.tokenizer), options.windows, options.eval_length
    )
    after = windows.numel() if text.source == evaluation.source else 0
    tokens = calibration_windows(
        encode(text.text, model.tokenizer), options.samples, options.length, options.seed, after
    )
    texts = {
        "calibration": text.name,
        "calibration_after": after,
        "seed": options.seed,
        "evaluation": evaluation.name,
    }
    protocol = measured_by(model, tokens, windows, texts)
    known = []
    if kept:
        _refuse_other_protocol(options.json, kept[0], protocol)
        known = kept[1]
    rows: list[dict[str, Any]] = []

    def keep(row: dict[str, Any], _: Any) -> None:
        rows.append(row)
        if options.json:
            # An earlier point stays in the file until it is measured anew, so that nothing is lost by stopping.
            save_json(options.json, protocol, rows + not_among(rows, known))
        if options.csv:
            save_csv(options.csv, rows)

    with Bar() as bar:
        compare(model, tokens, windows, recipes, known=known, on_row=keep, on_progress=bar)
    _print_rows(rows, protocol)
    if failed := [row for row in rows if row["error"]]:
        raise Refused(
            f"{len(failed)} of {len(rows)} points failed; {failed[0]['method']}: {failed[0]['error']}"
        )


def _refuse_other_protocol(file: Path, then: dict[str, Any], now: dict[str, Any]) -> None:
    differing = [key for key in now if key != "date" and then.get(key) != now[key]]
    if differing:
        raise Refused(
            f"{file} was measured under another protocol ({', '.join(differing)} differ): give --json a new file"
        )


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise Refused(f"--sparsities takes numbers between 0 and 1, not `{text[:40]}`") from None


def _print_rows(rows: list[dict[str, Any]], protocol: dict[str, Any]) -> None:
    from wanda_core.experiments.rows import table

    shown = table(rows)
    shown["times dense"] = shown["perplexity"] / rows[0]["perplexity"] if rows[0]["perplexity"] else None
    columns = [
        "method",
        "pattern",
        "sparsity_reached",
        "perplexity",
        "perplexity_low",
        "perplexity_high",
        "times dense",
    ]
    columns += ["prune_seconds", "evaluate_seconds"]
    print(shown[columns].to_string(index=False, float_format="{:.4g}".format, na_rep="-"))
    print(
        f"\nPerplexity on the first {protocol['windows']} windows of {protocol['eval_length']} tokens of "
        f"{protocol['evaluation']}, with a 95% interval over windows; calibrated on {protocol['samples']} windows of "
        f"{protocol['length']} tokens of {protocol['calibration']}, seed {protocol['seed']}.\n"
        f"{protocol['device']}, {protocol['dtype']}, {protocol['threads']} threads, torch {protocol['torch']}, "
        f"transformers {protocol['transformers']}."
    )
