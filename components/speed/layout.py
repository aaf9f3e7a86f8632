"""Is it faster?"""

from __future__ import annotations

from collections.abc import Sequence

import gradio as gr

from components.page.view import Page, View


class Speed(View):
    """Is it faster?"""

    key = "speed"
    title = "Speed"

    def build(self, sources: Sequence[str]) -> None:
        gr.HTML("")

    def connect(self, page: Page, tab: gr.Tab) -> None:
        pass
