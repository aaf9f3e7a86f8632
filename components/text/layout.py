"""What does it write now? One prompt, the dense model and its prunings side by side."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import gradio as gr

from components.display.names import name, offered
from components.jobs import run_button
from components.page import api
from components.page.link_settings import number, one_of, some_of, truth, whole
from components.page.view import Page, View
from components.recipe.request import named_focus
from components.text.job import GALLERY, NEW_TOKENS, PROMPT_CHARACTERS, Write, check, recorded_texts
from components.text.report import show
from components.workspace.defaults import POCKET, RECORDED_MODEL, is_recorded
from wanda_core.method.methods import METHODS

PROMPT = "Why is the sky blue? Explain it to a child."
"""That of the recorded texts."""
STORY = "Long ago, in a dark forest, there lived a fox who"
"""For pocket, which knows nothing but stories."""
PROMPT_FOR = f"""(source, prompt) => {{
    const usual = [{json.dumps(PROMPT)}, {json.dumps(STORY)}];
    return usual.includes(prompt) ? usual[Number(source === {json.dumps(POCKET)})] : prompt;
}}"""
"""The usual prompt of the model that is chosen; a visitor's own is left."""


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
            methods = [(name(method), method) for method in offered(METHODS)]
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
            make_job=check,
            update=lambda texts, values: [show(texts), True],
        )
        page.compare_with_another(self.form["beside"])
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

        # In the browser: an answer of the server would come after the visitor has begun to type.
        page.panel["source"].change(
            None, [page.panel["source"], self.form["prompt"]], self.form["prompt"], js=PROMPT_FOR, queue=False
        )

        async def generate(
            prompt: str,
            source: str = page.sources[0],
            method: str = "wanda",
            amount: str = "50",
            beside: list[str] = [],  # noqa: B006 - a default that the API documents; it is not changed
            new_tokens: int = 60,
            temperature: float = 0.0,
            top_p: float = 1.0,
            text_seed: int = 0,
            pack: bool = False,
            calibration: str = "",
            own_text: str = "",
            samples: int = 4,
            length: int = 256,
        ) -> dict[str, Any]:
            """Continue a prompt with the dense model and its prunings, side by side.

            Args:
                prompt: the text to continue.
                source: a model on offer, or a Hub id.
                method: of the pruning, such as wanda or magnitude.
                amount: per cent, such as 50, or a pattern, such as 2:4.
                beside: further methods at the same amount.
                new_tokens: at most this many.
                temperature: 0 takes the likeliest token.
                top_p: share of the probability that is sampled from.
                text_seed: of the sampling.
                pack: compute with packed weights.
                calibration: stories, pydoc, wikitext2, c4 or own; empty: the model's own.
                own_text: the text for own.
                samples: calibration windows.
                length: tokens of a window.

            Returns:
                protocol, and columns with the texts and what was measured of them.
            """

            def job() -> Write:
                values = api.panel_values(
                    source, calibration=calibration, own_text=own_text, samples=samples, length=length
                )
                return check(
                    {
                        "focus": named_focus(f"{method}-{amount}", values, page.sources),
                        "beside": beside,
                        "prompt": prompt,
                        "new_tokens": new_tokens,
                        "temperature": temperature,
                        "top_p": top_p,
                        "text_seed": text_seed,
                        "pack": pack,
                    }
                )

            texts = await api.outcome_of(page.worker, job)
            return api.plain({"protocol": texts.protocol, "columns": texts.columns})

        gr.api(generate, api_name="generate", concurrency_limit=None)
