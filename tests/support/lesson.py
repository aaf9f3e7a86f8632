"""The lesson as a visitor meets it in a browser."""

from __future__ import annotations

from typing import Any

import numpy as np
from playwright.sync_api import Browser, Page


class Lesson:
    """The lesson, open in a window of its own."""

    def __init__(
        self, chromium: Browser, address: str, step: int | str = 1, query: str = "", **context: Any
    ) -> None:
        size = context.pop("size", (1280, 720))
        self.context = chromium.new_context(viewport={"width": size[0], "height": size[1]}, **context)
        self.page: Page = self.context.new_page()
        self.faults: list[str] = []
        self.page.on("pageerror", lambda error: self.faults.append(str(error)))
        self.page.goto(f"{address}/learn{query}#step={step}")
        self.page.wait_for_selector(".lesson h1")

    def go(self, step: int) -> None:
        self.page.evaluate(f"location.hash = 'step={step}'")
        self.page.wait_for_function(
            f"document.querySelector('.lesson h1').textContent.startsWith('{step}. ')"
        )

    def cell(self, kind: str, row: int, column: int) -> Any:
        return self.page.locator(
            f'.lesson .cell[data-kind="{kind}"][data-row="{row}"][data-column="{column}"]'
        )

    def control(self, name: str) -> Any:
        return self.page.locator(f'[data-control="{name}"] :is(select, input, button, a)')

    def numbers(self, kind: str) -> np.ndarray:
        """What the fields of X or W hold, float32 (3, 8)."""
        texts = self.page.eval_on_selector_all(
            f'input[data-kind="{kind}"]', "all => all.map(input => input.value)"
        )
        return np.array([float(text.replace("−", "-")) for text in texts], np.float32).reshape(3, 8)

    def mask(self, kind: str) -> np.ndarray:
        """What is drawn as kept, bool (3, 8)."""
        script = "all => all.map(cell => !cell.classList.contains('pruned'))"
        return np.array(self.page.eval_on_selector_all(f'button[data-kind="{kind}"]', script)).reshape(3, 8)

    def errors(self) -> list[str]:
        return self.page.locator(".lesson .caption output:visible").all_inner_texts()

    def done(self) -> list[int]:
        return [int(text) for text in self.page.locator(".steps-nav a.done").all_inner_texts()]

    @property
    def after(self) -> str:
        return self.page.inner_text(".lesson .after")
