"""Colours, fonts and grids that all charts share."""

from __future__ import annotations

import plotly.graph_objects as go
from gradio.components.plot import PlotData

COLOURS = {
    "dense": "#7a7f87",
    "magnitude": "#d55e00",
    "wanda": "#0072b2",
    "sparsegpt": "#009e73",
    "ria": "#cc79a7",
    "wanda+admm": "#56b4e9",
    "random": "#b38f00",
}


OTHER = "#8c6bb1"


GRID = "rgba(128,128,128,0.25)"


def new_figure(height: int) -> go.Figure:
    return styled(go.Figure(), height)


def styled(figure: go.Figure, height: int) -> go.Figure:
    """Transparent, so that the page's light or dark shows through; the style sheet colours the text."""
    figure.update_layout(
        height=height,
        margin={"l": 10, "r": 16, "t": 36, "b": 10},
        paper_bgcolor="rgba(0,0,0,0)",
        plot_bgcolor="rgba(0,0,0,0)",
        font={"size": 13, "color": "#7a7f87"},
        legend={"orientation": "h", "y": 1.0, "yanchor": "bottom", "x": 0},
        hoverlabel={"namelength": -1},
    )
    axes = {"gridcolor": GRID, "zeroline": False, "automargin": True, "title_font_size": 13}
    figure.update_xaxes(axes)
    figure.update_yaxes(axes)
    return figure


def drawn(figure: go.Figure, file: str) -> PlotData:
    """With a button that saves the picture always in sight.

    Args:
        file: name of the download, without its ending.
    """
    figure.update_layout(
        modebar={"bgcolor": "rgba(0,0,0,0)", "color": "#7a7f87", "activecolor": COLOURS["wanda"]}
    )
    config = (
        '{"displayModeBar":true,"displaylogo":false,"modeBarButtons":[["toImage"]],'
        f'"toImageButtonOptions":{{"filename":"{file}","scale":2}}}}'
    )
    return PlotData(type="plotly", plot=f'{figure.to_json()[:-1]},"config":{config}}}')


def colour_of(method: str) -> str:
    return COLOURS.get(method, OTHER)
