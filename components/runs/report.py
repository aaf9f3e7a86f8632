"""The tables of kept runs."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

from components.display.names import point as point_name
from components.display.number_format import number, times
from components.workspace.run_summary import Run


def runs_table(runs: Sequence[Run]) -> str:
    """Every point of the chosen runs, a column for each run; perplexities of different windows are marked."""
    if not runs:
        return '<p class="hint">Choose one run, or several to compare.</p>'
    head = "".join(f"<th>{escape(run.name)}</th>" for run in runs)
    cells: dict[str, dict[str, str]] = {}
    for run in runs:
        for point in run.points:
            row = point.as_row()
            label = point_name(row)
            text = number(point.perplexity) if point.perplexity is not None else "–"
            if run.dense and point.perplexity and point.method != "dense":
                text += f" <small>{times(point.perplexity / run.dense)} × dense</small>"
            cells.setdefault(label, {})[run.id] = text
    body = ""
    for label, own in cells.items():
        values = "".join(f"<td>{own.get(run.id, '–')}</td>" for run in runs)
        body += f"<tr><th>{escape(label)}</th>{values}</tr>"
    windows = {run.evaluation_sha256 for run in runs}
    note = (
        "Measured on the same windows: the perplexities compare."
        if len(windows) == 1
        else "<b>Measured on different windows:</b> perplexities do not compare, only “× dense” gives a rough idea."
    )
    texts = "".join(
        f'<li><a href="./?{escape(run.link, quote=True)}">{escape(run.name)}</a>: {escape(run.text)}</li>'
        for run in runs
    )
    return (
        f'<p class="verdict">{note}</p><div class="scroll" tabindex="0"><table class="results"><thead><tr>'
        f"<th>Point</th>{head}</tr></thead><tbody>{body}</tbody></table></div><ul class='hint'>{texts}</ul>"
    )
