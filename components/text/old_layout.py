"""The Text view: what does it write now? One prompt, the dense model and its prunings side by side."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import gradio as gr

from components.display.status_line import ready
from components.jobs.queue import Worker
from components.jobs.run_button import on_click
from components.jobs.runner import ZERO_GPU
from components.page.link_settings import Setting, number, one_of, whole
from components.text.job import GALLERY, NEW_TOKENS, PROMPT_CHARACTERS, check, recorded_texts
from components.text.report import show
from components.zero_shot import layout as zero_shot
from components.zero_shot.layout import QuestionsSection


def text_settings(inputs: Sequence[gr.components.Component]) -> list[Setting]:
    """Those of the Text view; the prompt is left out."""
    _, new_tokens, temperature, top_p, seed, pack = inputs
    return [
        Setting("tokens", new_tokens, whole(1, 10**4)),
        Setting("temperature", temperature, number(0, 10)),
        Setting("top-p", top_p, number(0, 1)),
        Setting("text-seed", seed, whole(0, 2**31 - 1)),
        Setting("packed", pack, lambda words: one_of(("true", "false"))(words) == "true"),
    ]


PROMPT = "Long ago, in a dark forest, there lived a fox who"


@dataclass
class TextView:
    """The components of the view; `inputs` in the order of `check`, before those of the recipe panel."""

    inputs: list[gr.components.Component]
    write: gr.Button
    stop: gr.Button
    status_line: gr.HTML
    texts: gr.HTML
    gallery: gr.Dropdown
    questions: QuestionsSection


def build() -> TextView:
    """Lay the view out, filled with the recorded texts."""
    gr.HTML(
        '<p class="hint">The dense model and the methods chosen in the recipe (up to three) continue the same prompt, '
        "at the same time and with the same random numbers. Chat models get it as a message, through their own "
        "template.</p>"
    )
    prompt = gr.Textbox(
        PROMPT, label="Prompt", lines=2, max_lines=8, max_length=PROMPT_CHARACTERS, elem_id="prompt"
    )
    with gr.Row():
        new_tokens = gr.Number(60, label="New tokens", info=f"1 to {NEW_TOKENS}", precision=0, min_width=120)
        temperature = gr.Number(
            0, label="Temperature", info="0: always the likeliest", step=0.1, min_width=120
        )
        top_p = gr.Number(1, label="Top-p", info="above 0, at most 1", step=0.05, min_width=120)
        seed = gr.Number(
            0, label="Seed of the text", info="for a temperature above 0", precision=0, min_width=120
        )
    pack = gr.Checkbox(
        False,
        label="Packed weights: faster",
        info="Without the zeros. 2:4 on any CPU, and on newer GPUs in half precision; other patterns where the "
        "processor has AVX-512. The same sums up to rounding.",
        elem_id="pack",
    )
    with gr.Row():
        write = gr.Button("Write", variant="primary", min_width=100, elem_id="write")
        stop = gr.Button("Stop", interactive=False, min_width=100, elem_id="stop-writing")
    status_line = gr.HTML(
        ready("Ready." if ZERO_GPU else "Ready. Prunings that Run has made are used again."),
        elem_id="text-status",
    )
    gallery = gr.Dropdown(
        [(label, name) for name, label in GALLERY.items()],
        value="half",
        label="Recorded texts",
        elem_id="text-gallery",
    )
    texts = gr.HTML(show(recorded_texts("half"), recorded=True), elem_id="texts")
    with gr.Accordion("Zero-shot questions", open=False, elem_id="zero-shot"):
        section = zero_shot.build()
    return TextView(
        [prompt, new_tokens, temperature, top_p, seed, pack],
        write,
        stop,
        status_line,
        texts,
        gallery,
        section,
    )


def connect(
    worker: Worker, view: TextView, panel_inputs: Sequence[gr.components.Component], sources: Sequence[str]
) -> None:
    """Let Write and Stop work, and the questions' buttons.

    Args:
        sources: models offered beside those of the Hub.
    """
    on_click(
        worker,
        run=view.write,
        stop=view.stop,
        status_line=view.status_line,
        inputs=[*view.inputs, *panel_inputs],
        outputs=[view.texts],
        make_job=lambda *values: check(sources, *values),
        update=lambda texts: [show(texts)],
        api_name="write",
    )

    def choose(name: object) -> Any:
        known = isinstance(name, str) and name in GALLERY
        return show(recorded_texts(name), recorded=True) if known else gr.skip()

    view.gallery.input(choose, view.gallery, view.texts, queue=False, api_visibility="private")
    zero_shot.connect(worker, view.questions, panel_inputs, sources)
