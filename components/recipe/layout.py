"""The recipe, on the left and always in sight: model, texts, methods, how much, Run and Stop."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

import gradio as gr

from components.display.names import HINTS, NAMES, name
from components.display.status_line import ready
from components.limits import LIMITS
from components.page.link_settings import Setting, one_of, some_of, whole
from components.recipe.request import PATTERNS
from components.workspace.setup import TEXTS
from wanda_core.method.methods import METHODS
from wanda_core.method.recipe import SCHEDULES
from wanda_core.models.hub_id import is_hub_id


def panel_settings(inputs: Sequence[gr.components.Component]) -> list[Setting]:
    """Those of the recipe panel; its own text is left out."""
    (
        source,
        calibration,
        evaluation,
        _,
        methods,
        percent,
        pattern,
        samples,
        length,
        windows,
        schedule,
        seed,
    ) = inputs

    def model(words: str) -> str:
        if words == "pocket" or is_hub_id(words):
            return words
        raise ValueError

    texts = [key for key in TEXTS if key != "own"]
    return [
        Setting("model", source, model),
        Setting("calibration", calibration, one_of(texts)),
        Setting("evaluation", evaluation, one_of(texts)),
        Setting("methods", methods, some_of(list(METHODS))),
        Setting("sparsity", percent, whole(0, 95)),
        Setting("pattern", pattern, one_of(PATTERNS)),
        Setting("samples", samples, whole(1, 10**6)),
        Setting("length", length, whole(2, 10**6)),
        Setting("windows", windows, whole(1, 10**6)),
        Setting("schedule", schedule, one_of(SCHEDULES)),
        Setting("seed", seed, whole(0, 2**31 - 1)),
    ]


HUB_MODELS = (
    "HuggingFaceTB/SmolLM2-135M",
    "HuggingFaceTB/SmolLM2-360M",
    "Qwen/Qwen3-0.6B",
    "facebook/opt-125m",
)


@dataclass
class RecipePanel:
    """The inputs, in the order of `job.check_panel` with the source first, and what goes with them."""

    inputs: list[gr.components.Component]
    run: gr.Button
    stop: gr.Button
    status_line: gr.HTML


def build(sources: Sequence[str]) -> RecipePanel:
    """Lay the panel out.

    Args:
        sources: models offered beside those of the Hub; the first is the default.
    """
    source = gr.Dropdown(
        [*sources, *HUB_MODELS],
        value=sources[0],
        label="1 · Model",
        info="pocket is built in and tiny. For a model of the Hub type owner/name.",
        allow_custom_value=True,
        elem_id="model",
    )
    texts = [(label, key) for key, label in TEXTS.items()]
    with gr.Row():
        calibration = gr.Dropdown(
            texts, value="stories", label="2 · Calibration text", min_width=260, elem_id="calibration"
        )
        evaluation = gr.Dropdown(
            texts, value="stories", label="Evaluation text", min_width=260, elem_id="evaluation"
        )
    gr.HTML(
        '<p class="hint">Calibration shows which inputs of each layer matter. The pruned model is then tested on the '
        "evaluation text.</p>"
    )
    own_text = gr.Textbox(
        label="My own text",
        info=f"Plain text, a few pages at least; forgotten after {LIMITS.result_seconds / 3600:.0f} h.",
        lines=4,
        max_lines=8,
        max_length=LIMITS.text_characters,
        visible=False,
        elem_id="own-text",
    )
    offered = [method for method in METHODS if method in NAMES or "+" not in method]
    methods = gr.CheckboxGroup(
        [(name(method), method) for method in offered],
        value=["magnitude", "wanda"],
        label="3 · Methods",
        elem_id="methods",
    )
    hints = "".join(f"<dt>{escape(name(m))}</dt><dd>{escape(HINTS[m])}</dd>" for m in offered if m in HINTS)
    gr.HTML(
        f"<details class='hint'><summary>What do they do?</summary><dl class='methods'>{hints}</dl></details>"
    )
    pattern = gr.Radio(
        list(PATTERNS),
        value="unstructured",
        label="Pattern",
        info="2:4 keeps 2 of every 4 neighbours: what some GPUs can speed up.",
        elem_id="pattern",
    )
    percent = gr.Slider(
        0,
        95,
        value=70,
        step=1,
        label="Sparsity (%)",
        info="Share of the weights to remove.",
        elem_id="sparsity",
    )
    with gr.Accordion("More settings", open=False):
        samples = gr.Number(16, label="Calibration windows", precision=0)
        length = gr.Number(256, label="Tokens per window", precision=0)
        windows = gr.Number(32, label="Evaluation windows", precision=0)
        schedule = gr.Radio(
            list(SCHEDULES),
            value="layer",
            label="Statistics from",
            info="layer: the model as pruned so far. block: the paper's order, twice the work. "
            "dense: the model untouched.",
        )
        seed = gr.Number(0, label="Seed", precision=0)
    with gr.Column(elem_id="buttons", min_width=200):
        with gr.Row():
            run = gr.Button("Run", variant="primary", min_width=100, elem_id="run")
            stop = gr.Button("Stop", interactive=False, min_width=100, elem_id="stop")
        status_line = gr.HTML(ready("Ready. The default run takes a few seconds."), elem_id="status")

    def show_own(*chosen: str) -> dict:
        return gr.update(visible="own" in chosen)

    for text in (calibration, evaluation):
        text.change(show_own, [calibration, evaluation], own_text, queue=False, api_visibility="private")
    pattern.change(
        lambda chosen: gr.update(interactive=chosen == "unstructured"),
        pattern,
        percent,
        queue=False,
        api_visibility="private",
    )
    inputs = [
        source,
        calibration,
        evaluation,
        own_text,
        methods,
        percent,
        pattern,
        samples,
        length,
        windows,
        schedule,
        seed,
    ]
    return RecipePanel(inputs, run, stop, status_line)
