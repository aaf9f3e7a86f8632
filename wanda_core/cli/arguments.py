"""What several commands share: arguments, loading, a progress bar."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from wanda_core.errors import Refused

CHARACTERS_PER_TOKEN = 8
"""Read of a streamed text for each token needed; English takes about 4, so windows have places to choose from."""


def add_model(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("source", metavar="SOURCE", help="Hub id, folder, .gguf file or `pocket`")
    parser.add_argument("--revision", help="branch, tag or commit of a Hub model")
    add_device(parser)


def add_device(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--device", default="auto")
    parser.add_argument("--dtype", default="auto")


def add_allocation(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--allocation",
        default="uniform",
        help="how much each layer gives where no N:M fixes it: uniform (default), owl, or NAME=RATIO,... with block "
        "numbers or layer names",
    )


def add_calibration(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--schedule", default="layer", help="statistics from the model as pruned so far, or `dense`"
    )
    parser.add_argument("--calibration", required=True, metavar="FILE|DATASET")
    parser.add_argument("--samples", type=int, default=128, help="calibration windows")
    parser.add_argument("--length", type=int, default=2048, help="tokens of a calibration window")
    parser.add_argument("--seed", type=int, default=0)


def names(text: str) -> list[str]:
    return [part.strip() for part in text.split(",") if part.strip()]


def characters(samples: int, length: int) -> int:
    return max(1, samples * length * CHARACTERS_PER_TOKEN)


def load(options: argparse.Namespace, length: int) -> Any:
    """The model that is asked for, if it reads windows of `length` tokens."""
    from wanda_core.models.load import load as load_model

    model = load_model(options.source, device=options.device, dtype=options.dtype, revision=options.revision)
    if model.context and length > model.context:
        raise Refused(
            f"{options.source} reads at most {model.context:,} tokens at a time, not {length:,}: lower {{length}}"
            + (" and {eval_length}" if options.command == "compare" else "")
        )
    return model


def refuse_unwritable(*files: Path | None) -> None:
    """Refuse result files that cannot be, before anything is measured."""
    for file in files:
        if file and file.is_dir():
            raise Refused(f"{file} is a folder: give a file")
        if file and not file.absolute().parent.is_dir():
            raise Refused(f"{file.absolute().parent} is no folder: create it first")
