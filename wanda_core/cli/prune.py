"""`prune`: write a pruned model."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from wanda_core.cli.arguments import add_allocation, add_calibration, add_model, characters, load
from wanda_core.cli.progress_bar import Bar
from wanda_core.method.methods import METHODS


def add_to(commands: Any) -> None:
    command = commands.add_parser("prune", help="write a pruned model")
    command.set_defaults(run=run)
    add_model(command)
    command.add_argument("--method", default="wanda", help=f"{', '.join(METHODS)} (default wanda)")
    command.add_argument("--sparsity", type=float, help="share of the weights to remove (default 0.5)")
    command.add_argument("--pattern", default="unstructured", help="unstructured, or N:M such as 2:4")
    command.add_argument(
        "--group", help="weights that compete: output, layer or input (default: the method's own)"
    )
    add_allocation(command)
    add_calibration(command)
    command.add_argument(
        "--out", type=Path, required=True, metavar="DIR", help="new folder for the pruned model"
    )
    command.add_argument(
        "--packed",
        action="store_true",
        help="write the weights without their zeros, for wanda_core.load_packed",
    )
    command.add_argument(
        "--push-to-hub",
        metavar="OWNER/NAME",
        help="then upload it as a new private model, with your own token",
    )


def run(options: argparse.Namespace) -> None:
    from wanda_core.export.destination import check_destination
    from wanda_core.export.folder import save_pruned
    from wanda_core.export.push import check_name, push
    from wanda_core.method.recipe import Recipe
    from wanda_core.models.language_model import model_bytes
    from wanda_core.pruning.prune_model import prune
    from wanda_core.texts.sources import read_text
    from wanda_core.texts.windows import calibration_windows, encode

    recipe = Recipe(
        method=options.method,
        sparsity=options.sparsity,
        pattern=options.pattern,
        group=options.group,
        allocation=options.allocation,
        schedule=options.schedule,
        seed=options.seed,
    )
    if options.push_to_hub is not None:
        check_name(options.push_to_hub)
    check_destination(options.out, 0)
    text = read_text(options.calibration, "calibration", characters(options.samples, options.length))
    model = load(options, options.length)
    check_destination(options.out, model_bytes(model))
    tokens = calibration_windows(
        encode(text.text, model.tokenizer), options.samples, options.length, options.seed
    )
    with Bar() as bar:
        pruning = prune(
            model.prunable, tokens, recipe, on_progress=lambda share, where: bar("pruning", share, where)
        )
    drawn = {
        "text": text.name,
        "samples": options.samples,
        "length": options.length,
        "seed": options.seed,
        "after": 0,
    }
    save_pruned(model, pruning, tokens, drawn, options.out, kind="packed" if options.packed else "folder")
    _print_layers(pruning)
    print(f"\n{options.out}: sparsity {pruning.sparsity:.2%} in {pruning.seconds['total']:.1f} s")
    if options.push_to_hub is not None:
        print(push(options.out, options.push_to_hub))


def _print_layers(pruning: Any) -> None:
    """Sparsity and output error by kind of layer, over the blocks."""
    import pandas as pd

    reports = pd.DataFrame([{**vars(report), "sparsity": report.sparsity} for report in pruning.reports])
    kinds = reports.groupby("kind", sort=False)
    print(
        pd.DataFrame(
            {
                "layers": kinds.size(),
                "sparsity": kinds["pruned"].sum() / kinds["weights"].sum(),
                "mean output error": kinds["error"].mean(),
                "largest": kinds["error"].max(),
            }
        ).to_string(float_format="{:.4f}".format)
    )
    if pruning.uncalled:
        print(f"left dense, never called: {', '.join(pruning.uncalled)}")
