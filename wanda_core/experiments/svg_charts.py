"""Two charts as inline SVG. Colours are classes, so that the page around them decides on light, dark and print."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from html import escape

WIDTH, HEIGHT = 760, 380
LEFT, RIGHT, TOP, BOTTOM = 64, 130, 16, 48
COLOURS = 8
"""Classes `s0` to `s7` of series."""
MOST_TIMES = 1000
"""Times the dense perplexity up to which a chart reaches."""

MOST_BELOW = 2.5
"""Times below the dense perplexity that an interval's end is still drawn."""


@dataclass(frozen=True)
class Mark:
    """One measured point of a curve."""

    sparsity: float
    perplexity: float
    low: float | None
    high: float | None
    line: bool
    """Of the unstructured curve; else, for N:M, a mark by itself."""
    label: str


def curve(series: Mapping[str, Sequence[Mark]], dense: float, budget: float) -> str:
    """Perplexity, on a log axis, against sparsity; the dense model and the budget as lines across.

    Args:
        series: points of each method, any order.
        dense: perplexity of the dense model.
        budget: 0.1 draws a line at 10% more than dense.
    """
    marks = [mark for points in series.values() for mark in points]
    top = min(max((_top(mark) for mark in marks), default=dense), MOST_TIMES * dense)
    high = max(top, dense * (1 + budget)) * 1.15
    lows = [mark.low for mark in marks if mark.low is not None]
    low = max(min([dense, *(mark.perplexity for mark in marks), *lows]), dense / MOST_BELOW) / 1.1
    xs = [mark.sparsity for mark in marks]
    right = min(1.0, max(xs, default=0.5) + 0.05)

    def x(sparsity: float) -> float:
        return LEFT + sparsity / right * (WIDTH - LEFT - RIGHT)

    def y(perplexity: float) -> float:
        share = math.log(max(low, min(perplexity, high)) / low) / math.log(high / low)
        return HEIGHT - BOTTOM - share * (HEIGHT - TOP - BOTTOM)

    edge = WIDTH - RIGHT
    parts = [
        f'<line class="grid" x1="{LEFT}" x2="{edge}" y1="{y(v):.1f}" y2="{y(v):.1f}"/>'
        f'<text class="tick" x="{LEFT - 8}" y="{y(v) + 4:.1f}" text-anchor="end">{number(v)}</text>'
        for v in _log_ticks(low, high)
    ]
    parts += [
        f'<text class="tick" x="{x(t / 100):.1f}" y="{HEIGHT - BOTTOM + 18}" text-anchor="middle">{t}%</text>'
        for t in range(0, round(right * 100) + 1, 10)
    ]
    parts.append(
        f'<line class="axis" x1="{LEFT}" x2="{edge}" y1="{HEIGHT - BOTTOM}" y2="{HEIGHT - BOTTOM}"/>'
    )
    parts.append(
        f'<text class="tick" x="{(LEFT + edge) / 2:.0f}" y="{HEIGHT - 8}" text-anchor="middle">Weights pruned</text>'
        f'<text class="tick" transform="translate(14 {HEIGHT / 2:.0f}) rotate(-90)" text-anchor="middle">'
        "Perplexity, log scale</text>"
    )
    labels = [(y(dense), "dense", "quiet")]
    if y(dense) - y(dense * (1 + budget)) > 3:
        labels.append((y(dense * (1 + budget)), f"budget +{budget:.0%}", "quiet"))
    for value, kind in ((dense, "dense"), (dense * (1 + budget), "budget")):
        parts.append(
            f'<line class="{kind}" x1="{LEFT}" x2="{edge}" y1="{y(value):.1f}" y2="{y(value):.1f}"/>'
        )
    for place, (name, points) in enumerate(series.items()):
        colour = f"s{place % COLOURS}"
        line = sorted((mark for mark in points if mark.line), key=lambda mark: mark.sparsity)
        if line:
            path = " ".join(f"{x(mark.sparsity):.1f},{y(mark.perplexity):.1f}" for mark in line)
            start = f"{x(0):.1f},{y(dense):.1f}"
            parts.append(f'<polyline class="line {colour}" points="{start} {path}"/>')
        parts += [_mark(mark, x(mark.sparsity), y, high, colour) for mark in points]
        last = max(points, key=lambda mark: mark.sparsity, default=None)
        if last is not None:
            labels.append((y(last.perplexity), name, colour))
    parts += [
        f'<text class="name {colour}" x="{edge + 10}" y="{at + 4:.1f}">{escape(name)}</text>'
        for at, name, colour in _apart(labels)
    ]
    return _svg("".join(parts), WIDTH, HEIGHT, "Perplexity against the share of weights pruned, by method")


def _mark(mark: Mark, at: float, y: object, high: float, colour: str) -> str:
    height = y(mark.perplexity)  # type: ignore[operator]
    shape = (
        f'<circle class="dot {colour}" cx="{at:.1f}" cy="{height:.1f}" r="4"/>'
        if mark.line
        else f'<rect class="dot {colour}" x="{at - 4:.1f}" y="{height - 4:.1f}" width="8" height="8" '
        f'transform="rotate(45 {at:.1f} {height:.1f})"/>'
    )
    if mark.perplexity > high:
        shape = f'<path class="dot {colour}" d="M{at - 5:.1f} {height + 8:.1f}h10l-5 -8z"/>'
    whisker = ""
    if mark.low is not None and mark.high is not None and mark.perplexity <= high:
        whisker = (
            f'<line class="whisker {colour}" x1="{at:.1f}" x2="{at:.1f}" '
            f'y1="{y(mark.low):.1f}" y2="{y(mark.high):.1f}"/>'  # type: ignore[operator]
        )
    return f"<g><title>{escape(mark.label)}</title>{whisker}{shape}</g>"


def heat_map(cells: Mapping[tuple[int, str], float], highest: float, name: str) -> str:
    """A value for every block (across) and kind of layer (down), from white to dark.

    Args:
        highest: the value of the darkest cell, so that several maps can be compared.
    """
    kinds = list(dict.fromkeys(kind for _, kind in cells))
    blocks = sorted({block for block, _ in cells})
    left, side = 150, max(6.0, min(22.0, 590 / max(1, len(blocks))))
    every = max(1, math.ceil(26 / side))
    parts = []
    for row, kind in enumerate(kinds):
        parts.append(
            f'<text class="tick" x="{left - 8}" y="{row * 22 + 15}" text-anchor="end">{escape(kind)}</text>'
        )
        for column, block in enumerate(blocks):
            value = cells.get((block, kind))
            if value is not None:
                share = min(1.0, value / highest) if highest > 0 else 0.0
                parts.append(
                    f'<rect class="cell" x="{left + column * side:.1f}" y="{row * 22}" width="{side - 1:.1f}" '
                    f'height="21" fill-opacity="{share:.3f}"><title>block {block}, {escape(kind)}: {value:.1%}'
                    "</title></rect>"
                )
    bottom = len(kinds) * 22
    parts += [
        f'<text class="tick" x="{left + (column + 0.5) * side:.1f}" y="{bottom + 14}" text-anchor="middle">'
        f"{block}</text>"
        for column, block in enumerate(blocks)
        if column % every == 0
    ]
    width = max(left + 60, round(left + len(blocks) * side + 16))
    return _svg("".join(parts), width, bottom + 20, name)


def heat_scale(highest: float) -> str:
    """What the colours of heat maps mean."""
    steps = "".join(
        f'<rect class="cell" x="{34 + step * 14}" y="2" width="14" height="10" fill-opacity="{step / 9:.2f}"/>'
        for step in range(10)
    )
    ends = f'<text class="tick" x="4" y="12">0%</text><text class="tick" x="182" y="12">{highest:.0%}</text>'
    return _svg(steps + ends, 240, 16, f"Colours from 0% to {highest:.0%}")


def number(value: float) -> str:
    """Four digits, without an exponent where one can do without."""
    if not math.isfinite(value):
        return "∞"
    if value >= 1e9:
        return f"{value:.2g}"
    if value >= 1e6:
        return f"{value / 1e6:.3g} million"
    return f"{value:,.0f}" if value >= 1000 else f"{value:.4g}"


def _top(mark: Mark) -> float:
    return mark.high if mark.high is not None and math.isfinite(mark.high) else mark.perplexity


def _svg(content: str, width: int, height: int, name: str) -> str:
    return (
        f'<svg viewBox="0 0 {width} {height}" width="{width}" height="{height}" role="img" '
        f'aria-label="{escape(name)}">{content}</svg>'
    )


def _log_ticks(low: float, high: float) -> list[float]:
    """1, 2, 5, 10, ... within the range, as many as are readable."""
    whole = [
        step * 10.0**power
        for power in range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
        for step in (1, 2, 5)
    ]
    inside = [value for value in whole if low <= value <= high]
    if len(inside) > 9:
        inside = [value for value in inside if f"{value:e}".startswith("1")]
    if len(inside) < 3:
        first, last = math.log(low), math.log(high)
        inside = [float(f"{math.exp(first + (last - first) * i / 4):.2g}") for i in range(5)]
        inside = [value for value in inside if low <= value <= high]
    return inside


def _apart(labels: list[tuple[float, str, str]]) -> Iterator[tuple[float, str, str]]:
    """Labels from top to bottom, moved down where they would cover each other."""
    last = -math.inf
    for at, name, colour in sorted(labels):
        last = max(at, last + 15)
        yield last, name, colour
