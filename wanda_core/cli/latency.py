"""`latency`: measure how fast dense and packed weights are on this machine."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from wanda_core.cli.arguments import add_settings, add_source, names, new_command, refuse_unwritable
from wanda_core.cli.progress_bar import Bar
from wanda_core.errors import Refused
from wanda_core.experiments.experiment import ExperimentSettings

MOST_TOKENS = 65_536

EXAMPLES = """\
  latency pocket
  latency --shapes 4096x11008,4096x4096 --tokens 1,16,512 --json latency.json"""


def add_to(commands: Any) -> None:
    command = new_command(
        commands, "latency", "measure dense against pruned products, and whole models", EXAMPLES
    )
    command.set_defaults(run=run)
    add_source(command, ExperimentSettings, nargs="?")
    command.add_argument(
        "--shapes", metavar="OUTxIN,...", help="instead of SOURCE: layer shapes, such as 4096x11008"
    )
    add_settings(command, ExperimentSettings, ("revision", "device", "dtype"))
    command.add_argument(
        "--tokens",
        type=names,
        metavar="N,...",
        help="tokens of a product (default 1,16,512; CUDA 1,16,128,1024,4096)",
    )
    command.add_argument("--json", type=Path, metavar="FILE")
    command.add_argument("--csv", type=Path, metavar="FILE")


def run(options: argparse.Namespace) -> None:
    if (options.source is None) == (options.shapes is None):
        raise Refused("latency takes SOURCE or --shapes, one of them")
    refuse_unwritable(options.json, options.csv)
    counts = [_count(text) for text in options.tokens or ()]

    import torch

    from wanda_core.machine import device_named, dtype_named
    from wanda_core.models.load import load
    from wanda_core.speed import layer_latency, model_latency
    from wanda_core.speed.layer_latency import measure_shapes, shapes_of

    model = None
    if options.source:
        model = load(options.source, device=options.device, dtype=options.dtype, revision=options.revision)
        shapes, device = shapes_of(model.prunable), model.device
        dtype: torch.dtype = model.prunable.layers[0].stored.dtype
    else:
        if options.revision:
            raise Refused("--revision applies to a Hub id, not to --shapes")
        shapes, device = parse_shapes(options.shapes), device_named(options.device)
        default = torch.float16 if device.type == "cuda" else torch.float32
        dtype = dtype_named(options.dtype, default)
    counts = counts or ([1, 16, 128, 1024, 4096] if device.type == "cuda" else [1, 16, 512])
    protocol = layer_latency.protocol(model, counts, device, dtype)
    rows: list[dict[str, Any]] = []

    def keep(row: dict[str, Any]) -> None:
        rows.append(row)
        _save(options, protocol, rows)

    with Bar() as bar:
        measure_shapes(
            shapes,
            counts,
            device,
            dtype,
            on_row=keep,
            on_progress=lambda done, at: bar("layers", done, at),
            stop=options.stop,
        )
        if model:
            whole, packs = model_latency.measure_model(
                model,
                model_latency.by_magnitude(model.prunable),
                on_progress=lambda done, at: bar("whole model", done, at),
                stop=options.stop,
            )
            rows += whole
            for packed in packs.values():
                protocol |= {"left_dense": packed.dense} if packed.dense else {}
            _save(options, protocol, rows)
    _print_rows(rows, protocol)


def _save(options: argparse.Namespace, protocol: dict[str, Any], rows: list[dict[str, Any]]) -> None:
    from wanda_core.speed.timing import save_csv, save_json

    if options.json:
        save_json(options.json, protocol, rows)
    if options.csv:
        save_csv(options.csv, rows)


def _count(text: str) -> int:
    if not text.isdecimal() or len(text) > 9 or not 1 <= int(text) <= MOST_TOKENS:
        raise Refused(f"--tokens takes whole numbers between 1 and {MOST_TOKENS:,}, not `{text[:40]}`")
    return int(text)


def _print_rows(rows: list[dict[str, Any]], protocol: dict[str, Any]) -> None:
    import pandas as pd

    shown = pd.DataFrame(rows).drop(columns=["layers", "bytes", "error"])
    print(
        shown[shown["milliseconds"].notna()].to_string(index=False, float_format="{:.4g}".format, na_rep="-")
    )
    for reason in sorted({f"{row['kernel']}: {row['error']}" for row in rows if row["error"]}):
        print(f"not measured: {reason}")
    print(
        "\nMedians and quartiles of interleaved rounds. times_dense: how many times as fast as torch's dense product, "
        "below 1 slower;\ntimes_own_dense: as a dense kernel of the same build; bound: what reading fewer bytes "
        "alone would give; gigaflops_per_second: of the dense product's operations, of which 2:4 leaves out half.\n"
        f"At most, in this run: {protocol['peaks']['gigabytes_per_second']:.4g} GB/s of a sum, "
        f"{protocol['peaks']['gigaflops_per_second']:.4g} GFLOP/s of a product of square matrices.\n"
        f"{protocol['device']}, {protocol['dtype']}, {protocol['threads']} threads, "
        f"torch {protocol['torch']}. CUDA: {protocol['cuda']}."
    )


def parse_shapes(text: str) -> dict[tuple[int, int], int]:
    """`OUTxIN,...`, such as `4096x11008`.

    Raises:
        Refused: anything else, or a side outside 1 to 262,144.
    """
    shapes = {}
    for part in text.split(","):
        rows, times, columns = part.strip().partition("x")
        digits = rows.isdecimal() and columns.isdecimal() and len(part) < 40
        if not times or not digits:
            raise Refused(f"--shapes takes OUTxIN,..., such as 4096x11008, not `{part[:40]}`")
        if not all(1 <= int(side) <= 2**18 for side in (rows, columns)):
            raise Refused("--shapes takes sides between 1 and 262,144")
        shapes[int(rows), int(columns)] = 1
    return shapes
