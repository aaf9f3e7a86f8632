"""Which blocks bear pruning? The job that prunes each block of the point in focus alone, and its picture."""

from __future__ import annotations

import math
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from html import escape
from typing import Any

from gradio.components.plot import PlotData

from components.cache import Shelf
from components.display.chart_style import COLOURS, INK, OTHER, drawn, new_figure
from components.display.html import model_name
from components.display.names import name, point
from components.display.number_format import number
from components.jobs.job import Job, Progress, Put
from components.request_checks import check_source
from components.workspace.experiment import fetch, prepare
from components.workspace.focus import Focus
from components.workspace.setup import Setup
from wanda_core.errors import Refused
from wanda_core.method.allocations import linear_ratios, most_beta
from wanda_core.method.recipe import Recipe

_scans: Shelf[Scanned] = Shelf("scans")


@dataclass(frozen=True)
class Scanned:
    """What the scan of one point found."""

    protocol: dict[str, Any]
    recipe: Recipe
    dense: float
    """Perplexity of the dense model on the scan's windows."""
    perplexities: tuple[float, ...]
    """With that block alone pruned."""
    ratios: tuple[float, ...] | None
    """Sparsity of every block that the scan is turned into; None with an N:M pattern."""
    windows: int
    told: str
    """What it took."""


@dataclass(frozen=True)
class Scan(Job):
    """Prune each block alone and measure perplexity."""

    setup: Setup
    recipe: Recipe

    @property
    def gpu_seconds(self) -> float:
        return 120

    def fetch(self, put: Put) -> None:
        fetch(self.setup, put)

    def compute(self, put: Put, stop: threading.Event) -> None:
        subject = prepare(self.setup, put)
        found = _scans.get(subject.key(self.recipe))
        if found is None:
            found = self._scan(subject, put, stop)
            _scans.put(subject.key(self.recipe), found, 5000)
        put(found)

    def _scan(self, subject: Any, put: Put, stop: threading.Event) -> Scanned:
        from wanda_core.pruning.allocation import sensitivity
        from wanda_core.pruning.block_scan import scan_blocks
        from wanda_core.pruning.conditions import default_micro_batch

        prunable, tokens = subject.model.prunable, subject.tokens.to(subject.model.device)
        scan = scan_blocks(
            prunable,
            tokens,
            self.recipe,
            micro_batch=min(len(tokens), default_micro_batch(tokens.shape[1], tokens.device)),
            on_progress=lambda share, where: put(Progress(f"Scanning: {where}", share)),
            stop=stop,
        )
        ratios = None
        if self.recipe.sparsity is not None and not self.recipe.parsed_pattern.structured:
            of_layers = sensitivity(prunable, self.recipe.sparsity, scan)
            of_blocks = {layer.block: ratio for layer, ratio in of_layers.items()}
            ratios = tuple(of_blocks[block] for block in sorted(of_blocks))
        return Scanned(
            subject.protocol,
            self.recipe,
            math.exp(scan.dense),
            tuple(math.exp(min(700.0, loss)) for loss in scan.pruned),
            ratios,
            scan.windows,
            scan.told,
        )


def check_scan(values: Mapping[str, object], sources: Sequence[str]) -> Scan:
    """The scan of the point in focus, by its method without what is trained afterwards.

    Raises:
        Refused: no point is in focus, or it is of another model.
    """
    focus = values.get("focus")
    if not isinstance(focus, Focus):
        raise Refused("choose a point first: click one in the chart or the table")
    if focus.setup.source != check_source(values.get("source"), sources):
        raise Refused("the point in focus is of another model: press Run first")
    return Scan(
        focus.setup, replace(focus.recipe, allocation="uniform", recovery="none", order="none", bits=16)
    )


def beta_of(allocation: object, beta: object) -> float | None:
    """BETA, where the panel asks for the linear allocation."""
    chosen = allocation == "linear" and isinstance(beta, int | float) and not isinstance(beta, bool)
    return float(beta) if chosen else None  # type: ignore[arg-type]


def chart(found: Scanned, beta: float | None = None) -> PlotData:
    """Bars of the perplexities, and above them the sparsity of every block that they are turned into.

    Args:
        beta: of the linear allocation to draw beside it; left out where it is out of range.
    """
    blocks = list(range(len(found.perplexities)))
    figure = new_figure(height=420)
    figure.add_bar(
        x=blocks,
        # From the dense model's: a bar is what the block costs.
        base=found.dense,
        y=[perplexity - found.dense for perplexity in found.perplexities],
        customdata=found.perplexities,
        name=f"perplexity with this block alone pruned ({point(found.recipe.as_dict())})",
        marker_color=COLOURS["wanda"],
        hovertemplate="block %{x} alone<br>perplexity %{customdata:.4g}<extra></extra>",
    )
    figure.add_scatter(
        x=[-0.5, len(blocks) - 0.5],
        y=[found.dense] * 2,
        mode="lines",
        name="dense",
        line={"dash": "dot", "color": COLOURS["dense"]},
        hovertemplate="dense<br>perplexity %{y:.4g}<extra></extra>",
    )
    lines: dict[str, tuple[tuple[float, ...], str, str]] = {}
    mean = found.recipe.sparsity or 0.0
    if found.ratios is not None:
        lines["by sensitivity"] = (found.ratios, OTHER, "solid")
        lines["uniform"] = ((mean,) * len(blocks), INK, "dash")
        if beta is not None and 0 < beta <= most_beta(mean, len(blocks)):
            steps = tuple(linear_ratios(mean, beta, len(blocks)))
            lines[f"linear, BETA {beta:g}"] = (steps, COLOURS["magnitude"], "dashdot")
    for label, (ratios, colour, dash) in lines.items():
        figure.add_scatter(
            x=blocks,
            y=[100 * ratio for ratio in ratios],
            mode="lines",
            name=f"sparsity {label}",
            yaxis="y2",
            line={"color": colour, "width": 2, "dash": dash, "shape": "hvh"},
            hovertemplate=f"block %{{x}}<br>{label}: %{{y:.1f}}%<extra></extra>",
        )
    low, high = min(found.dense, *found.perplexities), max(found.perplexities)
    room = (high - low) * 0.05 or 1.0
    figure.update_xaxes(title_text="block", tick0=0, dtick=math.ceil(len(blocks) / 10))
    # Bars below, lines above: two scales that do not cross.
    figure.update_yaxes(
        title_text="perplexity", range=[low - room, high + room], domain=[0, 0.56 if lines else 1]
    )
    figure.update_layout(legend_y=-0.28)  # below the axis' title on a phone, too
    if lines:
        figure.update_layout(
            yaxis2={
                "title": {"text": "sparsity", "font": {"size": 13}},
                "ticksuffix": "%",
                "domain": [0.64, 1],
                "gridcolor": "rgba(128,128,128,0.25)",
                "zeroline": False,
                "automargin": True,
            }
        )
    model = model_name(found.protocol)
    title = f"Blocks of {model}, each pruned alone: {point(found.recipe.as_dict())}"
    most = max(blocks, key=lambda block: found.perplexities[block])
    said = f"{title}. Dense {number(found.dense)}; most with block {most}, {number(found.perplexities[most])}"
    source = f"first {found.windows} calibration windows of {found.protocol['length']} tokens"
    return drawn(figure, f"blocks-{model}", title, source, said)


def report(found: Scanned) -> str:
    """What the picture shows, in a sentence, and what it took."""
    order = sorted(range(len(found.perplexities)), key=lambda block: -found.perplexities[block])
    worst = ", ".join(f"{block} ({number(found.perplexities[block])})" for block in order[:3])
    method = name(found.recipe.method)
    text = escape(found.protocol["calibration"])
    return (
        f"<p>Most sensitive to {method}: blocks {worst}; dense {number(found.dense)}. Measured on the first "
        f"{found.windows} calibration windows of {text}, so that the evaluation text stays unseen.</p>"
        f"<p class='hint'>{found.told[:1].upper()}{found.told[1:]}. To prune by it, choose <b>sensitivity</b> for "
        "Sparsity of the layers under Advanced.</p>"
    )
