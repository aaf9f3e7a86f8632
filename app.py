"""Wanda Lab: see what pruning does to a language model, then decide. `python app.py [MODEL ...]`"""

from __future__ import annotations

import argparse
import os

# Before gradio is imported: nothing is asked of other machines unless a visitor asks for a model or text of the Hub.
os.environ.setdefault("GRADIO_ANALYTICS_ENABLED", "False")
if os.environ.get("SPACE_ID"):  # a token of the Space's owner opens nothing to strangers
    os.environ["HF_HUB_DISABLE_IMPLICIT_TOKEN"] = "1"

import gradio as gr
from gradio.themes.utils.fonts import LocalFont

from components.assets import ASSETS
from components.inside import layout as inside
from components.jobs.queue import Worker
from components.jobs.run_button import leave_by, on_click
from components.learn import layout as learn
from components.limits import LIMITS
from components.page import links
from components.page.request_limit import RequestLimit
from components.recipe import layout as recipe
from components.recipe.request import check_panel
from components.results import layout as results
from components.results.job import Measure
from components.speed import layout as speed
from components.sweep import layout as sweep
from components.text import layout as text
from components.workspace.models import warm_up

FONT = [LocalFont("Source Sans Pro", weights=(400, 700)), "ui-sans-serif", "system-ui", "sans-serif"]
"""The theme's own, but for the file of its bold letters, which lacks most of them."""
THEME = gr.themes.Default(primary_hue="blue", font=FONT).set(
    button_primary_background_fill="*primary_700",
    button_primary_background_fill_hover="*primary_600",
    button_primary_background_fill_dark="*primary_700",
    button_primary_background_fill_hover_dark="*primary_600",
    body_text_color_subdued="*neutral_600",
    body_text_color_subdued_dark="*neutral_300",
    block_info_text_color="*neutral_600",
    block_info_text_color_dark="*neutral_300",
)
"""White on the theme's usual blue, and its grey on white, are too faint to read easily."""
INTRODUCTION = """
# Wanda Lab
How much can be pruned out of this language model, and what does it cost?
Pruning sets weights to zero. Choose how, press **Run**, and compare.
"""


def build(sources: list[str]) -> gr.Blocks:
    """The page.

    Args:
        sources: models on offer beside those of the Hub.
    """
    worker = Worker()
    with gr.Blocks(title="Wanda Lab", fill_width=True, analytics_enabled=False) as demo:
        gr.Markdown(INTRODUCTION, elem_id="introduction")
        notice = gr.HTML(visible=False, elem_id="notice")
        with gr.Row(elem_id="columns"):
            with gr.Column(scale=2, min_width=300, elem_id="recipe"):
                panel = recipe.build(sources)
            with gr.Column(scale=5, min_width=320, elem_id="views"), gr.Tabs(elem_id="tabs") as tabs:
                with gr.Tab("Results", id="results"):
                    view = results.build()
                with gr.Tab("How far?", id="far"):
                    far_view = sweep.build()
                with gr.Tab("Inside", id="inside") as inside_tab:
                    inside_view = inside.build()
                with gr.Tab("Text", id="text"):
                    text_view = text.build()
                with gr.Tab("Speed and export", id="speed"):
                    speed_view = speed.build()
        on_click(
            worker,
            run=panel.run,
            stop=panel.stop,
            status_line=panel.status_line,
            inputs=panel.inputs,
            outputs=view.all(),
            make_job=lambda source, *values: Measure(*check_panel(source, sources, *values)),
            update=results.update,
            api_name="run",
        )
        sweep.connect(worker, far_view, panel.inputs, sources)
        inside.connect(worker, inside_view, panel, sources, inside_tab)
        text.connect(worker, text_view, panel.inputs, sources)
        speed.connect(worker, speed_view, panel.inputs, sources)
        links.connect(
            demo,
            tabs,
            notice,
            [
                *recipe.panel_settings(panel.inputs),
                *sweep.far_settings(far_view.inputs),
                *text.text_settings(text_view.inputs),
            ],
            sources,
        )
        demo.unload(leave_by(worker))
    with demo.route("Learn", "/learn"):
        learn.build()
    return demo.queue(max_size=4 * LIMITS.waiting)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "models", nargs="*", metavar="MODEL", help="folders or .gguf files to offer beside `pocket`"
    )
    parser.add_argument("--port", type=int)
    options = parser.parse_args()
    demo = build(["pocket", *options.models])
    demo.launch(
        server_port=options.port,
        prevent_thread_lock=True,
        theme=THEME,
        css_paths=ASSETS / "style.css",
        footer_links=["api"],
        ssr_mode=False,
        max_file_size=LIMITS.request_bytes,
        app_kwargs={"middleware": [RequestLimit.sized(LIMITS.request_bytes)]},
    )
    warm_up()
    demo.block_thread()


if __name__ == "__main__":
    main()
