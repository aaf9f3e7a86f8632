"""What things are called on the page, and one plain sentence on each."""

from __future__ import annotations

from collections.abc import Iterable

from wanda_core.method.bits import NAMES as BITS
from wanda_core.method.recipe import ORDERS, RECOVERIES, name_suffix

NAMES = {
    "dense": "Dense",
    "int8": "Dense in int8",
    "magnitude": "Magnitude",
    "wanda": "Wanda",
    "ria": "RIA",
    "random": "Random",
    "sparsegpt": "SparseGPT",
    "admm": "ADMM",
    "wanda+admm": "Wanda + ADMM",
}

HINTS = {
    "magnitude": "drops the smallest weights",
    "wanda": "drops weights with the smallest size x input strength",
    "ria": "like Wanda, but relative to the weight's row and column",
    "random": "drops weights at random: the baseline to beat",
    "sparsegpt": "drops weights and adjusts the rest to make up for it; slower",
    "admm": "chooses weights while it adjusts the rest; slower",
    "wanda+admm": "Wanda's choice, then the rest adjusted; slower",
}


def offered(methods: Iterable[str]) -> list[str]:
    """The methods that lists show: those with a name here, and every score; Wanda first."""
    shown = [method for method in methods if method in NAMES or "+" not in method]
    return sorted(shown, key=lambda method: method != "wanda")


def contender(row: dict) -> str:
    """What has a curve of its own and is better or worse than others: a row's method, `wanda ordered`,
    `wanda recovered`, or `wanda 8-bit`."""
    return row["method"] + name_suffix(row)


def untrained(contender: str) -> str:
    """A contender without its training."""
    return contender.replace(RECOVERIES["blocks"], "").replace(RECOVERIES["model"], "")


def unordered(contender: str) -> str:
    """A contender with its channels as they are."""
    return contender.replace(ORDERS["channels"], "")


def method_of(contender: str) -> str:
    """The method of a contender."""
    plain = unordered(untrained(contender))
    return next((plain.removesuffix(bits) for bits in BITS.values() if bits and plain.endswith(bits)), plain)


def name(method: str) -> str:
    """Display name of a method, or of a contender."""
    plain = method_of(method)
    return NAMES.get(plain, plain[:1].upper() + plain[1:]) + method[len(plain) :]


def is_baseline(row: dict) -> bool:
    """The dense model as it is."""
    return row["method"] == "dense" and (row.get("bits") or 16) == 16


def is_reference(row: dict) -> bool:
    """Not a pruning: the dense model, the same in int8, or a smaller dense one."""
    return row["method"] in ("dense", "int8") or row["method"].startswith("dense ")


def point(row: dict) -> str:
    """A measured point: `Wanda 50%`, `Wanda 2:4`, `Wanda 50% recovered`, `Dense`."""
    if is_reference(row):
        return name(row["method"] if row["method"] == "int8" else contender(row))
    return f"{name(row['method'])} {amount(row)}{contender(row)[len(row['method']) :]}"


def amount(row: dict) -> str:
    """How much a point prunes: `50%` or `2:4`."""
    return row["pattern"] if row["pattern"] != "unstructured" else f"{row['sparsity']:.0%}"


CONTROLS = {
    "source": "Model",
    "revision": "Revision",
    "dtype": "dtype",
    "calibration": "Calibration text",
    "evaluation": "Evaluation text",
    "chat": "Calibrate through the model's chat template",
    "split": "Split",
    "column": "Column",
    "method": "Methods",
    "sparsity": "How much to prune",
    "pattern": "How much to prune",
    "group": "Weights compete within",
    "allocation": "Sparsity of the layers",
    "recovery": "Recovery",
    "order": "Order of channels",
    "bits": "Rounded to",
    "samples": "Calibration windows",
    "windows": "Evaluation windows",
    "length": "Tokens per window",
    "eval_length": "Tokens per window",
    "schedule": "Activations from",
    "seed": "Seeds",
}
"""What the recipe panel calls a setting."""


def control(setting: str) -> str:
    """What the page calls a setting that a message names."""
    return CONTROLS.get(setting, setting)
