"""`prune`: write a pruned model."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from wanda_core.cli.arguments import FLAGS, add_settings, add_source, new_command, settings_of
from wanda_core.cli.progress_bar import Bar
from wanda_core.errors import Refused
from wanda_core.experiments.experiment import Experiment, ExperimentSettings
from wanda_core.method.recipe import Recipe

EXAMPLES = """\
  prune pocket --sparsity 0.5 --calibration text.txt --samples 16 --length 256 --out pruned
  prune HuggingFaceTB/SmolLM2-135M --pattern 2:4 --calibration c4 --out pruned-2-4
  prune smollm2 --method wanda --recover blocks --calibration wikitext2 --samples 16 --length 512 --out recovered
  prune smollm2 --pattern 2:4 --order --calibration wikitext2 --samples 16 --length 512 --out ordered
  prune model.gguf --method sparsegpt --schedule block --calibration wikitext2 --out pruned
  prune mistralai/Mistral-7B-v0.1 --stream --sparsity 0.5 --calibration c4 --samples 16 --length 512 --out streamed
  prune smollm2 --sparsity 0.5 --calibration wikitext2 --samples 16 --length 512 --bits 8 --out pruned.gguf"""


def add_to(commands: Any) -> None:
    command = new_command(commands, "prune", "write a pruned model", EXAMPLES)
    command.set_defaults(run=run, flags=FLAGS)
    add_source(command, ExperimentSettings)
    add_settings(
        command,
        Recipe,
        ("method", "sparsity", "pattern", "group", "allocation", "schedule", "recovery", "order", "bits"),
    )
    add_settings(
        command,
        ExperimentSettings,
        ("calibration", "chat", "samples", "length", "seed", "revision", "device", "dtype", "stream"),
        required=("calibration",),
    )
    command.add_argument(
        "--out",
        type=Path,
        required=True,
        metavar="DIR|FILE.gguf",
        help="new folder for the pruned model, or a GGUF file for llama.cpp with its card beside it: F16, Q8_0 or Q4_0 "
        "by --bits. Q4_1, Q5_1 and the K-quants are not offered: zeros do not survive them",
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
    from wanda_core.export.gguf_file import check_writable, gguf_bytes, save_gguf, written_notes
    from wanda_core.export.push import check_name, push
    from wanda_core.export.streamed_weights import refuse_unwritable
    from wanda_core.models.language_model import model_bytes, streaming_note
    from wanda_core.pruning.prune_model import prune

    recipe = settings_of(Recipe, options)
    if options.push_to_hub is not None:
        check_name(options.push_to_hub)
    gguf = options.out.suffix == ".gguf"
    _refuse_contradictions(options, gguf)
    check_destination(options.out, 0, folder=not gguf)
    experiment = Experiment.prepare(settings_of(ExperimentSettings, options))
    model, tokens = experiment.model, experiment.tokens
    kind = "packed" if options.packed else "folder"
    if gguf:
        check_writable(model, recipe)
    else:
        refuse_unwritable(model, kind)
    check_destination(
        options.out, gguf_bytes(model, recipe.bits) if gguf else model_bytes(model), folder=not gguf
    )
    if note := streaming_note(model):
        print(note, flush=True)
    with Bar() as bar:
        pruning = prune(
            model.prunable,
            tokens,
            recipe,
            on_progress=lambda share, where: bar("pruning", share, where),
            stop=options.stop,
        )
    if gguf:
        save_gguf(model, pruning, experiment.drawn, options.out, stop=options.stop)
    else:
        save_pruned(model, pruning, tokens, experiment.drawn, options.out, kind=kind, stop=options.stop)
    _print_layers(pruning)
    if pruning.scan is not None:
        print(f"\n{pruning.scan.told}")
    print(f"\n{options.out}: sparsity {pruning.sparsity:.2%} in {pruning.seconds['total']:.1f} s")
    if gguf:
        print(" ".join(written_notes(model, recipe.bits)))
    if options.push_to_hub is not None:
        print(push(options.out, options.push_to_hub))


def _refuse_contradictions(options: argparse.Namespace, gguf: bool) -> None:
    """Refuse options of one kind of export beside another kind."""
    if gguf and options.packed:
        raise Refused("--packed writes a folder: give --out DIR")
    if gguf and options.push_to_hub is not None:
        raise Refused("--push-to-hub uploads a folder: give --out DIR")


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
    if pruning.recovered:
        before = sum(report.before for report in pruning.recovered) / len(pruning.recovered)
        after = sum(report.after for report in pruning.recovered) / len(pruning.recovered)
        print(f"blocks' error on the windows held out: {before:.4f} as decided, {after:.4f} recovered (mean)")
        for report in pruning.recovered:
            if report.note:
                print(f"block {report.block}: {report.note}")
    if whole := pruning.recovered_model:
        curve = ", ".join(f"{perplexity:.4g} after {step} steps" for step, perplexity in whole.curve)
        print(f"perplexity on the windows held out: {curve}; the best is kept")
        if whole.note:
            print(f"{whole.note}")
    if pruning.uncalled:
        print(f"left dense, never called: {', '.join(pruning.uncalled)}")
