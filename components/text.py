"""The Text view: what does it write now? One prompt, the dense model and its prunings side by side."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from typing import Any

import gradio as gr

from components import follow, questions, status
from components.engine import ZERO_GPU
from components.job import broken, check_beside, whole
from components.settings import ASSETS
from components.words import number, threads
from components.worker import Worker
from components.writing import Texts, Write
from wanda_core.errors import Refused

GALLERY = {"third": "30% removed", "half": "Half removed", "two-four": "2:4"}
"""Recorded texts, all on one prompt, by magnitude, Wanda and SparseGPT."""
PROMPT_CHARACTERS = 4_000
NEW_TOKENS = 500
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
    questions: questions.QuestionsSection


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
        status.ready("Ready." if ZERO_GPU else "Ready. Prunings that Run has made are used again."),
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
        section = questions.build()
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
    follow.on_click(
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
    questions.connect(worker, view.questions, panel_inputs, sources)


def check(
    sources: Sequence[str],
    prompt: object,
    new_tokens: object,
    temperature: object,
    top_p: object,
    seed: object,
    pack: object,
    *panel: object,
) -> Write:
    """What the view asks for, from what the page sends.

    Raises:
        Refused: something is missing, of the wrong kind or over a limit; says what to change.
    """
    from wanda_core.generation import Sampling

    if not isinstance(prompt, str) or not prompt.strip():
        raise Refused("the prompt is empty: type a few words")
    if len(prompt) > PROMPT_CHARACTERS:
        raise Refused(
            f"the prompt has {len(prompt):,} characters, {PROMPT_CHARACTERS:,} are allowed: shorten it"
        )
    if broken(prompt):
        raise Refused("the prompt holds half a character, as after a cut through an emoji: type it again")
    sampling = Sampling(
        whole("New tokens", new_tokens, 1, NEW_TOKENS),
        temperature,
        top_p,
        whole("Seed of the text", seed, 0, 2**31 - 1),
    )
    if not isinstance(pack, bool):
        raise Refused("Packed weights are either on or off")
    setup, recipes = check_beside(sources, *panel)
    return Write(
        setup,
        recipes,
        prompt,
        sampling.new_tokens,
        float(sampling.temperature),
        float(sampling.top_p),
        sampling.seed,
        pack,
    )


def recorded_texts(name: str) -> Texts:
    """The texts of one name in `GALLERY`, which fill the view before anything was written here."""
    return Texts(**json.loads((ASSETS / "recorded" / f"texts-{name}.json").read_text(encoding="utf-8")))


def show(texts: Texts, recorded: bool = False) -> str:
    """Label, columns, what the figures mean, and how the texts were written."""
    protocol = texts.protocol
    return (
        _label(protocol, recorded)
        + f'<p class="prompt"><b>Prompt</b> {escape(protocol["prompt"])}</p>'
        + '<div class="writings">'
        + "".join(_column(column) for column in texts.columns)
        + "</div>"
        + EXPLANATION
        + _protocol(protocol)
    )


EXPLANATION = """
<dl class="hint meanings">
<dt>≠ departs</dt><dd>The first token that is not the dense text's; what comes after it is underlined.</dd>
<dt>Repetition</dt><dd>Share of all runs of 4 tokens that were there before in the same text.</dd>
<dt>Surprise</dt><dd>Perplexity of the text under the dense model: between how many equally likely tokens it would have
wavered. The dense model's own text is the measure. Far higher: it would hardly have written this. A text that repeats
itself can be low, too: it is easy to foresee.</dd>
<dt>Speed</dt><dd>Tokens a second of the text's own steps, without reading the prompt; the texts take turns. Zeros are
multiplied like any number: a pruned model is no faster unless its weights are packed.</dd>
</dl>
"""


def _label(protocol: dict[str, Any], recorded: bool) -> str:
    model = escape(str(protocol["source"]))
    if not recorded:
        return f'<p class="label">Written here, now, by <b>{model}</b></p>'
    return (
        f'<p class="label recorded"><b>Recorded texts</b> of {model}, written on {escape(protocol["date"])} on '
        f"{escape(protocol['device'])}, {threads(protocol['threads'])}. Press Write for texts from this machine.</p>"
    )


def _column(column: dict[str, Any]) -> str:
    text, shared = column["text"], column["shared"]
    if shared is None:
        body = escape(text)
    else:
        body = (
            f"{escape(text[:shared])}"
            '<b class="fork" title="The first token that is not the dense text\'s">≠</b>'
            f'<span class="departed">{escape(text[shared:])}</span>'
        )
    if not column["finished"]:
        body += '<span class="cursor" aria-hidden="true">▍</span>'
    return (
        f'<section class="writing"><h3>{escape(column["name"])}</h3><p class="text" dir="auto">{body}</p>'
        f"<dl>{_figures(column)}</dl></section>"
    )


def _figures(column: dict[str, Any]) -> str:
    length = f"{column['tokens']} tokens"
    if column["finished"]:
        length += ", ended by itself" if column["ended"] else ", cut off"
    figures = {"Length": length}
    if column["name"] != "Dense":
        departs = column["departs"]
        if departs is not None:
            figures["≠ departs"] = f"at token {departs + 1}"
        else:
            figures["≠ departs"] = "nowhere" if column["finished"] else "not yet"
    if column["repetition"] is not None:
        figures["Repetition"] = f"{column['repetition']:.0%}"
    if column["perplexity"] is not None:
        figures["Surprise"] = number(column["perplexity"])
    if column["tokens_per_second"] is not None:
        figures["Speed"] = f"{number(column['tokens_per_second'])} tokens/s"
    if column["packed"] is not None:
        figures["Packed"] = column["packed"]
    return "".join(f"<dt>{term}</dt><dd>{escape(value)}</dd>" for term, value in figures.items())


def _protocol(protocol: dict[str, Any]) -> str:
    choice = (
        f"temperature {protocol['temperature']:g}, top-p {protocol['top_p']:g}, seed {protocol['text_seed']}"
        if protocol["temperature"]
        else "always the likeliest token (greedy)"
    )
    template = "through the model's chat template" if protocol["chat_template"] else "as it stands"
    return (
        f'<div class="protocol"><p>At most {protocol["new_tokens"]} new tokens, {choice}. The prompt went in '
        f"{template}, {protocol['prompt_tokens']} tokens. Pruned after {protocol['samples']} windows of "
        f"{protocol['length']} tokens of {escape(protocol['calibration'])}. {escape(protocol['device'])}, "
        f"{protocol['dtype']}, {threads(protocol['threads'])}, torch {escape(protocol['torch'])}, "
        f"transformers {escape(protocol['transformers'])}.</p></div>"
    )
