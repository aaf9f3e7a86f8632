"""The table of zero-shot answers."""

from __future__ import annotations

from html import escape

from components.questions.job import NAMES, Scores
from wanda_core.evaluation.zero_shot_answers import Answers, Share, mean


def show(scores: Scores) -> str:
    """A table of accuracies and of what each pruning lost, and how they were measured."""
    protocol = scores.protocol
    head = "".join(f"<th>{escape(model)}</th>" for model in scores.models)
    answered = [answers for answers in scores.answers if not answers.error]
    body = "".join(_row(answers, len(scores.models)) for answers in scores.answers)
    if len(answered) > 1:
        body += _mean_row(answered, len(scores.models))
    return (
        f'<p class="label">Measured here, now, on <b>{escape(str(protocol["source"]))}</b></p>'
        '<div class="scroll" tabindex="0"><table class="results"><thead><tr><th>Task</th>'
        f"{head}</tr></thead><tbody>{body}</tbody></table></div>"
        '<p class="hint">Share of the questions answered right. Below it, what pruning changed on the very same '
        "questions, in percentage points. In brackets 95% intervals: Wilson's for a share, Agresti and Min's for a "
        "paired difference. <b>Bold</b>: the interval does not hold 0, so more than chance.</p>"
        f'<div class="protocol"><p>The first questions of each task, no examples, no chat template, '
        f"{escape(protocol['device'])}, {protocol['dtype']}. Pruned after {protocol['samples']} windows of "
        f"{protocol['length']} tokens of {escape(protocol['calibration'])}.</p></div>"
    )


def _row(answers: Answers, models: int) -> str:
    label = escape(NAMES.get(answers.task, (answers.task,))[0])
    if answers.error:
        return f'<tr><th>{label}</th><td class="failed" colspan="{models}">{escape(answers.error)}</td></tr>'
    cells = [_cell(answers.accuracy(0), None)]
    cells += [_cell(answers.accuracy(m), answers.difference(m)) for m in range(1, models)]
    return f"<tr><th>{label} <small>{answers.questions} questions</small></th>{''.join(cells)}</tr>"


def _mean_row(answered: list[Answers], models: int) -> str:
    cells = [_cell(mean([a.accuracy(0) for a in answered]), None)]
    for model in range(1, models):
        accuracy = mean([a.accuracy(model) for a in answered])
        cells.append(_cell(accuracy, mean([a.difference(model) for a in answered])))
    return f"<tr><th>Mean <small>of {len(answered)} tasks</small></th>{''.join(cells)}</tr>"


def _cell(accuracy: Share, difference: Share | None) -> str:
    cell = f"{accuracy.value:.1%} <small>({accuracy.low:.0%} to {accuracy.high:.0%})</small>"
    if difference is not None:
        change = f"{100 * difference.value:+.1f}"
        if difference.low > 0 or difference.high < 0:
            change = f"<b>{change}</b>"
        cell += f"<br>{change} <small>({100 * difference.low:+.1f} to {100 * difference.high:+.1f})</small>"
    return f"<td>{cell}</td>"
