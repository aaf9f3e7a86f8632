"""The charts of Cost: perplexity with the budget, the layers of one point, and calibration sensitivity."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import plotly.graph_objects as go
from gradio.components.plot import PlotData

from components.cost.budget import limits
from components.cost.outcome import Group, Outcome, Row, groups
from components.cost.verdict import times_dense
from components.display.chart_style import COLOURS, INK, drawn, new_figure
from components.display.html import model_name
from components.display.names import contender, is_reference, point
from components.display.number_format import number, times
from components.display.perplexity_chart import Budget, Mark, perplexity_figure
from components.workspace.setup import text_name

QUANTITIES = {
    "error": ("Output error", "output error"),
    "sparsity": ("Sparsity", "sparsity"),
}
"""What colours the map of layers: on its control, and in sentences."""


def curve(outcome: Outcome, percent: float | None) -> PlotData:
    """Perplexity of every point, with the budget.

    Args:
        percent: accepted above the dense model's perplexity; None: no budget is drawn.
    """
    dense = outcome.dense
    marks = [_mark(group, dense) for group in groups(outcome.rows) if group.perplexity is not None]
    references = {
        point(row): row["perplexity"] for row in outcome.rows if is_reference(row) and row["perplexity"]
    }
    budget = None
    if dense and percent is not None:
        crossings = {
            method: limit.sparsity
            for method, limit in limits(outcome, percent).items()
            if not limit.beyond and not limit.measured
        }
        budget = Budget(percent, dense["perplexity"] * (1 + percent / 100), crossings)
    figure = perplexity_figure(marks, references, budget)
    model, protocol = model_name(outcome.protocol), outcome.protocol
    title = f"Perplexity of {model}, pruned"
    said = "; ".join(f"{mark.label}: {number(mark.perplexity)}" for mark in marks)
    name = f"{title}. Dense: {number(dense['perplexity']) if dense else 'not measured'}. {said}"
    windows = f"{protocol['windows']} windows of {protocol['eval_length']} tokens"
    source = f"{windows} of {protocol['evaluation']}; bars: 95% intervals, or the range over seeds"
    return drawn(figure, f"perplexity-{model}", title, source, name, movable=budget is not None)


def _mark(group: Group, dense: Row | None) -> Mark:
    row = group.first
    reached = row["sparsity"] if row["sparsity_reached"] is None else row["sparsity_reached"]
    return Mark(
        contender(row),
        point(row),
        reached,
        row["pattern"],
        group.perplexity or math.inf,
        group.ends,
        _hover(group, dense),
        group.indices[0],
    )


def _hover(group: Group, dense: Row | None) -> str:
    several = len(group.measured) > 1
    lines = [f"<b>{point(group.first)}</b>", f"perplexity {number(group.perplexity)}"]
    if group.ends:
        what = f"range over {len(group.measured)} seeds" if several else "95% interval"
        lines[-1] += f" ({what} {number(group.ends[0])} to {number(group.ends[1])})"
    ratio = times_dense(group, dense)
    if ratio:
        low, high = ratio[1:]
        lines.append(
            f"{times(ratio[0])} × dense" + (f" ({times(low)} to {times(high)})" if low and high else "")
        )
    divergence, changed = group.mean("kl_to_dense"), group.mean("top1_changed")
    if divergence is not None:
        lines.append(f"KL to dense {number(divergence)} nats")
    if changed is not None:
        lines.append(f"first choice changed on {changed:.0%} of tokens")
    return "<br>".join(lines)


def layers_map(outcome: Outcome, index: int | None, quantity: str) -> PlotData | None:
    """A cell for each layer, block by kind, of one point; None where its layers are not known.

    Args:
        index: of the row.
        quantity: a key of `QUANTITIES`.
    """
    reports = outcome.layers.get(index) if index is not None else None
    if not reports or index is None:
        return None
    own: dict[tuple[str, int], list[float]] = {}
    for report in reports:  # a block's experts are of one kind
        own.setdefault((report["kind"], report["block"]), []).append(100 * report[quantity])
    cells = {at: sum(values) / len(values) for at, values in own.items()}
    figure, low, high = cells_map(cells, QUANTITIES[quantity][1])
    model, label = model_name(outcome.protocol), point(outcome.rows[index])
    row = outcome.rows[index]
    if quantity == "error" and row.get("recovery") not in (None, "none"):
        label += ", before its recovery"  # which trains towards the block's output, not each layer's
    title = f"{QUANTITIES[quantity][0]} of every layer: {label}, {model}"
    name = f"{title}. From {low:.3g}% to {high:.3g}%"
    return drawn(figure, f"layers-{quantity}-{model}", title, "", name)


def cells_map(cells: Mapping[tuple[str, int], float], said: str) -> tuple[go.Figure, float, float]:
    """A cell for each kind of layer and block, in per cent, with the ends of its colours.

    Args:
        said: what they are, in a word or two.
    """
    kinds = list(dict.fromkeys(kind for kind, _ in cells))
    blocks = list(dict.fromkeys(block for _, block in cells))
    values = [[cells.get((kind, block)) for block in blocks] for kind in kinds]
    known = [value for value in cells.values() if math.isfinite(value)]
    low, high = min(known, default=0), max(known, default=1)
    if high - low < 0.5:  # a range made of rounding alone would show a pattern that is none
        middle = (high + low) / 2
        low, high = middle - 0.5, middle + 0.5
    figure = new_figure(height=110 + 30 * len(kinds))
    figure.add_heatmap(
        x=blocks,
        y=kinds,
        z=values,
        zmin=low,
        zmax=high,
        colorscale="Cividis",
        xgap=1,
        ygap=1,
        colorbar={"ticksuffix": "%", "thickness": 12, "outlinewidth": 0, "nticks": 5, "len": 1},
        hovertemplate=f"block %{{x}}, %{{y}}<br>{said} %{{z:.2f}}%<extra></extra>",
    )
    figure.update_xaxes(title_text="block", showgrid=False, tick0=0, dtick=math.ceil(len(blocks) / 8))
    figure.update_yaxes(autorange="reversed", showgrid=False)
    return figure, low, high


def sensitivity(outcome: Outcome) -> PlotData:
    """Perplexity against the number of calibration windows, one line for each point and text; the marker is the mean
    over seeds, the bar their range."""
    figure = new_figure(height=340)
    lines: dict[str, dict[int, list[float]]] = {}
    pruned = [row for row in outcome.rows if not is_reference(row) and row["perplexity"] is not None]
    texts = {row["calibration"] for row in pruned}
    for row in pruned:
        key = text_name(row["calibration"]) if len(texts) > 1 else point(row)
        lines.setdefault(key, {}).setdefault(row["samples"], []).append(row["perplexity"])
    counts = sorted({row["samples"] for row in pruned})
    if len(counts) > 1:
        _over_windows(figure, lines, counts)
    else:
        _over_texts(figure, lines)
    model = model_name(outcome.protocol)
    title = f"Perplexity of {model} by calibration"
    said = "; ".join(
        f"{text_name(row['calibration'])}, {row['samples']} windows: {number(row['perplexity'])}"
        for row in pruned
    )
    return drawn(figure, f"calibration-{model}", title, "mean and range over seeds", f"{title}. {said}")


def _over_windows(
    figure: go.Figure, lines: Mapping[str, Mapping[int, list[float]]], counts: Sequence[int]
) -> None:
    marks = ("circle", "square", "diamond", "cross", "triangle-up", "star")
    for (key, windows), mark in zip(lines.items(), marks * len(lines), strict=False):
        own = sorted(windows)
        means = [sum(windows[n]) / len(windows[n]) for n in own]
        figure.add_scatter(
            x=own,
            y=means,
            error_y=_range([windows[n] for n in own], means),
            mode="lines+markers",
            name=key,
            marker={"symbol": mark, "size": 9},
            hovertemplate=f"{key}, %{{x}} windows<br>perplexity %{{y:.4g}}<extra></extra>",
        )
    figure.update_xaxes(type="log", title_text="calibration windows", tickvals=list(counts))
    figure.update_yaxes(title_text="perplexity")


def _over_texts(figure: go.Figure, lines: Mapping[str, Mapping[int, list[float]]]) -> None:
    values = {key: [value for own in windows.values() for value in own] for key, windows in lines.items()}
    means = [sum(own) / len(own) for own in values.values()]
    figure.add_scatter(
        x=means,
        y=list(values),
        error_x=_range(list(values.values()), means),
        mode="markers",
        marker={"size": 11, "color": COLOURS["wanda"]},
        hovertemplate="%{y}<br>perplexity %{x:.4g}<extra></extra>",
    )
    figure.update_layout(showlegend=False)
    figure.update_xaxes(title_text="perplexity (lower is better)")


def _range(values: Sequence[Sequence[float]], means: Sequence[float]) -> dict[str, Any]:
    return {
        "type": "data",
        "symmetric": False,
        "array": [max(own) - mean for own, mean in zip(values, means, strict=True)],
        "arrayminus": [mean - min(own) for own, mean in zip(values, means, strict=True)],
        "thickness": 1.4,
        "color": INK,
    }
