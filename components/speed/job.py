"""What the Speed and export view asks for: measuring a pruned model's speed, and packing it to be taken away."""

from __future__ import annotations

import json
import threading
from dataclasses import dataclass, field
from typing import Any

from components.assets import ASSETS
from components.jobs.job import Job, Progress, Put
from components.workspace.experiment import fetch, prepare
from components.workspace.prunings import pruning_of
from components.workspace.setup import Setup
from wanda_core.method.recipe import Recipe

RECORDED = ASSETS / "recorded" / "latency-smollm2-135m.json"


def recorded() -> Latency:
    """The measurement that fills the view before anything was measured here."""
    return Latency(**json.loads(RECORDED.read_text(encoding="utf-8")))


TOKENS = (1, 16, 128)
TOKENS_ON_CUDA = (1, 16, 128, 1024, 4096)
"""With those at which 2:4 can win there: few tokens are bound by other things than the products."""
PROMPT, PROMPT_ON_CUDA = 128, 2048
"""Tokens of the whole model's prompt, for the same reason; fewer where the model's context ends."""
NEW = 24
"""Tokens that are decoded after it."""
PARTS = {"prefill": "Reading a prompt", "decode": "Writing a token"}
SIZES = {"dense": "Dense", "packed": "Packed 2:4", "bitmask": "Kept values and a bitmask"}
"""Of `sizes_of`, files."""


@dataclass
class Latency:
    """What was measured so far; also the content of a recorded run."""

    protocol: dict[str, Any] = field(default_factory=dict)
    rows: list[dict[str, Any]] = field(default_factory=list)
    """Of `timing.COLUMNS`."""
    sizes: dict[str, int] = field(default_factory=dict)
    """Bytes: see `sizes_of`."""

    def reported(self) -> dict[str, Any]:
        """The whole model's times and sizes as `report_html` takes them."""
        from wanda_core.experiments.report import ReportSpeed

        whole = {(row["part"], row["kernel"]): row for row in self.rows if row["part"] != "layer"}
        speed = [
            ReportSpeed(
                f"{PARTS[part]}, {kernel}",
                whole[part, "dense"]["milliseconds"],
                row["milliseconds"],
                note=f"quartiles {row['low']:.3g} to {row['high']:.3g} ms",
            )
            for (part, kernel), row in whole.items()
            if kernel != "dense" and row["error"] is None
        ]
        return {
            "speed": speed,
            "sizes": {SIZES[kind]: self.sizes[kind] for kind in SIZES if kind in self.sizes},
        }


@dataclass(frozen=True)
class MeasureLatency(Job):
    """Measure the model's layers and the whole model, dense and pruned 2:4."""

    setup: Setup
    recipe: Recipe

    @property
    def gpu_seconds(self) -> float:
        return 90

    def fetch(self, put: Put) -> None:
        fetch(self.setup, put)

    def compute(self, put: Put, stop: threading.Event) -> None:
        from wanda_core.speed import layer_latency, model_latency
        from wanda_core.speed.layer_latency import measure_shapes, shapes_of

        subject = prepare(self.setup, put)
        pruning = pruning_of(subject, self.recipe, put, stop, before=0.05, share=0.25)
        model = subject.model
        layer = model.prunable.layers[0].stored
        on_cuda = layer.device.type == "cuda"
        tokens = TOKENS_ON_CUDA if on_cuda else TOKENS
        prompt = PROMPT_ON_CUDA if on_cuda else PROMPT
        if model.context is not None:
            prompt = min(prompt, model.context - NEW)
        protocol = layer_latency.protocol(model, tokens, layer.device, layer.dtype)
        protocol |= {"method": self.recipe.method, "prompt": prompt, "new": NEW}
        outcome = Latency(protocol)

        def progress(doing: str, share: float) -> None:
            put(Progress(doing, share))

        def keep(row: dict[str, Any]) -> None:
            outcome.rows.append(row)

        measure_shapes(
            shapes_of(model.prunable),
            tokens,
            layer.device,
            layer.dtype,
            on_row=keep,
            on_progress=lambda done, at: progress(f"Measuring layers: {at}", 0.3 + 0.3 * done),
            stop=stop,
        )
        put(Latency(protocol, list(outcome.rows)))
        half = model_latency.by_magnitude(model.prunable)["50%"]
        rows, packs = model_latency.measure_model(
            model,
            {"2:4": pruning, "50%": half},
            prompt=prompt,
            new=NEW,
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
    from wanda_core.export.packed_file import file_sizes

    sizes = file_sizes(model, pruning)
    replaced = sum(layer.stored.nbytes for layer in model.prunable.layers if layer.name in packed.products)
    return sizes | {"memory": sizes["dense"] - replaced + packed.nbytes}
