"""Learn: pruning by hand on a small matrix, one idea at a time, each ending on figures of a real model."""

from __future__ import annotations

from html import escape

import gradio as gr

from components.display.status_line import ready
from components.learn.arithmetic import COLUMNS, INPUTS, MATRIX, ROWS, TOKENS
from components.learn.report import recompute

GLOSSARY = {
    "calibration": "text whose inputs to each layer show what matters there",
    "block, layer": "a decoder block; a linear layer in it: a matrix W, a row for each output, a column for each input",
    "score": "how important a weight is; low goes first",
    "comparison group": "the weights that compete: an output row, the whole layer or an input column",
    "pattern": "unstructured, or N:M: exactly N kept of every M neighbours in a row",
    "sparsity": "the share of weights that are zero",
    "mask": "which weights are kept",
    "update": "what happens to the weights that stay: nothing, or a correction",
    "allocation": "how much each layer gives",
    "schedule": "which model the statistics come from: the dense one, or the one pruned so far",
    "recipe": "all of these choices together",
    "perplexity": "between how many equally likely words the model wavers on average; lower is better",
}


def build(page: gr.Blocks) -> None:
    """Lay the page out; the steps are computed when it is opened, because they take torch, which starts later."""
    gr.Markdown(
        "# Pruning by hand\nEdit any number: everything below is computed again, by the functions that prune real "
        "models. Each step ends on figures measured on SmolLM2-135M-Instruct."
    )
    headers = [f"in {j}" for j in range(COLUMNS)]
    common = {"headers": headers, "datatype": "number", "type": "array", "interactive": True}
    shape = {"column_count": COLUMNS, "buttons": []}
    weight = gr.Dataframe(
        [list(row) for row in MATRIX],
        label="Weights W: one row for each output, one column for each input",
        row_count=ROWS,
        elem_id="lesson-weight",
        **common,
        **shape,
    )
    inputs = gr.Dataframe(
        [list(row) for row in INPUTS],
        label="Three tokens X: what comes in",
        row_count=TOKENS,
        elem_id="lesson-inputs",
        **common,
        **shape,
    )
    percent = gr.Slider(0, 100, value=50, step=1, label="Sparsity (%)", elem_id="lesson-sparsity")
    text = gr.HTML(ready("Computing…"), elem_id="lesson")
    again = gr.Button("Start over", elem_id="lesson-reset")
    words = "".join(
        f"<dt>{escape(word)}</dt><dd>{escape(meaning)}</dd>" for word, meaning in GLOSSARY.items()
    )
    gr.HTML(f'<h2>Words</h2><dl class="methods glossary">{words}</dl>')
    given = [weight, inputs, percent]
    page.load(recompute, given, text, show_progress="hidden", api_visibility="private")
    for control in given:
        control.change(
            recompute,
            given,
            text,
            show_progress="hidden",
            trigger_mode="always_last",
            concurrency_limit=4,
            api_name="lesson" if control is percent else None,
        )
    again.click(lambda: [[list(row) for row in MATRIX], [list(row) for row in INPUTS], 50], None, given)
