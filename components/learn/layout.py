"""Learn: the lesson, one page that computes in the visitor's browser. The server only hands it out."""

from __future__ import annotations

import gradio as gr

from components.assets import ASSETS
from components.learn.report import figures

SCRIPTS = (
    "arithmetic", "examples", "stage", "lines", "charts", "real", "steps", "worksheet", "model", "panel", "lesson",
)  # fmt: skip
"""In `assets/learn`; joined they are one script, as they use one another's functions."""


def build() -> None:
    """Lay the page out."""
    files = ASSETS / "learn"
    script = "\n".join((files / f"{name}.js").read_text(encoding="utf-8") for name in SCRIPTS)
    style = (files / "learn.css").read_text(encoding="utf-8")
    gr.HTML(
        html_template=f"<style>{style}</style><div></div>",
        js_on_load=f"{script}\nmount(element.querySelector('div'), props.figures);",
        apply_default_css=False,
        elem_id="learn",
        figures=figures(),
    )
