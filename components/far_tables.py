"""What the view How far says in words and tables."""

from __future__ import annotations

import math
from collections.abc import Sequence
from html import escape
from typing import TYPE_CHECKING, Any

from components.results import protocol_note
from components.sweeping import Swept
from components.words import duration, is_reference, name, number, point, threads, times, without_flags

if TYPE_CHECKING:
    from wanda_core.budget import Reach

Row = dict[str, Any]


def label(swept: Swept) -> str:
    """Where these figures come from."""
    protocol, rows = swept.protocol, swept.rows
    model = escape(str(protocol["source"]))
    machine = f"on {escape(str(protocol['device']))}, {threads(protocol['threads'])}"
    if swept.origin == "recorded":
        said = (
            f'<p class="label recorded"><b>A recorded sweep</b> of {model}, made on {escape(protocol["date"])} '
            f"{machine}. Press Sweep to measure on this machine.</p>"
        )
    elif swept.origin == "saved":
        said = (
            f'<p class="label recorded"><b>From a saved file</b>: {model}, measured on '
            f"{escape(str(protocol['date']))} {machine}, as the file says.</p>"
        )
    else:
        said = f'<p class="label">Measured here, now, on <b>{model}</b>: {len(rows)} of {swept.planned} points</p>'
    return said + protocol_note(protocol, swept.origin != "here")


def ends(swept: Swept, percent: float) -> dict[str, Reach]:
    """The highest sparsity of every method within the budget; empty without the dense model's perplexity."""
    from wanda_core.budget import reach

    dense = _dense(swept.rows)
    points: dict[str, list[tuple[float, float]]] = {}
    for row in of_first_calibration(swept.rows):
        if not is_reference(row) and row["pattern"] == "unstructured":
            # What failed, or has no number, is over any budget.
            value = math.inf if row["perplexity"] is None else row["perplexity"]
            reached = row["sparsity"] if row["sparsity_reached"] is None else row["sparsity_reached"]
            points.setdefault(row["method"], []).append((reached, value))
    return {method: reach(own, dense, percent / 100) for method, own in points.items()} if dense else {}


def reach(swept: Swept, percent: float) -> str:
    """The highest sparsity of every method within the budget, in words and a table."""
    dense, found = _dense(swept.rows), ends(swept, percent)
    if not dense:
        return "<p class='hint'>The dense model comes first.</p>"
    if not found:
        return "<p class='hint'>A budget needs points of unstructured sparsity.</p>"
    body = ""
    for method, far in found.items():
        if far.sparsity == 0:
            how = "not even the lowest measured one"
        elif far.beyond:
            how = "measured; the highest one asked for, more may be possible"
        else:
            how = "measured" if far.measured else "interpolated between two measured points"
        body += (
            f'<tr><th>{escape(name(method))}<small class="note">{how}</small></th>'
            f"<td>{'–' if far.sparsity == 0 else f'{far.sparsity:.0%}'}</td><td>{number(far.perplexity)}</td></tr>"
        )
    return (
        f'<p class="verdict">At most {percent:.0f}% worse than dense ({number(dense * (1 + percent / 100))} instead of '
        f'{number(dense)}):</p><div class="scroll" tabindex="0"><table class="results"><thead><tr><th>Method</th>'
        f"<th>Can remove</th><th>Perplexity</th></tr></thead><tbody>{body}</tbody></table></div>"
    )


def rows(swept: Swept) -> str:
    """Every measured point, folded."""
    dense = _dense(swept.rows)
    several = has_sensitivity(swept.rows)
    head = ["Point", "Perplexity", "Times dense", "Windows", "Seed", "Time"]
    if several:
        head[5:5] = ["Calibrated on", "Masks differ"]
    body = ""
    for row in swept.rows:
        if row["error"]:
            body += f'<tr><th>{escape(point(row))}</th><td class="failed" colspan="{len(head) - 1}">'
            body += f"{escape(without_flags(row['error']))}</td></tr>"
            continue
        value = row["perplexity"]
        seconds = (row["prune_seconds"] or 0) + (row["evaluate_seconds"] or 0)
        cells = [
            number(value),
            times(value / dense) if dense and value is not None else "–",
            _or_dash(row["samples"]),
            _or_dash(row["seed"]),
            duration(seconds) if seconds else "–",
        ]
        if several:
            differ = row["masks_differ"]
            cells[4:4] = [
                escape(row["calibration"] or "–"),
                "–" if differ is None else f"{differ:.1%}",
            ]
        body += f"<tr><th>{escape(point(row))}</th>" + "".join(f"<td>{cell}</td>" for cell in cells) + "</tr>"
    titles = "".join(f"<th>{title}</th>" for title in head)
    meaning = (
        '<p class="hint">Masks differ: the share of the weights whose fate is another than under the first '
        "calibration measured.</p>"
        if several
        else ""
    )
    return (
        f"<details><summary>All {len(swept.rows)} points</summary>"
        f'<div class="scroll" tabindex="0"><table class="results"><thead><tr>{titles}</tr></thead>'
        f"<tbody>{body}</tbody></table></div>{meaning}</details>"
    )


def claims(swept: Swept) -> str:
    """The paper's claims, published and measured, and whether they hold here."""
    from wanda_core.claims import judge

    whole = max((row["samples"] or 0 for row in swept.rows), default=0)
    body = ""
    for judged in judge(swept.rows, whole):
        claim = judged.claim
        measured = ", ".join(f"{escape(named)} {number(value)}" for named, value in judged.figures.items())
        verdict = {True: "✓ holds here", False: "✗ does not hold here", None: "not measured"}[judged.holds]
        body += (
            f"<tr><th>{escape(claim.says)}<small>holds if {escape(claim.rule)}</small></th>"
            f'<td data-title="Published">{escape(claim.published)}<small>{escape(claim.source)}</small></td>'
            f'<td data-title="Measured">{measured or "–"}</td><td data-title="Verdict"><b>{verdict}</b></td></tr>'
        )
    model = escape(str(swept.protocol["source"]))
    where = "here, now" if swept.origin == "here" else f"on {escape(str(swept.protocol['date']))}"
    label = "" if swept.origin == "here" else " recorded"
    return (
        f'<p class="label{label}">Measured {where} on <b>{model}</b>, {whole} calibration windows of '
        f"{swept.protocol['length']} tokens</p>"
        '<div class="scroll" tabindex="0"><table class="results claims"><thead><tr><th>Claim</th><th>Published</th>'
        f"<th>Measured perplexity, or seconds</th><th>Verdict</th></tr></thead><tbody>{body}</tbody></table></div>"
    )


def has_sensitivity(rows: Sequence[Row]) -> bool:
    """Whether there is more than one calibration."""
    return len({_calibration(row) for row in rows if not is_reference(row)}) > 1


def of_first_calibration(rows: Sequence[Row]) -> list[Row]:
    """Those on the calibration that most points have, the references, and what looks at no calibration; methods in a
    comparison group of their own are left out."""
    from wanda_core.methods import METHODS

    calibrations = [_calibration(row) for row in rows if not is_reference(row)]
    most = max(calibrations, key=calibrations.count, default=None)

    def shown(row: Row) -> bool:
        if is_reference(row):
            return True
        method = METHODS.get(row["method"])
        usual = row["pattern"] != "unstructured" or method is None or row["group"] in (None, method.group)
        free = method is not None and not method.needs_inputs
        return usual and (free or _calibration(row) == most)

    return [row for row in rows if shown(row)]


def tidy(rows: Sequence[Row]) -> list[Row]:
    """As `compare` writes them; with the columns of a sweep where there is more than one calibration."""
    from wanda_core.tables import SWEPT

    if has_sensitivity(rows):
        return list(rows)
    return [{key: value for key, value in row.items() if key not in SWEPT} for row in rows]


def _dense(rows: Sequence[Row]) -> float | None:
    """The dense model's perplexity, where it is there."""
    return next((row["perplexity"] for row in rows if row["method"] == "dense"), None)


def _calibration(row: Row) -> tuple[Any, ...]:
    return (row["calibration"], row["samples"], row["seed"])


def _or_dash(value: Any) -> str:
    return "–" if value is None else str(value)
