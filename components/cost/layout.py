"""What does pruning cost?"""

from __future__ import annotations

from collections.abc import Sequence

import gradio as gr

from components.page.view import Page, View


class Cost(View):
    """What does pruning cost?"""

    key = "cost"
    title = "Cost"

    def build(self, sources: Sequence[str]) -> None:
        gr.HTML("")

    def connect(self, page: Page, tab: gr.Tab) -> None:
        pass
