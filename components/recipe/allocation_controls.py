"""How sparsity is distributed over layers: the choice, and what it needs beside it."""

from __future__ import annotations

from typing import Any

import gradio as gr

from components.page.form import Form
from components.page.link_settings import number, one_of
from components.recipe.request import check_amounts, tightest_amount
from components.workspace.defaults import DEFAULTS
from components.workspace.model_facts import blocks_of
from wanda_core.errors import Refused
from wanda_core.method.allocations import beta_range, most_beta

ALLOCATIONS = {
    "uniform": "the same in every layer",
    "owl": "OWL: less where inputs have outliers",
    "linear": "linear: later blocks more",
    "sensitivity": "sensitivity: by a scan of the blocks",
    "table": "by block, from the table",
}
MOST_BETA = 0.1
"""End of the slider where the number of blocks is not known yet."""
STEP = 0.001
MEANS = "Each block is pruned by so much more than the one before"
QUIET: dict[str, Any] = {"queue": False, "api_visibility": "private", "show_progress": "hidden"}


def build(form: Form) -> None:
    """Lay the controls out; those of model and amounts must be there."""
    form.add(
        "allocation",
        gr.Dropdown(
            [(text, word) for word, text in ALLOCATIONS.items()],
            value=DEFAULTS["allocation"],
            label="Sparsity of the layers",
            elem_id="allocation",
        ),
        one_of(tuple(ALLOCATIONS)),
    )
    beta = form.add(
        "beta",
        gr.Slider(
            STEP,
            MOST_BETA,
            value=DEFAULTS["beta"],
            step=STEP,
            label="BETA",
            visible=False,
            elem_id="beta",
        ),
        number(0, 1),
    )
    ratios = form.add(
        "ratios",
        gr.Dataframe(
            [[str(block), "50"] for block in range(4)],
            headers=["block", "% pruned"],
            type="array",
            datatype="str",
            interactive=True,
            visible=False,
            label="Ratios by block",
            elem_id="ratios",
        ),
    )

    def follow(chosen: object, *asked: object) -> list[Any]:
        shown = chosen == "linear"
        return [
            gr.update(visible=shown, **(_range(*asked) if shown else {})),
            gr.update(visible=chosen == "table"),
        ]

    followed = [form[name] for name in ("allocation", "source", "revision", "amounts", "other_amounts")]
    gr.on([each.change for each in followed], follow, followed, [beta, ratios], **QUIET)


def _range(source: object, revision: object, chips: object, other: object) -> dict[str, Any]:
    """End of the slider and a line on it, for the model and the amounts that are asked for."""
    revision = revision if isinstance(revision, str) and revision else None
    blocks = blocks_of(source, revision) if isinstance(source, str) else None
    try:
        tightest = tightest_amount(check_amounts(chips, other))
    except Refused:
        tightest = None
    if blocks is None or tightest is None:
        return {"maximum": MOST_BETA, "info": f"{MEANS}."}
    most = max(STEP, STEP * int(most_beta(tightest, blocks) / STEP + 1e-9))
    return {"maximum": most, "info": f"{MEANS}: {beta_range(tightest, blocks)}."}
