"""The order of channels: its control, shown beside an N:M pattern, which alone it matters to."""

from __future__ import annotations

import gradio as gr

from components.page.form import Form
from components.page.link_settings import one_of
from components.recipe.allocation_controls import QUIET
from components.recipe.request import check_amounts
from components.workspace.defaults import DEFAULTS
from wanda_core.errors import Refused

ORDERS = {
    "none": "as they are",
    "channels": "one under which N:M keeps more",
}


def build(form: Form) -> None:
    """Lay the control out; those of the amounts must be there."""
    order = form.add(
        "order",
        gr.Dropdown(
            [(text, word) for word, text in ORDERS.items()],
            value=DEFAULTS["order"],
            label="Order of channels",
            info="Found from the calibration text, and folded into the weights: an ordinary model.",
            visible=False,
            elem_id="order",
        ),
        one_of(tuple(ORDERS)),
    )

    def follow(*asked: object) -> object:
        return gr.update(visible=True) if has_pattern(*asked) else gr.update(visible=False, value="none")

    amounts = [form["amounts"], form["other_amounts"]]
    gr.on([each.change for each in amounts], follow, amounts, order, **QUIET)


def has_pattern(chips: object, other: object) -> bool:
    """Whether an N:M pattern is among the amounts."""
    try:
        return any(amount.sparsity is None for amount in check_amounts(chips, other))
    except Refused:
        return False
