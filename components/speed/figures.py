"""The figures of the Speed and export view, from plain rows of `timing.COLUMNS`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import plotly.graph_objects as go
from plotly.subplots import make_subplots

from components.display.chart_style import COLOURS, OTHER, styled

KERNELS = {
    "dense": "dense",
    "masked dense": "zeros stored as zeros",
    "dense numba": "dense, our own kernel",
    "2:4 numba": "2:4 packed",
    "bitmask numba": "50% packed (bitmask)",
    "2:4 cusparselt": "2:4, cuSPARSELt",
    "2:4 cutlass": "2:4, CUTLASS",
    "2:4": "2:4 packed",
    "50%": "50% packed (bitmask)",
}
"""What kernels are called on the page."""


_COLOURS = {
    "dense": COLOURS["dense"],
    "masked dense": "#b0a8b9",
    "dense numba": "#5b5565",
    "2:4": "#5e3c99",
    "2:4 numba": "#5e3c99",
    "2:4 cusparselt": "#5e3c99",
    "2:4 cutlass": "#8073ac",
    "50%": "#8c6d31",
    "bitmask numba": "#8c6d31",
}
"""Ways to store weights: none has the colour of a method."""
GRAPH = ", graph"
"""At the end of a kernel's name: its calls were replayed as one CUDA graph."""


def kernel_name(kernel: str) -> str:
    """What a row's kernel is called on the page."""
    base = kernel.removesuffix(GRAPH)
    return KERNELS.get(base, base) + ", as a CUDA graph" * (base != kernel)


def model_figure(rows: Sequence[Mapping[str, Any]]) -> go.Figure:
    """Tokens per second of the whole model, decode above prefill; a mark where fewer bytes alone would put it."""
    parts = [part for part in ("decode", "prefill") if any(row["part"] == part for row in rows)]
    if not parts:
        return styled(go.Figure(), height=120)
    titles = {"decode": "Writing, token after token", "prefill": "Reading a prompt at once"}
    figure = make_subplots(
        rows=len(parts), subplot_titles=[titles[part] for part in parts], vertical_spacing=0.22
    )
    styled(figure, height=90 + 190 * len(parts))
    for place, part in enumerate(parts, 1):
        shown = [row for row in rows if row["part"] == part][::-1]
        names = [kernel_name(row["kernel"]) for row in shown]
        speeds = [row["tokens_per_second"] for row in shown]
        quartiles = [(1000 * row["tokens"] / row["high"], 1000 * row["tokens"] / row["low"]) for row in shown]
        figure.add_bar(
            x=speeds,
            y=names,
            orientation="h",
            width=0.6,
            marker_color=[_COLOURS.get(row["kernel"], OTHER) for row in shown],
            text=[f"{row['tokens_per_second']:.3g} ({row['times_dense']:.2f} ×)" for row in shown],
            textposition="auto",
            insidetextanchor="start",
            error_x={
                "type": "data",
                "symmetric": False,
                "array": [high - speed for (_, high), speed in zip(quartiles, speeds, strict=True)],
                "arrayminus": [speed - low for (low, _), speed in zip(quartiles, speeds, strict=True)],
                "thickness": 1.2,
                "color": "#7a7f87",
            },
            hovertemplate="%{y}: %{x:.4g} tokens per second<extra></extra>",
            showlegend=False,
            row=place,
            col=1,
        )
        bounded = [row for row in shown if part == "decode" and row["bound"] > 1]
        dense = shown[-1]["tokens_per_second"]
        figure.add_scatter(
            x=[dense * row["bound"] for row in bounded],
            y=[kernel_name(row["kernel"]) for row in bounded],
            mode="markers",
            marker={"symbol": "line-ns-open", "size": 18, "color": "#d55e00", "line_width": 2},
            name="what reading fewer bytes alone would give",
            hovertemplate="fewer bytes alone: %{x:.4g} tokens per second<extra></extra>",
            showlegend=part == "decode",
            row=place,
            col=1,
        )
        figure.update_xaxes(rangemode="tozero", nticks=6, row=place, col=1)
    figure.update_xaxes(title="tokens per second", row=len(parts), col=1)
    figure.update_layout(legend={"y": -0.2, "yanchor": "top"})
    return figure


def shapes_figure(rows: Sequence[Mapping[str, Any]]) -> go.Figure:
    """For every shape of a layer and number of tokens: how many times as fast as torch's dense product."""
    measured = [row for row in rows if row["part"] == "layer" and row["times_dense"] is not None]
    counts = sorted({row["tokens"] for row in measured})
    if not counts:
        return styled(go.Figure(), height=120)
    titles = [f"{count} token{'s' * (count > 1)} at once" for count in counts]
    figure = make_subplots(rows=len(counts), subplot_titles=titles, vertical_spacing=0.3 / len(counts))
    styled(figure, height=70 + 200 * len(counts))
    shown = set()
    for place, count in enumerate(counts, 1):
        for kernel in dict.fromkeys(
            row["kernel"] for row in measured if row["kernel"].removesuffix(GRAPH) != "dense"
        ):
            own = [row for row in measured if row["tokens"] == count and row["kernel"] == kernel]
            figure.add_bar(
                x=[row["shape"] for row in own],
                y=[row["times_dense"] for row in own],
                name=kernel_name(kernel),
                marker={
                    "color": _COLOURS.get(kernel.removesuffix(GRAPH), OTHER),
                    "pattern_shape": "/" if kernel.endswith(GRAPH) else "",
                },
                customdata=[[row["milliseconds"], row["low"], row["high"]] for row in own],
                hovertemplate="%{x}: %{y:.2f} × dense, %{customdata[0]:.3g} ms (%{customdata[1]:.3g} to "
                "%{customdata[2]:.3g})<extra>" + kernel_name(kernel) + "</extra>",
                legendgroup=kernel,
                showlegend=bool(own) and kernel not in shown,
                row=place,
                col=1,
            )
            shown |= {kernel} if own else set()
        shapes = list(dict.fromkeys(row["shape"] for row in measured))
        figure.add_scatter(
            x=shapes,
            y=[1] * len(shapes),
            mode="lines",
            line={"dash": "dot", "color": COLOURS["dense"]},
            name="dense: below is slower",
            legendgroup="dense",
            showlegend=place == 1,
            hoverinfo="skip",
            row=place,
            col=1,
        )
    figure.update_yaxes(title="× dense", rangemode="tozero", nticks=5)
    figure.update_layout(legend={"y": -0.08, "yanchor": "top"}, bargap=0.25)
    return figure
