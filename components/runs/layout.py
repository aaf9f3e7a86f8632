"""Runs: what this browser has measured."""

from __future__ import annotations

import gradio as gr


def build(page: gr.Blocks) -> None:
    """Lay the page out."""
    gr.HTML("")
