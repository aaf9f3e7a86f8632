"""The panel, on the left and always in sight: model, how much, methods, text, and Run with what it will take."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path

import gradio as gr

from components.display.names import HINTS, name, offered
from components.jobs import run_button
from components.jobs.run_button import RunButton
from components.limits import LIMITS
from components.page.form import Form
from components.page.link_settings import hub_id, matching, number_list, one_of, some_of, truth, whole
from components.recipe import allocation_controls, order_control
from components.recipe.amounts import CHIPS
from components.uploads import KINDS
from components.workspace.defaults import DEFAULTS, default_source, default_text, source_labels
from components.workspace.setup import TEXTS
from wanda_core.method.bits import TYPES
from wanda_core.method.methods import METHODS

HUB_MODELS = (
    "HuggingFaceTB/SmolLM2-135M-Instruct",
    "HuggingFaceTB/SmolLM2-360M",
    "Qwen/Qwen3-0.6B",
    "facebook/opt-125m",
)
SCHEDULES = {
    "layer": "the model pruned so far (recommended)",
    "block": "whole blocks, as in the paper: twice the work",
    "dense": "the dense model",
}
GROUPS = {
    "own": "each method's own",
    "output": "an output row",
    "layer": "the whole layer",
    "input": "an input column",
}
RECOVERIES = {
    "none": "none",
    "blocks": "block by block: kept weights trained",
    "model": "the whole model: kept weights fine-tuned",
}


@dataclass
class Panel:
    """The controls of the panel by name, and its Run."""

    form: Form
    run: RunButton
    model_note: gr.HTML
    estimate: gr.HTML
    """What a run will take."""


def build(sources: Sequence[str]) -> Panel:
    """Lay the panel out.

    Args:
        sources: models offered beside those of the Hub; the first is chosen.
    """
    form = Form()
    with gr.Column(elem_id="panel-controls"):
        _model(form, sources)
        model_note = gr.HTML("", elem_id="model-note")
        _amounts(form)
        _methods(form)
        _text(form, default_text(default_source(sources)))
        _advanced(form)
    with gr.Column(elem_id="run-bar"):
        estimate = gr.HTML("", elem_id="estimate")
        run = run_button.lay_out("cost", "Run", "Ready.", run_id="run", status_id="status")
    return Panel(form, run, model_note, estimate)


def _model(form: Form, sources: Sequence[str]) -> None:
    labels = source_labels()
    offered = [(labels.get(source, Path(source).name), source) for source in sources]
    hub = [(model, model) for model in HUB_MODELS if model not in sources]
    form.add(
        "source",
        gr.Dropdown(
            [*offered, *hub],
            value=default_source(sources),
            label="Model (or type owner/name of one of the Hub)",
            allow_custom_value=True,
            elem_id="model",
        ),
        lambda words: words if words in labels else hub_id(words),
    )


def _amounts(form: Form) -> None:
    form.add(
        "amounts",
        gr.CheckboxGroup(
            [(chip if ":" in chip else f"{chip}%", chip) for chip in CHIPS],
            value=list(DEFAULTS["amounts"]),
            label="How much to prune",
            elem_id="amounts",
            elem_classes="chips",
        ),
        some_of(CHIPS),
    )
    form.add(
        "other_amounts",
        gr.Textbox(
            DEFAULTS["other_amounts"],
            placeholder="other, such as 55, 1:4, 6:8",
            label="Other amounts",
            show_label=False,
            container=False,
            max_lines=1,
            elem_id="other-amounts",
        ),
        matching(r"[\d.%:;, ]{1,200}"),
    )


def _methods(form: Form) -> None:
    shown = offered(METHODS)
    form.add(
        "methods",
        gr.CheckboxGroup(
            [(name(method), method) for method in shown],
            value=list(DEFAULTS["methods"]),
            label="Methods",
            elem_id="methods",
            elem_classes="chips",
        ),
        some_of(list(METHODS)),
    )
    hints = "".join(f"<dt>{escape(name(m))}</dt><dd>{escape(HINTS[m])}</dd>" for m in shown if m in HINTS)
    gr.HTML(
        f"<details class='hint'><summary>What do they do?</summary><dl class='methods'>{hints}</dl></details>"
    )


def _text(form: Form, text: str) -> None:
    choices = [(label, key) for key, label in TEXTS.items()]
    links = [key for key in TEXTS if key not in ("own", "file")]
    with gr.Accordion(f"Text: {TEXTS[text]}", open=False, elem_id="text-fold") as fold:
        form.add(
            "calibration",
            gr.Dropdown(
                choices,
                value=text,
                label="Calibration text",
                info="Shows which inputs of each layer matter.",
                elem_id="calibration",
            ),
            one_of(links),
        )
        form.add(
            "evaluation",
            gr.Dropdown(
                choices,
                value=text,
                label="Evaluation text",
                info="What perplexity is measured on; never the tokens of the calibration.",
                elem_id="evaluation",
            ),
            one_of(links),
        )
        form.add(
            "own_text",
            gr.Textbox(
                label="My own text",
                info=f"Plain text, a few pages at least; forgotten after {LIMITS.result_seconds / 3600:.0f} h.",
                lines=4,
                max_lines=8,
                max_length=LIMITS.text_characters,
                visible=False,
                elem_id="own-text",
            ),
        )
        form.add(
            "text_file",
            gr.File(
                label=f"A file: {', '.join(KINDS)}",
                file_types=list(KINDS),
                type="filepath",
                height=110,
                visible=False,
                elem_id="text-file",
            ),
        )
        with gr.Row(visible=False, elem_id="dataset-row") as dataset_row:
            form.add(
                "dataset",
                gr.Textbox(
                    "",
                    label="Data set of the Hub",
                    placeholder="owner/name",
                    max_lines=1,
                    min_width=160,
                    elem_id="dataset",
                ),
                hub_id,
            )
            form.add(
                "split",
                gr.Textbox(
                    "", label="Split", placeholder="train", max_lines=1, min_width=80, elem_id="split"
                ),
                matching(r"[\w.-]{1,100}"),
            )
            form.add(
                "column",
                gr.Textbox(
                    "", label="Column", placeholder="text", max_lines=1, min_width=80, elem_id="column"
                ),
                matching(r"[\w. -]{1,100}"),
            )
        form.add(
            "chat",
            gr.Checkbox(
                DEFAULTS["chat"],
                label="Calibrate through the model's chat template",
                info="Conversations of a .jsonl with `messages`; other text is put into turns.",
                elem_id="chat",
            ),
            truth,
        )

    def show(calibration: str, evaluation: str) -> list[object]:
        chosen = {calibration, evaluation}
        said = TEXTS.get(calibration, calibration)
        if evaluation != calibration:
            said += f", measured on {TEXTS.get(evaluation, evaluation)}"
        return [
            gr.Accordion(label=f"Text: {said}"),
            gr.update(visible="own" in chosen),
            gr.update(visible="file" in chosen),
            gr.update(visible="dataset" in chosen),
        ]

    def follow_model(source: str, calibration: str, evaluation: str) -> list[object]:
        """A model's own built-in text, unless the visitor chose another."""
        own = default_text(source)
        builtin = ("stories", "pydoc")
        return [own if text in builtin else gr.skip() for text in (calibration, evaluation)]

    texts = [form["calibration"], form["evaluation"]]
    gr.on(
        [text.change for text in texts],
        show,
        texts,
        [fold, form["own_text"], form["text_file"], dataset_row],
        queue=False,
        api_visibility="private",
        show_progress="hidden",
    )
    form["source"].input(
        follow_model,
        [form["source"], *texts],
        texts,
        queue=False,
        api_visibility="private",
        show_progress="hidden",
    )


def _advanced(form: Form) -> None:
    with gr.Accordion("Advanced", open=False, elem_id="advanced"):
        with gr.Row():
            for key, label, most in (
                ("samples", "Calibration windows", 10**6),
                ("length", "Tokens per window", 10**6),
                ("windows", "Evaluation windows", 10**6),
            ):
                form.add(
                    key,
                    gr.Number(DEFAULTS[key], label=label, precision=0, min_width=90, elem_id=key),
                    whole(1, most),
                )
        form.add(
            "seeds",
            gr.Textbox(
                DEFAULTS["seeds"],
                label="Seeds",
                info="Of the calibration windows; several, such as 0, 1, 2, give a mean and a range.",
                max_lines=1,
                elem_id="seeds",
            ),
            number_list,
        )
        for key, label, choices in (
            ("schedule", "Activations from", SCHEDULES),
            ("group", "Weights compete within", GROUPS),
            ("recovery", "Recovery", RECOVERIES),
        ):
            form.add(
                key,
                gr.Dropdown(
                    [(text, word) for word, text in choices.items()],
                    value=DEFAULTS[key],
                    label=label,
                    info="It gains most on text like the calibration." if key == "recovery" else None,
                    elem_id=key,
                ),
                one_of(tuple(choices)),
            )
        with gr.Row():
            form.add(
                "dtype",
                gr.Dropdown(
                    ["auto", "float32", "bfloat16", "float16"],
                    value=DEFAULTS["dtype"],
                    label="dtype",
                    min_width=90,
                    elem_id="dtype",
                ),
                one_of(("float32", "bfloat16", "float16")),
            )
            form.add(
                "revision",
                gr.Textbox(
                    DEFAULTS["revision"],
                    label="Revision",
                    placeholder="main",
                    max_lines=1,
                    min_width=90,
                    elem_id="revision",
                ),
                matching(r"[\w./-]{1,100}"),
            )
        form.add(
            "bits",
            gr.CheckboxGroup(
                [(f"{bits} bits", str(bits)) for bits in TYPES],
                value=list(DEFAULTS["bits"]),
                label="Rounded to",
                info="Kept weights, after pruning, as GGUF's Q8_0 and Q4_0 do; the dense model, too.",
                elem_id="bits",
                elem_classes="chips",
            ),
            some_of([str(bits) for bits in TYPES]),
        )
        order_control.build(form)
        allocation_controls.build(form)
