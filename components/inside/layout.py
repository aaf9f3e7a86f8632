"""Which weights were pruned, and why?"""

from __future__ import annotations

from collections.abc import Sequence

import gradio as gr

from components.page.view import Page, View


class Inside(View):
    """Which weights were pruned, and why?"""

    key = "inside"
    title = "Inside"

    def build(self, sources: Sequence[str]) -> None:
        gr.HTML("")

    def connect(self, page: Page, tab: gr.Tab) -> None:
        pass
