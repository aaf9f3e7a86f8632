"""Is this model pruned already? The job that looks at one that was pruned elsewhere, and what it finds."""

from __future__ import annotations

import math
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from html import escape
from typing import Any, ClassVar

from gradio.components.plot import PlotData

from components.cost.figures import cells_map
from components.cost.outcome import Row
from components.display.chart_style import drawn
from components.display.html import model_name
from components.display.number_format import bytes_text, number, times
from components.jobs.job import Job, Progress, Put
from components.recipe.request import check_setup
from components.request_checks import check_source
from components.workspace.experiment import Subject, fetch, prepare
from components.workspace.measured_rows import keep_row, kept_row
from components.workspace.setup import NOISE, Setup
from wanda_core.errors import Refused
from wanda_core.experiments.front import bits_per_byte
from wanda_core.experiments.paired import compare_rows

FEW = 0.01
"""Share of zeros below which a model is not called pruned."""
ROUNDED = 0.2
"""Share of zeros up to which they may come of rounding to few bits: 4 bits leave some 12%."""
ALONE = 60
"""Seconds of a GPU that one model takes."""

EVEN = 0.5
"""Per cent by which sparsities differ at least for a picture of them to say anything."""


@dataclass(frozen=True)
class Checked:
    """What a look at a model found."""

    protocol: dict[str, Any]
    layers: tuple[Any, ...]
    """`wanda_core.experiments.check.LayerCheck`, one for each prunable layer."""
    sizes: Any
    """`wanda_core.experiments.check.Sizes`."""
    row: Row | None = None
    """Its perplexity; None while that is measured."""
    dense: Row | None = None
    """That of the model before it was pruned, where it is known."""
    dense_protocol: dict[str, Any] | None = None

    @property
    def sparsity(self) -> float:
        """Share of the layers' weights that are zero."""
        return _zeros(self.layers)


@dataclass(frozen=True)
class CheckModel(Job):
    """Count a model's zeros, and measure its perplexity and sizes."""

    setup: Setup
    pruned_from: str = ""
    """Source of the dense model, or empty."""

    overdue: ClassVar[str] = "ask for fewer evaluation windows"

    @property
    def gpu_seconds(self) -> float:
        return ALONE * (1 + bool(self.pruned_from))

    def fetch(self, put: Put) -> None:
        for setup in filter(None, (self.setup, self._before)):
            fetch(setup, put)

    @property
    def _before(self) -> Setup | None:
        return replace(self.setup, source=self.pruned_from, revision=None) if self.pruned_from else None

    def compute(self, put: Put, stop: threading.Event) -> None:
        from wanda_core.experiments.check import check_layers, check_sizes

        def tell(begin: float, end: float) -> Any:
            return lambda doing, share, where: put(
                Progress(f"{doing[:1].upper()}{doing[1:]}: {where}", begin + (end - begin) * share)
            )

        subject = prepare(self.setup, put)
        before = prepare(self._before, put) if self._before else None
        layers = check_layers(
            subject.model, before.model if before else None, on_progress=tell(0, 0.1), stop=stop
        )
        sizes = check_sizes(subject.model, layers, on_progress=tell(0.1, 0.3), stop=stop)
        found = Checked(subject.protocol, tuple(layers), sizes)
        put(found)
        row = _perplexity(subject, self.setup, tell(0.3, 0.65 if before else 1), stop)
        found = replace(found, row=row)
        put(found)
        if before is not None:
            dense = _perplexity(before, self._before, tell(0.65, 1), stop)
            put(replace(found, dense=dense, dense_protocol=before.protocol))


def _perplexity(subject: Subject, setup: Setup | None, tell: Any, stop: threading.Event) -> Row:
    """The model's row as it is, measured unless it was."""
    from wanda_core.experiments.measurement import Measurement
    from wanda_core.experiments.points import DENSE

    row = kept_row(subject, None)
    if row is None:
        measuring = Measurement(
            subject.model, subject.windows, lambda _: subject.tokens, on_progress=tell, stop=stop
        )
        row = next(measuring.measure([DENSE])).row
        if row["error"]:
            raise Refused(row["error"])
        keep_row(subject, None, row, setup)
    return row


def check_model(values: Mapping[str, object], sources: Sequence[str]) -> CheckModel:
    """The panel's model and evaluation text, and what the model was pruned from.

    Raises:
        Refused: a setting is wrong.
    """
    setup, _ = check_setup(values, sources)
    before = values.get("pruned_from") or ""
    if not isinstance(before, str):
        raise Refused("what it was pruned from is the name of a model")
    before = check_source(before.strip(), sources) if before.strip() else ""
    if before == setup.source:
        raise Refused(
            "this is the model itself: give the dense model that it was pruned from, or leave it out"
        )
    # It takes no calibration text: one that is too short, say, is no reason against it.
    return CheckModel(replace(setup, calibration=NOISE, chat=False, samples=1), before)


def chart(found: Checked) -> PlotData | None:
    """Sparsity of every layer, block by kind; None where it is the same in all of them."""
    shares = [100 * layer.sparsity for layer in found.layers]
    if max(shares) - min(shares) < EVEN:
        return None
    own: dict[tuple[str, int], list[Any]] = {}
    for layer in found.layers:  # a block's experts are of one kind
        own.setdefault((layer.kind, layer.block), []).append(layer)
    cells = {at: 100 * _zeros(layers) for at, layers in own.items()}
    figure, low, high = cells_map(cells, "zeros")
    model = model_name(found.protocol)
    title = f"Zeros in every layer of {model}"
    return drawn(figure, f"zeros-{model}", title, "", f"{title}. From {low:.3g}% to {high:.3g}%")


def report(found: Checked) -> str:
    """The answer in a sentence, what it costs, and a row for each kind of layer."""
    share, layers = found.sparsity, found.layers
    revision = found.protocol["revision"]
    model = escape(model_name(found.protocol) + (f" at {revision[:8]}" if revision else ""))
    said = f"<b>{share:.1%}</b> of the weights of its {len(layers)} layers are zero"
    patterns = sorted({layer.pattern for layer in layers if layer.pattern})
    held = sum(layer.pattern is not None for layer in layers)
    if share < FEW:
        answer = f"{model} is not pruned: {said}."
    elif patterns:
        holds = f"{' or '.join(patterns)} holds in {'all' if held == len(layers) else held} of them"
        answer = f"{model} is pruned: {said}; {holds}."
    elif share < ROUNDED:
        answer = f"{model} is pruned a little, or rounded to few bits, which leaves as many zeros: {said}."
    else:
        answer = f"{model} is pruned: {said}; no N:M pattern holds."
    size = found.sizes
    return (
        f'<p class="verdict">{answer} {_cost(found)}</p>'
        f"<p>{bytes_text(size.file)} on disk, {bytes_text(size.bitmask)} as a bitmask and values, "
        f"about {bytes_text(size.deflated)} compressed, as in a zip.</p>"
        f"{_table(found)}"
        f"<p class='hint'>Perplexity on the first {found.protocol['windows']} windows of "
        f"{found.protocol['eval_length']} tokens of {escape(found.protocol['evaluation'])}, "
        f"{escape(found.protocol['dtype'])}. N:M: at most N of every M consecutive inputs of a row are kept.</p>"
    )


def _cost(found: Checked) -> str:
    row, dense = found.row, found.dense
    if row is None:
        return "Its perplexity is being measured."
    if not math.isfinite(row["perplexity"]):
        return "It is broken: it has no finite perplexity."
    said = f"Its perplexity is {number(row['perplexity'])}{_interval(row)}"
    own = _per_byte(row, found.protocol)
    if dense is None or found.dense_protocol is None:
        return f"{said}, {own} bits per byte of text."
    model = escape(model_name(found.dense_protocol))
    if dense["evaluation_sha256"] != row["evaluation_sha256"]:
        theirs = _per_byte(dense, found.dense_protocol)
        return f"{said}, {own} bits per byte of text; {model}, whose tokens are others, has {theirs}."
    ratio = compare_rows(dense, row)
    sure = f" ({times(ratio.low)} to {times(ratio.high)})" if ratio.low and ratio.high else ""
    return (
        f"{said}, {times(ratio.ratio)}{sure} times that of {model}, {number(dense['perplexity'])}; {own} bits per byte "
        "of text."
    )


def _per_byte(row: Row, protocol: Mapping[str, Any]) -> str:
    return number(bits_per_byte(row["perplexity"], protocol["bytes_per_token"]))


def _interval(row: Row) -> str:
    low, high = row["perplexity_low"], row["perplexity_high"]
    return f" ({number(low)} to {number(high)})" if low is not None else ""


def _table(found: Checked) -> str:
    """A row for each kind of layer."""
    compared = found.layers[0].changed is not None
    heads = ["Layers", "Count", "Zeros", "Least in one", "Most in one", "N:M"]
    heads += ["Kept that changed"] * compared
    kinds: dict[str, list[Any]] = {}
    for layer in found.layers:
        kinds.setdefault(layer.kind, []).append(layer)
    body = ""
    for kind, own in kinds.items():
        shares = [layer.sparsity for layer in own]
        cells = [str(len(own)), f"{_zeros(own):.2%}", f"{min(shares):.2%}", f"{max(shares):.2%}"]
        cells.append(" ".join(sorted({layer.pattern or "–" for layer in own})))
        if compared:
            kept = [layer.weights - layer.zeros for layer in own]
            changed = sum(layer.changed * count for layer, count in zip(own, kept, strict=True))
            cells.append(f"{changed / max(1, sum(kept)):.1%}")
        body += f"<tr><th scope=row>{escape(kind)}</th>{''.join(f'<td>{cell}</td>' for cell in cells)}</tr>"
    return (
        '<div class="scroll" tabindex="0" role="region" aria-label="Zeros by kind of layer"><table class="results">'
        f"<thead><tr>{''.join(f'<th scope=col>{head}</th>' for head in heads)}</tr></thead>"
        f"<tbody>{body}</tbody></table></div>"
    )


def _zeros(layers: Sequence[Any]) -> float:
    """Share of the weights of some layers that are zero."""
    return sum(layer.zeros for layer in layers) / sum(layer.weights for layer in layers)
