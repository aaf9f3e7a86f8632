"""`latency`: measure how fast dense and packed weights are on this machine."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from wanda_core.commands.common import Bar, add_device, names, refuse_unwritable
from wanda_core.errors import Refused

MOST_TOKENS = 65_536


def add_to(commands: Any) -> None:
    latency = commands.add_parser("latency", help="measure dense against pruned products, and whole models")
    latency.set_defaults(run=run)
    latency.add_argument("source", metavar="SOURCE", nargs="?", help="Hub id, folder, .gguf file or `pocket`")
    latency.add_argument(
        "--shapes", metavar="OUTxIN,...", help="instead of SOURCE: layer shapes, such as 4096x11008"
    )
    latency.add_argument("--revision", help="branch, tag or commit of a Hub model")
    add_device(latency)
    latency.add_argument(
        "--tokens",
        type=names,
        metavar="N,...",
        help="tokens of a product (default 1,16,512; CUDA 1,16,128,1024,4096)",
    )
    latency.add_argument("--json", type=Path, metavar="FILE")
    latency.add_argument("--csv", type=Path, metavar="FILE")


def run(options: argparse.Namespace) -> None:
    if (options.source is None) == (options.shapes is None):
        raise Refused("latency takes SOURCE or --shapes, one of them")
    refuse_unwritable(options.json, options.csv)
    counts = [_count(text) for text in options.tokens or ()]

    import torch

    from wanda_core import latency, model_latency, models

    model = None
    if options.source:
        model = models.load(
            options.source, device=options.device, dtype=options.dtype, revision=options.revision
        )
        shapes, device, dtype = (
            latency.shapes_of(model.anatomy),
            model.device,
            model.anatomy.layers[0].stored.dtype,
        )
    else:
        if options.revision:
            raise Refused("--revision goes with a Hub id, not with --shapes")
        shapes, device = latency.parse_shapes(options.shapes), models.device_named(options.device)
        default = torch.float16 if device.type == "cuda" else torch.float32
        dtype = models.dtype_named(options.dtype, default)
    counts = counts or ([1, 16, 128, 1024, 4096] if device.type == "cuda" else [1, 16, 512])
    protocol = latency.protocol(model, counts, device, dtype)
    rows: list[dict[str, Any]] = []

    def keep(row: dict[str, Any]) -> None:
        rows.append(row)
        _save(options, latency, protocol, rows)

    with Bar() as bar:
        latency.measure_shapes(
            shapes, counts, device, dtype, on_row=keep, on_progress=lambda done, at: bar("layers", done, at)
        )
        if model:
            whole, packs = model_latency.measure_model(
                model,
                model_latency.by_magnitude(model.anatomy),
                on_progress=lambda done, at: bar("whole model", done, at),
            )
            rows += whole
            for packed in packs.values():
                protocol |= {"left_dense": packed.dense} if packed.dense else {}
            _save(options, latency, protocol, rows)
    _print_rows(rows, protocol)


def _save(
    options: argparse.Namespace, latency: Any, protocol: dict[str, Any], rows: list[dict[str, Any]]
) -> None:
    if options.json:
        latency.save_json(options.json, protocol, rows)
    if options.csv:
        latency.save_csv(options.csv, rows)


def _count(text: str) -> int:
    if not text.isdecimal() or not 1 <= int(text) <= MOST_TOKENS:
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
        f"alone would give.\n{protocol['device']}, {protocol['dtype']}, {protocol['threads']} threads, "
        f"torch {protocol['torch']}. CUDA: {protocol['cuda']}."
    )
