"""The job that prunes a model, writes it, reads it back and zips it."""

from __future__ import annotations

import errno
import secrets
import shutil
import threading
import time
import zipfile
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from components.jobs.job import Job, Progress, Put
from components.limits import LIMITS
from components.workspace.experiment import fetch, prepare
from components.workspace.measured_rows import kept_row
from components.workspace.prunings import pruning_of
from components.workspace.setup import Setup
from wanda_core.errors import Refused, check_stop
from wanda_core.export.kinds import KINDS
from wanda_core.method.bits import STORED_BITS, TYPES
from wanda_core.method.recipe import Recipe

FORMATS: dict[str, tuple[str, int | None]] = {
    choice: found
    for name, kind in KINDS.items()
    for choice, found in (
        {f"{name}-{bits}": (name, bits) for bits in TYPES} if kind.by_bits else {name: (name, None)}
    ).items()
}
"""Kind of each format on offer, and the bits of its files; None: the point's own values in the model's dtype."""


def label_of(choice: str) -> str:
    """What a format is, in a few words."""
    name, bits = FORMATS[choice]
    label = KINDS[name].label
    return label if bits is None else f"{label}: {TYPES[bits]}, {STORED_BITS[bits]:g} bits a pruned weight"


def recipe_for(recipe: Recipe, choice: str) -> Recipe:
    """What is exported of a point in that format.

    Raises:
        Refused: the point is rounded to other bits than the format's.
    """
    bits = FORMATS[choice][1]
    if bits is None or bits == recipe.bits:
        return recipe
    if recipe.bits != 16:
        raise Refused(
            f"the point in focus is rounded to {recipe.bits} bits: choose {TYPES[recipe.bits]}, or a point of 16 bits"
        )
    return replace(recipe, bits=bits)


@dataclass
class Exported:
    """A file to be taken away."""

    file: str
    bytes: int
    holds: list[tuple[str, int]]
    """Name and bytes of what is in it."""
    name: str


@dataclass(frozen=True)
class Export(Job):
    """Prune, write, read back, and zip."""

    setup: Setup
    recipe: Recipe
    kind: str
    """A key of `KINDS`."""
    cache: str
    """Folder that the page serves files from."""

    @property
    def gpu_seconds(self) -> float:
        return 60

    def fetch(self, put: Put) -> None:
        fetch(self.setup, put)

    def compute(self, put: Put, stop: threading.Event) -> None:
        from wanda_core.experiments.points import describe
        from wanda_core.models.language_model import model_bytes

        subject = prepare(self.setup, put)
        size = model_bytes(subject.model)
        if size > LIMITS.export_bytes:
            raise Refused(
                f"{self.setup.source} has {size / 1e9:.1f} GB of weights, exports of up to "
                f"{LIMITS.export_bytes / 1e9:.0f} GB are offered here: use `python -m wanda_core prune` on your machine"
            )
        if self.kind == "gguf":
            from wanda_core.export.gguf_file import check_writable

            check_writable(subject.model, self.recipe)
        pruning = pruning_of(subject, self.recipe, put, stop, before=0.05, share=0.6)
        model = Path(self.setup.source).name.removesuffix(".gguf")
        pruned = describe(replace(self.recipe, bits=16) if self.kind == "gguf" else self.recipe)
        name = f"{model}-{pruned.replace(' ', '-').replace(':', 'of').replace('%', '')}"
        if self.kind == "masks":
            name += "-masks"
        if self.kind == "gguf":
            name += f"-{TYPES[self.recipe.bits]}"
        folder = Path(self.cache) / "exports" / secrets.token_hex(16)
        make_room(folder.parent, 2 * size)
        folder.mkdir(parents=True)
        put(Progress("Writing the export and reading it back", 0.7))
        try:
            holds = self._write(subject, pruning, folder, name, stop)
        except BaseException as error:
            shutil.rmtree(folder, ignore_errors=True)
            if isinstance(error, Refused):  # without the path that it was to have
                raise Refused(error.text.replace(f"{folder}/", "")) from error
            if isinstance(error, OSError) and error.errno == errno.ENOSPC:
                raise Refused("the disk is full: try again later, or export a smaller model") from error
            raise
        (file,) = folder.iterdir()
        put(Exported(str(file), file.stat().st_size, holds, name))

    def _write(
        self, subject: Any, pruning: Any, folder: Path, name: str, stop: threading.Event
    ) -> list[tuple[str, int]]:
        from wanda_core.export.folder import save_pruned

        drawn = {
            "text": subject.protocol["calibration"],
            "samples": subject.protocol["samples"],
            "length": subject.protocol["length"],
            "seed": subject.protocol["seed"],
            "after": subject.protocol["calibration_after"],
        }
        out = folder / name
        save_pruned(
            subject.model,
            pruning,
            subject.tokens,
            drawn,
            out,
            kind=self.kind,
            rows=[row for which in (None, self.recipe) if (row := kept_row(subject, which))],
            protocol=subject.protocol,
            stop=stop,
        )
        holds = sorted((file.name, file.stat().st_size) for file in out.iterdir())
        # Weights do not get smaller by compression worth its time: stored as they are.
        with zipfile.ZipFile(folder / f"{name}.zip", "w", zipfile.ZIP_STORED) as archive:
            for file, _ in holds:
                check_stop(stop)
                archive.write(out / file, f"{name}/{file}")
        shutil.rmtree(out)
        return holds


def make_room(exports: Path, needed: int) -> None:
    """Drop exports that are past their time, and the oldest until `needed` bytes fit under the cap."""
    if not exports.is_dir():
        return
    kept = sorted(exports.iterdir(), key=lambda folder: folder.stat().st_mtime)
    sizes = {folder: sum(f.stat().st_size for f in folder.rglob("*") if f.is_file()) for folder in kept}
    total = sum(sizes.values())
    for folder in kept:
        if (
            time.time() - folder.stat().st_mtime > LIMITS.result_seconds
            or total + needed > LIMITS.exports_bytes
        ):
            shutil.rmtree(folder, ignore_errors=True)
            total -= sizes[folder]
