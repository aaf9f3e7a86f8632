"""`compare`: measure perplexities of methods and sparsities."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from wanda_core.commands.common import (
    CHARACTERS_PER_TOKEN,
    Bar,
    add_allocation,
    add_calibration,
    add_model,
    characters,
    load,
    names,
    refuse_unwritable,
)
from wanda_core.errors import Refused
from wanda_core.methods import METHODS


def add_to(commands: Any) -> None:
    compare = commands.add_parser("compare", help="measure perplexities of methods and sparsities")
    compare.set_defaults(run=run)
    add_model(compare)
    compare.add_argument(
        "--methods",
        type=names,
        default=["magnitude", "wanda"],
        metavar="A,B,...",
        help=f"of {', '.join(METHODS)} (default magnitude,wanda)",
    )
    compare.add_argument(
        "--sparsities", type=names, default=[], metavar="S,T,...", help="default 0.5, or none with --patterns"
    )
    compare.add_argument("--patterns", type=names, default=[], metavar="N:M,...")
    add_allocation(compare)
    add_calibration(compare)
    compare.add_argument("--evaluation", required=True, metavar="FILE|DATASET")
    compare.add_argument(
        "--windows", type=int, help="how many windows to evaluate (default: all of the text)"
    )
    compare.add_argument("--eval-length", type=int, default=2048, help="tokens of an evaluation window")
    compare.add_argument("--json", type=Path, metavar="FILE")
    compare.add_argument("--csv", type=Path, metavar="FILE")
    compare.add_argument("--resume", action="store_true", help="keep what --json FILE holds already")


def run(options: argparse.Namespace) -> None:
    from wanda_core import calibration, experiments, tables
    from wanda_core.recipe import Recipe

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
        raise Refused("--resume goes with --json FILE, the results to go on from")
    refuse_unwritable(options.json, options.csv)
    kept = tables.load_json(options.json) if options.resume and options.json.exists() else None

    if options.windows is not None and options.windows < 1:
        raise Refused("--windows must be a whole number, 1 or more")
    if options.eval_length < 2:
        raise Refused("--eval-length must be a whole number, 2 or more")
    evaluated = (options.windows or 10_000) * options.eval_length
    evaluation = calibration.read_text(options.evaluation, "evaluation", evaluated * CHARACTERS_PER_TOKEN)
    wanted = characters(options.samples, options.length)
    if options.calibration == options.evaluation:
        wanted += evaluated * CHARACTERS_PER_TOKEN
    text = calibration.read_text(options.calibration, "calibration", wanted)
    model = load(options, max(options.length, options.eval_length))
    windows = calibration.evaluation_windows(
        calibration.encode(evaluation.text, model.tokenizer), options.windows, options.eval_length
    )
    after = windows.numel() if text.source == evaluation.source else 0
    tokens = calibration.calibration_windows(
        calibration.encode(text.text, model.tokenizer), options.samples, options.length, options.seed, after
    )
    texts = {
        "calibration": text.name,
        "calibration_after": after,
        "seed": options.seed,
        "evaluation": evaluation.name,
    }
    protocol = experiments.protocol(model, tokens, windows, texts)
    known = []
    if kept:
        _refuse_other_protocol(options.json, kept[0], protocol)
        known = kept[1]
    rows: list[dict[str, Any]] = []

    def keep(row: dict[str, Any], _: Any) -> None:
        rows.append(row)
        if options.json:
            # An earlier point stays in the file until it is measured anew, so that nothing is lost by stopping.
            tables.save_json(options.json, protocol, rows + experiments.not_among(rows, known))
        if options.csv:
            tables.save_csv(options.csv, rows)

    with Bar() as bar:
        experiments.compare(model, tokens, windows, recipes, known=known, on_row=keep, on_progress=bar)
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
    from wanda_core.tables import table

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
