"""`check`: look at a model that was pruned elsewhere."""

from __future__ import annotations

import argparse
import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

from wanda_core.atomic_write import write_whole
from wanda_core.cli.arguments import add_settings, add_source, new_command, refuse_unwritable
from wanda_core.cli.progress_bar import Bar
from wanda_core.experiments.experiment import CHARACTERS_PER_TOKEN, ExperimentSettings

TEXT, WINDOWS, LENGTH = "pydoc", 16, 512
"""What perplexity is measured on where nothing else is said: a text that every machine has."""

EXAMPLES = """\
  check pruned
  check pruned.gguf --dense smollm2 --evaluation wikitext2 --windows 32 --eval-length 2048
  check someone/model-2of4 --dense someone/model --dtype bfloat16 --json check.json"""


def add_to(commands: Any) -> None:
    command = new_command(commands, "check", "look at a model that was pruned elsewhere", EXAMPLES)
    command.set_defaults(run=run)
    add_source(command, ExperimentSettings)
    command.add_argument(
        "--dense",
        metavar="SOURCE",
        help="what it was pruned from: also say which kept weights changed, and its perplexity",
    )
    command.add_argument(
        "--evaluation", default=TEXT, metavar="FILE|DATASET", help=f"text for perplexity (default {TEXT})"
    )
    command.add_argument(
        "--windows", type=int, default=WINDOWS, help=f"from the start of the text (default {WINDOWS})"
    )
    command.add_argument(
        "--eval-length", type=int, help=f"tokens of a window (default {LENGTH}, or all that the model reads)"
    )
    add_settings(command, ExperimentSettings, ("revision", "device", "dtype"))
    command.add_argument(
        "--json", type=Path, metavar="FILE", help="write every layer, sizes and perplexities"
    )


def run(options: argparse.Namespace) -> None:
    from wanda_core.argument_checks import check_whole

    check_whole("{windows}", options.windows, 1)
    if options.eval_length is not None:
        check_whole("{eval_length}", options.eval_length, 2)
    refuse_unwritable(options.json)

    from wanda_core.evaluation.perplexity import perplexity
    from wanda_core.experiments.check import check_layers, check_sizes
    from wanda_core.experiments.front import bits_per_byte
    from wanda_core.experiments.protocol import bytes_per_token
    from wanda_core.experiments.rows import finite
    from wanda_core.models.load import load
    from wanda_core.texts.sources import read_text
    from wanda_core.texts.windows import encode, evaluation_windows

    length = options.eval_length or LENGTH
    text = read_text(options.evaluation, "evaluation", options.windows * length * CHARACTERS_PER_TOKEN)
    loading = {"device": options.device, "dtype": options.dtype}
    model = load(options.source, revision=options.revision, **loading)
    dense = load(options.dense, **loading) if options.dense else None
    if options.eval_length is None and model.context:
        length = min(length, model.context)
    models = {"perplexity": model, "perplexity_dense": dense}
    # Each in its own tokens: the dense model's tokenizer may be another.
    evaluated = {
        name: (each, evaluation_windows(encode(text.text, each.tokenizer), options.windows, length))
        for name, each in models.items()
        if each is not None
    }
    measured = {}
    with Bar() as bar:
        layers = check_layers(model, dense, on_progress=bar, stop=options.stop)
        sizes = check_sizes(model, layers, on_progress=bar, stop=options.stop)
        for name, (each, windows) in evaluated.items():
            shown = name.replace("_", " of ")
            found = perplexity(
                each.network,
                windows,
                on_progress=lambda share, at, shown=shown: bar(shown, share, at),  # type: ignore[misc]
                stop=options.stop,
            )
            measured[name] = {
                "value": found.value,
                "low": found.low,
                "high": found.high,
                "bits_per_byte": bits_per_byte(found.value, bytes_per_token(each, windows)),
            }
    protocol = {
        "source": options.source,
        "dense": options.dense,
        "evaluation": text.name,
        "windows": options.windows,
        "eval_length": length,
        "dtype": str(model.dtype).removeprefix("torch."),
    }
    if options.json:
        rows = [asdict(layer) | {"sparsity": layer.sparsity} for layer in layers]
        content = {"protocol": protocol, "sizes": asdict(sizes), **measured, "layers": rows}
        write_whole(options.json, json.dumps(finite(content), indent=1) + "\n")
    _print(layers, sizes, measured, protocol)


def _print(layers: list[Any], sizes: Any, measured: dict[str, Any], protocol: dict[str, Any]) -> None:
    import pandas as pd

    found = pd.DataFrame([vars(layer) | {"sparsity": layer.sparsity} for layer in layers])
    kinds = found.groupby("kind", sort=False)
    columns = {
        "layers": kinds.size(),
        "sparsity": kinds["zeros"].sum() / kinds["weights"].sum(),
        "least": kinds["sparsity"].min(),
        "most": kinds["sparsity"].max(),
        "N:M": kinds["pattern"].agg(lambda each: " ".join(sorted({str(p or "none") for p in each}))),
    }
    if protocol["dense"]:
        found["kept"] = found["weights"] - found["zeros"]
        found["moved"] = found["changed"] * found["kept"]
        columns["kept that changed"] = kinds["moved"].sum() / kinds["kept"].sum().clip(lower=1)
    print(pd.DataFrame(columns).to_string(float_format="{:.4f}".format))
    share = found["zeros"].sum() / found["weights"].sum()
    print(
        f"\nsparsity {share:.2%} of the weights of {len(found)} layers; N:M: at most N of every M inputs of a row"
    )
    print(
        f"{sizes.file / 1e6:.1f} MB on disk; {sizes.bitmask / 1e6:.1f} MB as a bitmask and values; "
        f"about {sizes.deflated / 1e6:.1f} MB deflated"
    )
    for name, value in measured.items():
        interval = f" ({value['low']:.4g} to {value['high']:.4g})" if value["low"] is not None else ""
        bits = value["bits_per_byte"]
        per_byte = f", {bits:.4g} bits per byte of text" if bits is not None else ""
        print(f"{name.replace('_', ' of ')} {value['value']:.4g}{interval}{per_byte}")
    print(
        f"on the first {protocol['windows']} windows of {protocol['eval_length']} tokens of {protocol['evaluation']}, "
        f"with a 95% interval over windows, {protocol['dtype']}"
    )
