"""The chart of calibration sensitivity."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import plotly.graph_objects as go

from components.display.chart_style import styled
from components.display.names import is_reference, point


def sensitivity_figure(rows: Sequence[Mapping[str, Any]]) -> go.Figure:
    """Perplexity against the number of calibration windows, one line for each point and text; the marker is the mean
    over seeds, the bar their range.

    Args:
        rows: of `tables.COLUMNS` and `tables.SWEPT`.
    """
    figure = styled(go.Figure(), height=340)
    lines: dict[str, dict[int, list[float]]] = {}
    texts = {row["calibration"] for row in rows if row["calibration"]}
    for row in rows:
        if not is_reference(row) and row["perplexity"] is not None and row["samples"]:
            text = f", {row['calibration']}" if len(texts) > 1 else ""
            windows = lines.setdefault(point(row) + text, {})
            windows.setdefault(row["samples"], []).append(row["perplexity"])
    for key, windows in lines.items():
        counts = sorted(windows)
        means = [sum(windows[n]) / len(windows[n]) for n in counts]
        figure.add_scatter(
            x=counts,
            y=means,
            error_y={
                "type": "data",
                "symmetric": False,
                "array": [max(windows[n]) - mean for n, mean in zip(counts, means, strict=True)],
                "arrayminus": [mean - min(windows[n]) for n, mean in zip(counts, means, strict=True)],
                "thickness": 1.2,
            },
            mode="lines+markers",
            name=key,
            hovertemplate=f"{key}, %{{x}} windows: perplexity %{{y:.5g}}<extra></extra>",
        )
    counts = sorted({n for windows in lines.values() for n in windows})
    figure.update_xaxes(type="log", title="calibration windows", tickvals=counts)
    figure.update_yaxes(title="perplexity: mean and range over seeds")
    return figure
