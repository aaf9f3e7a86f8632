"""The chart of perplexity against sparsity, from plain numbers, with the budget that it may cost."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import cycle
from typing import Any

import plotly.graph_objects as go

from components.display.chart_style import COLOURS, INK, colour_of, log_axis, new_figure
from components.display.names import method_of, name, unordered, untrained
from wanda_core.method.bits import NAMES as BITS

OFF_CHART = 1e6
"""Worse than guessing blindly: curves leave the chart there, so that the others can be told apart."""
SYMBOLS = ("diamond-open", "square-open", "triangle-up-open", "cross-open", "star-open")
"""Of N:M patterns, beside the curves."""
DASHES = ("dot", "dash", "dashdot")


@dataclass(frozen=True)
class Mark:
    """One measured point."""

    method: str
    """With ` recovered` or ` fine-tuned` behind it where its kept weights were trained."""
    label: str
    """`Wanda 50%`."""
    sparsity: float
    """As reached, 0 to 1."""
    pattern: str
    perplexity: float
    ends: tuple[float, float] | None
    """Of its interval."""
    hover: str
    """What is told of it, as the HTML that Plotly knows."""
    key: int = -1
    """What a click on it passes on."""


@dataclass(frozen=True)
class Budget:
    """The highest perplexity that is accepted, and where each method reaches it."""

    percent: float
    perplexity: float
    crossings: Mapping[str, float]
    """Method -> sparsity, 0 to 1, where its curve crosses the line."""


def perplexity_figure(
    marks: Sequence[Mark], references: Mapping[str, float], budget: Budget | None = None
) -> go.Figure:
    """Curves over sparsity; where there is one amount only, the points beside each other.

    Args:
        references: perplexities of models that are not pruned, by name, the dense model first.
        budget: drawn as a line; `layout.shapes[0]`, which can be dragged.
    """
    marks = [mark for mark in marks if math.isfinite(mark.perplexity)]
    amounts = {(mark.pattern, round(mark.sparsity, 2)) for mark in marks}
    return _curves(marks, references, budget) if len(amounts) > 1 else _dots(marks, references, budget)


def _span(
    marks: Sequence[Mark], references: Mapping[str, float], budget: Budget | None
) -> tuple[float, float]:
    """The lowest and highest perplexity that is drawn."""
    values = [*references.values(), *(end for mark in marks for end in (mark.ends or (mark.perplexity,)))]
    values += [budget.perplexity] if budget else []
    values = [value for value in values if 0 < value < OFF_CHART] or [1.0]
    low, high = min(values), max(values)
    room = (high / low) ** 0.08 if high > 1.2 * low else 1.1
    return low / room, high * room


def _curves(marks: Sequence[Mark], references: Mapping[str, float], budget: Budget | None) -> go.Figure:
    figure = new_figure(height=400)
    right = 100 * max((mark.sparsity for mark in marks), default=1) + 4
    dense = next(iter(references.values()), None)
    for (label, value), dash in zip(references.items(), cycle(DASHES), strict=False):
        figure.add_scatter(
            x=[0, right],
            y=[value, value],
            mode="lines",
            name=label,
            line={"dash": dash, "color": COLOURS["dense"]},
            hovertemplate=f"{label}<br>perplexity %{{y:.4g}}<extra></extra>",
        )
    _join_recovered(figure, marks)
    patterns = dict.fromkeys(mark.pattern for mark in marks if mark.pattern != "unstructured")
    symbols = dict(zip(patterns, cycle(SYMBOLS), strict=False))
    for method in dict.fromkeys(mark.method for mark in marks):
        own = [mark for mark in marks if mark.method == method]
        free = sorted(
            (mark for mark in own if mark.pattern == "unstructured"), key=lambda mark: mark.sparsity
        )
        if free:
            if dense is not None:  # every curve begins at the dense model
                figure.add_scatter(
                    x=[0, 100 * free[0].sparsity],
                    y=[dense, free[0].perplexity],
                    mode="lines",
                    line={"color": colour_of(method), "width": 1.5, "dash": "dot"},
                    showlegend=False,
                    hoverinfo="skip",
                )
            _add(
                figure,
                free,
                name(method),
                mode="lines+markers",
                marker={"color": colour_of(method), "size": 9},
                line={"dash": _dash(method)},
            )
        fixed = [mark for mark in own if mark.pattern != "unstructured"]
        if fixed:
            marker = {
                "symbol": [symbols[mark.pattern] for mark in fixed],
                "size": 11,
                "color": colour_of(method),
                "line": {"width": 2},
            }
            _add(figure, fixed, name(method), mode="markers", marker=marker, showlegend=not free)
    for pattern, symbol in symbols.items():  # what the symbols mean, whoever's they are
        grey = {"symbol": symbol, "size": 11, "color": COLOURS["dense"], "line": {"width": 2}}
        figure.add_scatter(x=[None], y=[None], mode="markers", name=pattern, marker=grey)
    figure.update_yaxes(title_text="perplexity (log scale)", **log_axis(*_span(marks, references, budget)))
    figure.update_xaxes(
        title_text="sparsity: share of weights pruned", ticksuffix="%", range=[-1, right], nticks=8
    )
    if budget:
        _budget_line(
            figure,
            budget,
            {"x0": 0, "x1": 1, "xref": "paper", "y0": budget.perplexity, "y1": budget.perplexity},
        )
        crossings = budget.crossings
        figure.add_scatter(
            x=[100 * at for at in crossings.values()],
            y=[budget.perplexity] * len(crossings),
            mode="markers",
            marker={
                "symbol": "x-thin",
                "size": 11,
                "line": {"width": 2.5, "color": [colour_of(method) for method in crossings]},
            },
            text=[f"{name(method)} reaches the budget at {at:.0%}" for method, at in crossings.items()],
            hovertemplate="%{text}<extra></extra>",
            showlegend=False,
        )
    return figure


def _dash(contender: str) -> str:
    """Rounded ones are told from others by finer dashes."""
    if contender.endswith(BITS[4]):
        return "dot"
    if contender.endswith(BITS[8]):
        return "dashdot"
    return "solid" if contender == method_of(contender) else "dash"


def _join_recovered(figure: go.Figure, marks: Sequence[Mark]) -> None:
    """A line from every point to the same one trained, and to the same one in another order of channels."""
    places = {(mark.method, mark.pattern, mark.sparsity): mark for mark in marks}
    for mark in marks:
        trained = mark.method != untrained(mark.method)
        earlier = untrained(mark.method) if trained else unordered(mark.method)
        before = places.get((earlier, mark.pattern, mark.sparsity))
        if before is None or before is mark:
            continue
        figure.add_scatter(
            x=[100 * mark.sparsity] * 2,
            y=[min(each.perplexity, 10 * OFF_CHART) for each in (before, mark)],
            mode="lines",
            line={"color": colour_of(mark.method), "width": 8},
            opacity=0.35,  # to be seen beside the interval's bar, on the same place
            name="recovery" if trained else "order",
            showlegend=False,
            hoverinfo="skip",
        )


def _dots(marks: Sequence[Mark], references: Mapping[str, float], budget: Budget | None) -> go.Figure:
    """One row for each point and reference, the best on top."""
    rows = sorted(
        [*((mark.perplexity, mark.label) for mark in marks), *((v, k) for k, v in references.items())]
    )
    figure = new_figure(height=130 + 44 * max(2, len(rows)))
    for label, value in references.items():
        figure.add_scatter(
            x=[value],
            y=[label],
            mode="markers",
            marker={"color": COLOURS["dense"], "size": 10, "symbol": "diamond"},
            hovertemplate=f"{label}<br>perplexity %{{x:.4g}}<extra></extra>",
        )
    for mark in marks:
        marker = {"color": colour_of(mark.method), "size": 11}
        _add(figure, [mark], mark.label, mode="markers", marker=marker, upright=False)
    figure.update_layout(showlegend=False)
    figure.update_yaxes(categoryorder="array", categoryarray=[label for _, label in reversed(rows)])
    figure.update_xaxes(title_text="perplexity (log scale)", **log_axis(*_span(marks, references, budget)))
    if budget:
        _budget_line(
            figure,
            budget,
            {"y0": 0, "y1": 1, "yref": "paper", "x0": budget.perplexity, "x1": budget.perplexity},
        )
    return figure


def _add(figure: go.Figure, marks: Sequence[Mark], label: str, *, upright: bool = True, **style: Any) -> None:
    """One method's points with their intervals; `upright`: perplexity upwards, else to the right."""
    values = [min(mark.perplexity, 10 * OFF_CHART) for mark in marks]
    places: list[Any] = [100 * mark.sparsity for mark in marks] if upright else [mark.label for mark in marks]
    known = all(mark.ends for mark in marks)
    interval = {
        "type": "data",
        "symmetric": False,
        "array": [(mark.ends or (0, 0))[1] - mark.perplexity for mark in marks] if known else [],
        "arrayminus": [mark.perplexity - (mark.ends or (0, 0))[0] for mark in marks] if known else [],
        "thickness": 1.4,
        "color": INK,
        "visible": known,
    }
    figure.add_scatter(
        x=places if upright else values,
        y=values if upright else places,
        error_y=interval if upright else None,
        error_x=None if upright else interval,
        name=label,
        customdata=[mark.key for mark in marks],
        text=[mark.hover for mark in marks],
        hovertemplate="%{text}<extra></extra>",
        **style,
    )


def _budget_line(figure: go.Figure, budget: Budget, place: dict[str, Any]) -> None:
    figure.add_shape(
        type="line",
        line={"color": "#b38f00", "width": 2, "dash": "dash"},
        label={
            "text": f"budget: +{budget.percent:g}%",
            "textposition": "end",
            "xanchor": "right",
            "font": {"size": 12},
            "yanchor": "bottom",
            "textangle": 0,
        },
        **place,
    )
