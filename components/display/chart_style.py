"""Colours, fonts, grids, names and saved pictures that all charts share."""

from __future__ import annotations

import json
import math

import gradio as gr
import plotly.graph_objects as go
import plotly.io as pio
from gradio.components.plot import PlotData

from components.display.names import method_of

COLOURS = {
    "dense": "#7a7f87",
    "magnitude": "#d55e00",
    "wanda": "#0072b2",
    "sparsegpt": "#009e73",
    "ria": "#cc79a7",
    "admm": "#9467bd",
    "wanda+admm": "#56b4e9",
    "random": "#b38f00",
}
"""Of methods, and of nothing else. Okabe and Ito's, which colour-blind people can tell apart."""
OTHER = "#8c6bb1"
"""Of methods without a colour of their own."""
GRID = "rgba(128,128,128,0.25)"
INK = "#7a7f87"
"""Lines and marks that belong to no method."""

SAVED = {"width": 1000, "font": "#222222"}
"""Of saved pictures: pixels across, and what text is written in on their white ground."""

pio.templates.default = None
"""A template is checked anew for every figure, longer than drawing takes; the look is set in `styled`."""

SCRIPT = """
const save = async (plot) => {
  const meta = plot.layout.meta ?? {};
  const layout = JSON.parse(JSON.stringify(plot.layout));
  const height = (plot.clientHeight || 400) + 70;
  Object.assign(layout, {paper_bgcolor: "#fff", plot_bgcolor: "#fff", autosize: false, width: SAVED.width, height,
    font: {...layout.font, color: SAVED.font},
    title: {text: meta.title, x: 0.01, xanchor: "left", y: 0.98, yanchor: "top", font: {size: 17, color: SAVED.font}},
    margin: {...layout.margin, t: (layout.margin?.t ?? 36) + 46}});
  layout.annotations = [...(layout.annotations ?? []), {text: meta.source ?? "", showarrow: false, xref: "paper",
    yref: "paper", x: 0, xanchor: "left", y: 1, yanchor: "bottom", yshift: layout.margin.t - 66,
    font: {size: 12, color: SAVED.font}}];
  const url = await window.Plotly.toImage(
    {data: plot.data, layout}, {format: "png", width: SAVED.width, height, scale: 2});
  const link = document.createElement("a");
  link.href = url;
  link.download = (plot._context.toImageButtonOptions?.filename ?? "wanda-lab") + ".png";
  link.click();
};
setInterval(() => {
  for (const plot of document.querySelectorAll(".js-plotly-plot")) {
    const picture = plot.querySelector("svg.main-svg");
    if (!picture || !plot.layout) continue;
    const name = plot.layout.meta?.name ?? plot.layout.meta?.title;
    if (name && picture.getAttribute("aria-label") !== name) {
      picture.setAttribute("role", "img");
      picture.setAttribute("aria-label", name);
    }
    if (plot.dataset.saves) continue;
    plot.dataset.saves = "1";
    // In place of Plotly's own, whose picture has neither title nor ground.
    plot.addEventListener("click", (event) => {
      if (!event.target.closest?.("[data-title='Save the picture']")) return;
      event.stopPropagation();
      event.preventDefault();
      save(plot);
    }, true);
  }
}, 300);
"""
"""Names every chart for those who cannot see it, and saves pictures that can be shown elsewhere."""


def build() -> None:
    """What all charts of a page need once."""
    gr.HTML("", visible="hidden", js_on_load=SCRIPT.replace("SAVED", json.dumps(SAVED)), elem_id="charts")


def new_figure(height: int) -> go.Figure:
    return styled(go.Figure(), height)


def styled(figure: go.Figure, height: int) -> go.Figure:
    """Transparent, so that the page's light or dark shows through; the style sheet colours the text. The legend lies
    below, clear of the toolbar."""
    figure.update_layout(
        height=height,
        margin={"l": 10, "r": 16, "t": 36, "b": 10},
        paper_bgcolor="rgba(0,0,0,0)",
        plot_bgcolor="rgba(0,0,0,0)",
        font={"size": 13, "color": INK},
        legend={"orientation": "h", "y": -0.2, "yanchor": "top", "x": 0, "font": {"size": 12}},
        hoverlabel={
            "namelength": -1,
            "bgcolor": "#1f2937",
            "bordercolor": "#1f2937",
            "font": {"color": "#ffffff", "size": 13},
            "align": "left",
        },
    )
    axes = {"gridcolor": GRID, "zeroline": False, "automargin": True, "title_font_size": 13}
    figure.update_xaxes(axes)
    figure.update_yaxes(axes)
    return figure


def drawn(
    figure: go.Figure, file: str, title: str = "", source: str = "", name: str = "", movable: bool = False
) -> PlotData:
    """With a button that saves the picture always in sight.

    Args:
        file: name of the download, without its ending.
        title: written on the saved picture.
        source: below the title: what was measured, and how.
        name: what a screen reader says; the title where there is none.
        movable: the figure's shapes can be dragged.
    """
    figure.update_layout(
        modebar={"bgcolor": "rgba(0,0,0,0)", "color": INK, "activecolor": COLOURS["wanda"]},
        meta={"title": title, "source": source, "name": name or title or file},
    )
    config = {
        "displayModeBar": True,
        "displaylogo": False,
        "modeBarButtons": [["toImage"]],
        "toImageButtonOptions": {"filename": file, "scale": 2},
        "locale": "en",
        "locales": {"en": {"dictionary": {"Download plot as a PNG": "Save the picture"}}},
        "edits": {"shapePosition": movable},
    }
    return PlotData(type="plotly", plot=f'{figure.to_json()[:-1]},"config":{json.dumps(config)}}}')


def colour_of(method: str) -> str:
    """Of a method, its kept weights trained or not."""
    return COLOURS.get(method_of(method), OTHER)


def log_axis(low: float, high: float) -> dict[str, object]:
    """A logarithmic axis from `low` to `high` with at least three ticks at round numbers."""
    if high / low < 8:  # less than a decade: as on a linear axis
        rough = (high - low) / 6
        power = 10 ** math.floor(math.log10(rough))
        step = next(each * power for each in (1, 2, 5, 10) if each * power >= rough)
        ticks = [step * number for number in range(math.ceil(low / step), math.floor(high / step) + 1)]
    else:
        steps = (1, 2, 5) if high / low < 300 else (1, 3) if high / low < 3e4 else (1,)
        powers = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
        ticks = [step * 10.0**power for power in powers for step in steps]
    ticks = [tick for tick in ticks if low <= tick <= high]
    return {
        "type": "log",
        "range": [math.log10(low), math.log10(high)],
        "tickvals": ticks,
        "ticktext": [f"{tick:,.3g}" if tick < 1000 else f"{tick:,.0f}" for tick in ticks],
    }
