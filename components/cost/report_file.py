"""The report of what is shown: one HTML file that opens anywhere, prints, and says how to repeat it."""

from __future__ import annotations

import hashlib
import shlex
from collections.abc import Mapping
from types import SimpleNamespace
from typing import Any, cast

from components.cost.files import own_file, plain_name
from components.cost.outcome import Outcome
from wanda_core.atomic_write import write_whole
from wanda_core.errors import Refused
from wanda_core.method.methods import METHODS

FILES = {"own": "your-text.txt", "file": "your-text.txt"}
"""Texts of the page that the command line knows as files."""


def report_file(outcome: Outcome, percent: float, more: Mapping[str, Any]) -> str:
    """Write it where the server may hand it out.

    Args:
        percent: the budget, above the dense model's perplexity.
        more: further arguments of `report_html`: texts, speed, sizes.

    Raises:
        Refused: nothing is measured yet.
    """
    from wanda_core.experiments.report import point_name, report_html

    if outcome.dense is None or len(outcome.rows) < 2:
        raise Refused("there is nothing to report yet: press Run")
    layers = {
        point_name(outcome.rows[index]): [SimpleNamespace(**report) for report in reports]
        for index, reports in outcome.layers.items()
    }
    text = report_html(
        outcome.protocol,
        outcome.rows,
        layers=cast("Any", layers),
        command=command(outcome),
        budget=percent / 100,
        **more,
    )
    # Named by its content: another visitor's has other texts.
    digest = hashlib.sha256(text.encode()).hexdigest()[:8]
    file = own_file(outcome, f"wanda-lab-{plain_name(outcome)}-{digest}.html")
    write_whole(file, text)
    return str(file)


def command(outcome: Outcome) -> str | None:
    """The command line that measures the same; of several seeds, the first. None for a saved file, whose texts are not
    known here."""
    asked = outcome.asked
    if asked is None:
        return None
    setup = asked.setup
    recipes = [point.recipe for point in asked.points if point.recipe]
    free = [recipe for recipe in recipes if recipe.pattern == "unstructured"]
    patterns = dict.fromkeys(recipe.pattern for recipe in recipes if recipe.pattern != "unstructured")
    bits = dict.fromkeys(recipe.bits for recipe in recipes)
    groups = list({recipe.group for recipe in free if recipe.group != METHODS[recipe.method].group})
    said = {
        "--methods": ",".join(dict.fromkeys(recipe.method for recipe in recipes)),
        "--sparsities": ",".join(dict.fromkeys(f"{recipe.sparsity:g}" for recipe in free)),
        "--patterns": ",".join(patterns),
        "--group": groups[0] if len(groups) == 1 else "",
        "--allocation": next((recipe.allocation for recipe in free if recipe.allocation != "uniform"), ""),
        "--schedule": recipes[0].schedule if recipes else "",
        "--recover": next((r.recovery for r in recipes if r.recovery != "none"), ""),
        "--bits": ",".join(map(str, bits)) if bits != {16: None} else "",
        "--calibration": _text(setup.calibration, setup.dataset_spec),
        "--evaluation": _text(setup.evaluation, setup.dataset_spec),
        "--samples": setup.samples,
        "--length": setup.length,
        "--windows": setup.windows,
        "--eval-length": setup.eval_length,
        "--seed": recipes[0].seed if recipes else setup.seed,
        "--revision": setup.revision or "",
        "--dtype": setup.dtype if setup.dtype != "auto" else "",
        "--report": "report.html",
    }
    words = [f"{name} {shlex.quote(str(value))}" for name, value in said.items() if value != ""]
    words += ["--order"] * any(recipe.order != "none" for recipe in recipes)
    words += ["--chat"] * setup.chat
    return f"wanda-lab compare {shlex.quote(setup.source)} {' '.join(words)}"


def _text(name: str, dataset: str) -> str:
    return dataset if name == "dataset" else FILES.get(name, name)
