"""What does it write now?"""

from __future__ import annotations

from collections.abc import Sequence

import gradio as gr

from components.page.view import Page, View


class Text(View):
    """What does it write now?"""

    key = "text"
    title = "Text"

    def build(self, sources: Sequence[str]) -> None:
        gr.HTML("")

    def connect(self, page: Page, tab: gr.Tab) -> None:
        pass
