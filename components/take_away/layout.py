"""The pruned model to take away."""

from __future__ import annotations

from collections.abc import Sequence

import gradio as gr

from components.page.view import Page, View


class TakeAway(View):
    """The pruned model to take away."""

    key = "take_away"
    title = "Take away"

    def build(self, sources: Sequence[str]) -> None:
        gr.HTML("")

    def connect(self, page: Page, tab: gr.Tab) -> None:
        pass
