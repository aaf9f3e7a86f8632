"""What the Speed and export view asks for: measuring a pruned model's speed, and packing it to be taken away."""

from __future__ import annotations

import errno
import secrets
import shutil
import threading
import time
import zipfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from components.engine import Job, Progress, Put
from components.job import Setup
from components.measure import known_rows
from components.settings import LIMITS
from components.subject import prepare, pruning_of
from wanda_core.errors import Refused, check_stop
from wanda_core.recipe import Recipe

TOKENS = (1, 16, 128)
KINDS = {
    "folder": "Model folder: loads anywhere, zeros stored as zeros",
    "packed": "Packed: without the zeros, for wanda_core.load_packed",
    "masks": "Masks alone: one bit for every weight, no weights",
}


@dataclass
class Latency:
    """What was measured so far; also the content of a recorded run."""

    protocol: dict[str, Any] = field(default_factory=dict)
    rows: list[dict[str, Any]] = field(default_factory=list)
    """Of `timing.COLUMNS`."""
    sizes: dict[str, int] = field(default_factory=dict)
    """Bytes: see `sizes_of`."""


@dataclass(frozen=True)
class MeasureLatency(Job):
    """Measure the model's layers and the whole model, dense and pruned 2:4."""

    setup: Setup
    recipe: Recipe

    @property
    def gpu_seconds(self) -> float:
        return 90

    def compute(self, put: Put, stop: threading.Event) -> None:
        from wanda_core import latency, model_latency

        subject = prepare(self.setup, put)
        pruning = pruning_of(subject, self.recipe, put, stop, before=0.05, share=0.25)
        model = subject.model
        layer = model.anatomy.layers[0].stored
        protocol = latency.protocol(model, TOKENS, layer.device, layer.dtype)
        protocol["method"] = self.recipe.method
        outcome = Latency(protocol)

        def progress(doing: str, share: float) -> None:
            put(Progress(doing, share))

        def keep(row: dict[str, Any]) -> None:
            outcome.rows.append(row)

        latency.measure_shapes(
            latency.shapes_of(model.anatomy),
            TOKENS,
            layer.device,
            layer.dtype,
            on_row=keep,
            on_progress=lambda done, at: progress(f"Measuring layers: {at}", 0.3 + 0.3 * done),
            stop=stop,
        )
        put(Latency(protocol, list(outcome.rows)))
        half = model_latency.by_magnitude(model.anatomy)["50%"]
        rows, packs = model_latency.measure_model(
            model,
            {"2:4": pruning, "50%": half},
            on_progress=lambda done, at: progress(f"Measuring the whole model: {at}", 0.6 + 0.4 * done),
            stop=stop,
        )
        left = packs["2:4"].dense
        if left:
            protocol["left_dense"] = f"{len(left)} layers, as {next(iter(left.values()))}"
        put(Latency(protocol, outcome.rows + rows, sizes_of(model, pruning, packs["2:4"])))


def sizes_of(model: Any, pruning: Any, packed: Any) -> dict[str, int]:
    """Bytes of a pruned model's weights in every form: those of `packed_file.file_sizes`, and `memory`, what they take
    as the kernels hold them."""
    from wanda_core.packed_file import file_sizes

    sizes = file_sizes(model, pruning)
    replaced = sum(layer.stored.nbytes for layer in model.anatomy.layers if layer.name in packed.products)
    return sizes | {"memory": sizes["dense"] - replaced + packed.nbytes}


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

    def compute(self, put: Put, stop: threading.Event) -> None:
        from wanda_core import export
        from wanda_core.points import describe

        subject = prepare(self.setup, put)
        size = export.model_bytes(subject.model)
        if size > LIMITS.export_bytes:
            raise Refused(
                f"{self.setup.source} has {size / 1e9:.1f} GB of weights, exports of up to "
                f"{LIMITS.export_bytes / 1e9:.0f} GB are offered here: use `python -m wanda_core prune` on your machine"
            )
        pruning = pruning_of(subject, self.recipe, put, stop, before=0.05, share=0.6)
        model = Path(self.setup.source).name.removesuffix(".gguf")
        name = f"{model}-{describe(self.recipe).replace(' ', '-').replace(':', 'of')}"
        if self.kind == "masks":
            name += "-masks"
        folder = Path(self.cache) / "exports" / secrets.token_hex(16)
        make_room(folder.parent, 2 * size)
        folder.mkdir(parents=True)
        put(Progress("Writing the export and reading it back", 0.7))
        try:
            holds = self._write(export, subject, pruning, folder, name, stop)
        except BaseException as error:
            shutil.rmtree(folder, ignore_errors=True)
            if isinstance(error, Refused):  # without the path that it was to have
                raise Refused(str(error).replace(f"{folder}/", "")) from error
            if isinstance(error, OSError) and error.errno == errno.ENOSPC:
                raise Refused("the disk is full: try again later, or export a smaller model") from error
            raise
        (file,) = folder.iterdir()
        put(Exported(str(file), file.stat().st_size, holds, name))

    def _write(
        self, export: Any, subject: Any, pruning: Any, folder: Path, name: str, stop: threading.Event
    ) -> list[tuple[str, int]]:
        drawn = {
            "text": subject.protocol["calibration"],
            "samples": subject.protocol["samples"],
            "length": subject.protocol["length"],
            "seed": subject.protocol["seed"],
            "after": subject.protocol["calibration_after"],
        }
        out = folder / name
        export.export(
            subject.model,
            pruning,
            subject.tokens,
            drawn,
            out,
            kind=self.kind,
            rows=known_rows(subject, (None, self.recipe)),
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
