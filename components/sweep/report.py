"""What the view How far says in words and tables."""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING, Any

from components.display.html import protocol_note
from components.display.names import name, point
from components.display.number_format import duration, number, threads, times
from components.sweep.job import Swept

if TYPE_CHECKING:
    pass
from components.sweep.row_selection import dense_perplexity, ends, has_sensitivity


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


def reach(swept: Swept, percent: float) -> str:
    """The highest sparsity of every method within the budget, in words and a table."""
    dense, found = dense_perplexity(swept.rows), ends(swept, percent)
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
    dense = dense_perplexity(swept.rows)
    several = has_sensitivity(swept.rows)
    head = ["Point", "Perplexity", "Times dense", "Windows", "Seed", "Time"]
    if several:
        head[5:5] = ["Calibrated on", "Masks differ"]
    body = ""
    for row in swept.rows:
        if row["error"]:
            body += f'<tr><th>{escape(point(row))}</th><td class="failed" colspan="{len(head) - 1}">'
            body += f"{escape(row['error'])}</td></tr>"
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
    from wanda_core.experiments.paper_claims import judge

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


def _or_dash(value: Any) -> str:
    return "–" if value is None else str(value)
