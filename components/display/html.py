"""HTML that several views share."""

from __future__ import annotations

from html import escape
from typing import Any

from components.display.number_format import threads
from wanda_core.models.named_sources import title_of


def model_name(protocol: dict[str, Any]) -> str:
    """What the model of a measurement is called: the last part of its source."""
    return title_of(str(protocol.get("source", ""))).rsplit("/", 1)[-1]


def machine(protocol: dict[str, Any]) -> str:
    """`2026-11-25, AMD EPYC, 2 threads`."""
    return escape(f"{protocol['date']}, {protocol['device']}, {threads(protocol['threads'])}")


def protocol_note(protocol: dict[str, Any], recorded: bool) -> str:
    """How it was measured: a sentence, and every setting folded."""
    shown = {key: str(value) for key, value in protocol.items() if value is not None}
    own = (
        f", after its first {protocol['calibration_after']:,} tokens" if protocol["calibration_after"] else ""
    )
    details = "".join(f"<dt>{escape(key)}</dt><dd>{escape(value)}</dd>" for key, value in shown.items())
    where = "Recorded" if recorded else "Measured"
    return (
        f'<div class="protocol"><p>{where} on the first {protocol["windows"]} windows of {protocol["eval_length"]} '
        f"tokens of {escape(protocol['evaluation'])}; every token but a window's first is predicted from those "
        f"before it. Calibrated on {protocol['samples']} windows of {protocol['length']} tokens of "
        f"{escape(protocol['calibration'])}{own}, seed {protocol['seed']}. {escape(protocol['device'])}, "
        f"{escape(protocol['dtype'])}, {threads(protocol['threads'])}, micro-batch {protocol['micro_batch']}, "
        f"torch {escape(protocol['torch'])}, transformers {escape(protocol['transformers'])}.</p>"
        f"<details><summary>All settings of this measurement</summary><dl>{details}</dl></details></div>"
    )
