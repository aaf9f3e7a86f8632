"""What does it write now? One prompt, the dense model and its prunings side by side."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import gradio as gr

from components.display.names import NAMES, name
from components.jobs import run_button
from components.page.link_settings import number, one_of, some_of, truth, whole
from components.page.view import Page, View
from components.text.job import GALLERY, NEW_TOKENS, PROMPT_CHARACTERS, check, recorded_texts
from components.text.report import show
from components.workspace.defaults import POCKET, RECORDED_MODEL, is_recorded
from wanda_core.method.methods import METHODS

PROMPT = "Why is the sky blue? Explain it to a child."
"""That of the recorded texts."""
STORY = "Long ago, in a dark forest, there lived a fox who"
"""For pocket, which knows nothing but stories."""


class Text(View):
    """The texts of the dense model, of the point in focus and of the methods beside it."""

    key = "text"
    title = "Text"

    def build(self, sources: Sequence[str]) -> None:
        gr.HTML(
            '<p class="hint">The dense model, the point in focus and the methods beside it continue the same prompt, '
            "with the same random numbers. Chat models get it as a message, through their own template.</p>"
        )
        story = sources[0] == POCKET
        self.form.add(
            "prompt",
            gr.Textbox(
                STORY if story else PROMPT,
                label="Prompt",
                lines=2,
                max_lines=8,
                max_length=PROMPT_CHARACTERS,
                elem_id="prompt",
            ),
        )
        with gr.Row():
            methods = [(name(method), method) for method in METHODS if method in NAMES]
            self.form.add(
                "beside",
                gr.CheckboxGroup(
                    methods,
                    value=["magnitude"],
                    label="Beside the point in focus, at the same amount (up to two)",
                    min_width=260,
                    elem_id="beside",
                    elem_classes="chips",
                ),
                some_of(list(METHODS)),
            )
        with gr.Accordion("Sampling", open=False, elem_id="sampling"), gr.Row():
            self.form.add(
                "new_tokens",
                gr.Number(60, label="New tokens", info=f"1 to {NEW_TOKENS}", precision=0, min_width=120),
                whole(1, NEW_TOKENS),
            )
            self.form.add(
                "temperature",
                gr.Number(0, label="Temperature", info="0: always the likeliest", step=0.1, min_width=120),
                number(0, 10),
            )
            self.form.add(
                "top_p",
                gr.Number(1, label="Top-p", info="above 0, at most 1", step=0.05, min_width=120),
                number(0, 1),
            )
            self.form.add(
                "text_seed",
                gr.Number(
                    0, label="Seed of the text", info="for a temperature above 0", precision=0, min_width=120
                ),
                whole(0, 2**31 - 1),
            )
            self.form.add(
                "pack",
                gr.Checkbox(
                    False,
                    label="Packed weights",
                    info="Without the zeros: faster where there is a kernel for them.",
                    min_width=200,
                    elem_id="pack",
                ),
                truth,
            )
        self.button = run_button.lay_out(
            self.key,
            "Write",
            "Ready. Reuses models already pruned by Run.",
            run_id="write",
            status_id="text-status",
        )
        self.texts = gr.HTML(elem_id="texts")
        self.gallery = self.form.add(
            "texts",
            gr.Radio(
                [(label, name) for name, label in GALLERY.items()],
                value=None,
                label=f"Recorded texts of {RECORDED_MODEL}",
                elem_id="text-gallery",
            ),
            one_of(tuple(GALLERY)),
        )
        self.filled = gr.State(False)

    def connect(self, page: Page, tab: gr.Tab) -> None:
        page.on_run(
            self.button,
            form=self.form,
            outputs=[self.texts, self.filled],
            make_job=lambda values: check(values, page.sources),
            update=lambda texts, values: [show(texts), True],
        )
        hidden: dict[str, Any] = {"queue": False, "api_visibility": "private", "show_progress": "hidden"}

        def choose(name: object) -> Any:
            known = isinstance(name, str) and name in GALLERY
            return show(recorded_texts(name), recorded=True) if known else gr.skip()  # type: ignore[arg-type]

        self.gallery.change(choose, self.gallery, self.texts, **hidden)

        def fill(filled: bool, source: object, chosen: object) -> Any:
            """The recorded texts, where nothing was written yet and they are of the model that is selected."""
            if filled or chosen:
                return gr.skip()
            if is_recorded(source):
                return show(recorded_texts("half"), recorded=True)
            return '<p class="label">Nothing was written by this model yet: press Write.</p>'

        tab.select(fill, [self.filled, page.panel["source"], self.gallery], self.texts, **hidden)

        def prompt_for(source: object, prompt: object) -> Any:
            if prompt not in (PROMPT, STORY):
                return gr.skip()
            return STORY if source == POCKET else PROMPT

        page.panel["source"].change(
            prompt_for, [page.panel["source"], self.form["prompt"]], self.form["prompt"], **hidden
        )
