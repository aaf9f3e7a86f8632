"""What Cost says in words and tables; all HTML."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from typing import Any

from components.cost.budget import limits
from components.cost.outcome import Group, Outcome, Row, groups
from components.cost.verdict import times_dense, verdict
from components.display.html import machine, model_name, protocol_note
from components.display.names import is_reference, name, point
from components.display.number_format import duration, number, times
from components.workspace.setup import text_name

TITLES = (
    "Method",
    "Sparsity",
    "Perplexity <small>95% interval</small>",
    "× dense",
    "KL to dense",
    "First choice changed",
    "Time",
)
SHOWN_ERROR = 300
"""Characters of a row's error that are shown."""


def label(outcome: Outcome) -> str:
    """Where these figures come from."""
    model = f"<b>{escape(model_name(outcome.protocol))}</b>"
    if outcome.origin == "recorded":
        return (
            f'<p class="label recorded">Recorded: {model}, {machine(outcome.protocol)}, with the settings that the '
            "page opens with.</p>"
        )
    if outcome.origin == "saved":
        said = f"From a saved file: {model}, {machine(outcome.protocol)}, as the file says."
        return f'<p class="label recorded">{said}</p>'
    over = (
        "" if len(outcome.rows) == outcome.planned else f": {len(outcome.rows)} of {outcome.planned} points"
    )
    return f'<p class="label">Measured here: {model}, {machine(outcome.protocol)}{over}.</p>'


def nothing_yet(source: object) -> str:
    """In place of results that are not there."""
    model = escape(model_name({"source": str(source)[:200]}))
    return f'<p class="label">{model} is not measured yet: press Run.</p>'


def protocol(outcome: Outcome) -> str:
    """How it was measured."""
    return protocol_note(outcome.protocol, outcome.origin != "here")


def summary(outcome: Outcome) -> str:
    return label(outcome) + verdict(outcome)


def recorded_table(outcome: Outcome) -> str:
    return section_label(outcome) + table(outcome)


def table(outcome: Outcome) -> str:
    """Every measured point; each row can be chosen by click or key."""
    dense = outcome.dense
    body = "".join(_reference_row(row, dense) for row in outcome.rows if is_reference(row))
    body += "".join(_group_rows(group, outcome) for group in groups(outcome.rows))
    head = "".join(f"<th scope=col>{title}</th>" for title in TITLES)
    return (
        '<div class="scroll" tabindex="0" role="region" aria-label="Measured points"><table class="results points">'
        f"<thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>"
        "<details class='hint'><summary>What do the columns mean?</summary><p>Perplexity: roughly how many equally "
        "likely next tokens the model is choosing between; lower is better. Sparsity: the share of the weights in the "
        "model's linear layers that are pruned. KL to dense: how far the predicted distribution of the next token is "
        "from the dense model's, in nats, 0 where they agree. First choice changed: the share of tokens at which the "
        "likeliest next token is another than the dense model's. Time: to prune and to "
        "evaluate, where it was measured here. With several seeds: "
        "geometric mean, and the range over the seeds.</p></details>"
    )


def _reference_row(row: Row, dense: Row | None) -> str:
    if row["error"]:
        return _failed(escape(point(row)), row)
    ratio = row["perplexity"] / dense["perplexity"] if dense and row["perplexity"] else None
    ends = (row["perplexity_low"], row["perplexity_high"]) if row["perplexity_low"] else None
    return _cells(
        f"<th scope=row>{escape(point(row))}</th>",
        "–",
        _interval(row["perplexity"], ends),
        "–" if ratio is None or row is dense else times(ratio),
        "–" if row is dense else _nats(row.get("kl_to_dense")),
        "–" if row is dense else _share(row.get("top1_changed")),
        row["evaluate_seconds"],
    )


def _group_rows(group: Group, outcome: Outcome) -> str:
    """The point, and below it its seeds where there are several."""
    several = len(group.rows) > 1
    body = ""
    if several:
        body = _point_row(
            group, outcome, f"{escape(point(group.first))} <small>{len(group.measured)} seeds</small>"
        )
    for row, index in zip(group.rows, group.indices, strict=True):
        said = f"<small>seed {row['seed']}</small>" if several else escape(point(row))
        if row["error"]:
            body += _failed(said, row)
        else:
            body += _point_row(Group((row,), (index,)), outcome, said)
    return body


def _point_row(group: Group, outcome: Outcome, said: str) -> str:
    row, index = group.first, group.indices[0]
    ratio = times_dense(group, outcome.dense)
    within = ""
    if ratio and ratio[1] and ratio[2]:
        within = f" <small>{times(ratio[1])} to {times(ratio[2])}</small>"
    if len(group.rows) == 1 and outcome.focus_of(index):
        said = f'<button type="button" class="pick" data-point="{index}">{said}</button>'
    pruned = sum(each["prune_seconds"] or 0 for each in group.rows)
    return _cells(
        f"<th scope=row>{said}</th>",
        f"{row['sparsity_reached']:.1%}" if row["sparsity_reached"] is not None else "–",
        _interval(group.perplexity, group.ends),
        f"{times(ratio[0])}{within}" if ratio else "–",
        _nats(group.mean("kl_to_dense")),
        _share(group.mean("top1_changed")),
        pruned + sum(each["evaluate_seconds"] or 0 for each in group.rows),
        f' data-point="{index}"' if outcome.focus_of(index) and len(group.rows) == 1 else "",
    )


def _cells(head: str, *cells: Any) -> str:
    *texts, seconds = cells[:6]
    mark = cells[6] if len(cells) > 6 else ""
    body = "".join(f"<td>{text}</td>" for text in texts)
    return f"<tr{mark}>{head}{body}<td>{duration(seconds) if seconds else '–'}</td></tr>"


def _failed(said: str, row: Row, columns: int = len(TITLES)) -> str:
    reason = escape(str(row["error"])[:SHOWN_ERROR])
    return f'<tr><th scope=row>{said}</th><td class="failed" colspan="{columns - 1}">{reason}</td></tr>'


def _interval(value: float | None, ends: tuple[float, float] | None) -> str:
    within = f" <small>{number(ends[0])} to {number(ends[1])}</small>" if ends else ""
    return number(value) + within


def _nats(value: float | None) -> str:
    return "–" if value is None else f"{value:.2g}"


def _share(value: float | None) -> str:
    return "–" if value is None else f"{value:.1%}"


def reach(outcome: Outcome, percent: float) -> str:
    """The highest sparsity of every method within the budget."""
    dense, found = outcome.dense, limits(outcome, percent)
    if not dense or not found:
        return "<p class='hint'>A budget needs the dense model and unstructured amounts.</p>"
    each = []
    for method, limit in found.items():
        if limit.sparsity == 0:
            said = "over budget at every measured sparsity"
        elif limit.beyond:
            said = f"{limit.sparsity:.0%}, the highest measured; more may be possible"
        else:
            said = f"{limit.sparsity:.0%}" + ("" if limit.measured else ", between two measured points")
        each.append(f"<li><b>{escape(name(method))}</b>: {said}</li>")
    accepted = dense["perplexity"] * (1 + percent / 100)
    return (
        f'<p class="reach">If a perplexity of {number(accepted)} instead of {number(dense["perplexity"])} is accepted, '
        f'these shares can be pruned:</p><ul class="amounts">{"".join(each)}</ul>'
    )


def sensitivity(outcome: Outcome) -> str:
    """The rows of a calibration sensitivity, with how many weights each calibration decides otherwise."""
    heads = ("Calibrated on", "Windows", "Seed", "Perplexity <small>95% interval</small>", "Masks differ")
    body = ""
    for row in outcome.rows:
        if is_reference(row):
            continue
        said = escape(text_name(row["calibration"]) or point(row))
        if row["error"]:
            body += _failed(said, row, len(heads))
            continue
        differ = row.get("masks_differ")
        ends = (row["perplexity_low"], row["perplexity_high"]) if row["perplexity_low"] else None
        cells = (
            row["samples"],
            row["seed"],
            _interval(row["perplexity"], ends),
            "–" if differ is None else f"{differ:.1%}",
        )
        body += f"<tr><th scope=row>{said}</th>" + "".join(f"<td>{cell}</td>" for cell in cells) + "</tr>"
    head = "".join(f"<th scope=col>{title}</th>" for title in heads)
    return (
        f'{section_label(outcome)}<div class="scroll" tabindex="0" role="region" aria-label="Calibrations"><table '
        f'class="results"><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>'
        '<p class="hint">Masks differ: the share of the weights that is pruned under one calibration and kept under '
        "the first.</p>"
    )


def claims(outcome: Outcome) -> str:
    """The paper's claims, published and measured, and whether they hold here."""
    from wanda_core.experiments.paper_claims import judge

    whole = max((row["samples"] or 0 for row in outcome.rows), default=0)
    body = ""
    for judged in judge(outcome.rows, whole):
        claim = judged.claim
        measured = ", ".join(f"{escape(named)} {number(value)}" for named, value in judged.figures.items())
        said = {True: "✓ holds here", False: "✗ does not hold here", None: "not measured"}[judged.holds]
        body += (
            f"<tr><th scope=row>{escape(claim.says)}<small>holds if {escape(claim.rule)}</small></th>"
            f'<td data-title="Published">{escape(claim.published)}<small>{escape(claim.source)}</small></td>'
            f'<td data-title="Measured">{measured or "–"}</td><td data-title="Verdict"><b>{said}</b></td></tr>'
        )
    return (
        f'{section_label(outcome)}<div class="scroll" tabindex="0" role="region" aria-label="Claims"><table '
        'class="results claims"><thead><tr><th scope=col>Claim</th><th scope=col>Published</th><th scope=col>Measured '
        f"perplexity, or seconds</th><th scope=col>Verdict</th></tr></thead><tbody>{body}</tbody></table></div>"
    )


def section_label(outcome: Outcome) -> str:
    """Its own protocol: these rows are of other windows than those above."""
    protocol = outcome.protocol
    model = f"<b>{escape(model_name(protocol))}</b>"
    windows = (
        f"{protocol['windows']} evaluation windows of {protocol['eval_length']} tokens of "
        f"{escape(str(protocol['evaluation']))}"
    )
    if outcome.origin == "here":
        over = (
            ""
            if len(outcome.rows) == outcome.planned
            else f"; {len(outcome.rows)} of {outcome.planned} points"
        )
        return f'<p class="label">Measured here: {model}, on {windows}{over}.</p>'
    return f'<p class="label recorded">Recorded: {model}, {machine(protocol)}, on {windows}.</p>'


def changed(names: Sequence[str]) -> str:
    """That what is shown was measured by other settings."""
    said = (
        f"Settings changed since this run ({escape(', '.join(names))}): press Run to measure them."
        if names
        else "From a file: press Run to measure the settings on the left."
    )
    return f'<p class="changed" role="status">{said}</p>'
