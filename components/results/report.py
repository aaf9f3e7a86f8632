"""What Results says in words and tables."""

from __future__ import annotations

from html import escape
from typing import Any

from components.display.names import amount, name, point
from components.display.number_format import duration, number, threads, times
from components.results.job import Outcome


def source_label(protocol: dict[str, Any], recorded: bool) -> str:
    model = escape(str(protocol["source"]))
    if not recorded:
        return f'<p class="label">Measured here, now, on <b>{model}</b></p>'
    return (
        f'<p class="label recorded"><b>A recorded run</b> of {model}, made on {escape(protocol["date"])} on '
        f"{escape(protocol['device'])}, {threads(protocol['threads'])}. Press Run to measure on this machine.</p>"
    )


def verdict_html(rows: list[dict[str, Any]]) -> str:
    """One plain sentence on what was measured at the amount nearest to one half."""
    dense = rows[0]["perplexity"] if rows else None
    measured = [row for row in rows[1:] if row["perplexity"] is not None]
    if not dense:
        return "The dense model could not be measured." if rows else "Measuring the dense model first."
    if not measured:
        return f"The dense model's perplexity is {number(dense)}. What pruning adds to it comes next."
    nearest = min(measured, key=lambda row: (abs(row["sparsity"] - 0.5), row["pattern"] != "unstructured"))
    alike = sorted(
        (row for row in measured if amount(row) == amount(nearest)), key=lambda row: row["perplexity"]
    )
    best, *others = alike
    sentence = (
        f"With {amount(best)} of the weights removed"
        if best["pattern"] == "unstructured"
        else f"With {best['pattern']} sparsity"
    )
    sentence += (
        f", <b>{escape(name(best['method']))}</b> leaves a perplexity of {number(best['perplexity'])}, "
        f"<b>{times(best['perplexity'] / dense)} times</b> the dense model's {number(dense)}"
    )
    if others:
        worse = ", ".join(
            f"{escape(name(row['method']))} {times(row['perplexity'] / dense)} times" for row in others
        )
        sentence += f"; {worse}"
    return sentence + "."


def table_html(rows: list[dict[str, Any]]) -> str:
    dense = rows[0]["perplexity"] if rows else None
    titles = ("Method", "Sparsity", "Perplexity <small>95% interval</small>", "Times dense", "Time")
    head = "".join(f"<th>{title}</th>" for title in titles)
    body = "".join(_table_row(row, dense) for row in rows)
    return (
        '<div class="scroll" tabindex="0"><table class="results"><thead><tr>'
        f"{head}</tr></thead><tbody>{body}</tbody></table></div>"
        '<p class="hint">Perplexity: between how many equally likely words the model wavers, on average, '
        "when it guesses the next one. Lower is better. Sparsity: the share of the weights in the model's linear "
        "layers that are zero.</p>"
    )


def _table_row(row: dict[str, Any], dense: float | None) -> str:
    if row["error"]:
        reason = escape(row["error"])
        return f'<tr><th>{escape(point(row))}</th><td class="failed" colspan="4">{reason}</td></tr>'
    interval = ""
    if row["perplexity_low"] is not None:
        interval = f" <small>{number(row['perplexity_low'])} to {number(row['perplexity_high'])}</small>"
    ratio = times(row["perplexity"] / dense) if dense and row["perplexity"] is not None else "–"
    seconds = (row["prune_seconds"] or 0) + (row["evaluate_seconds"] or 0)
    return (
        f"<tr><th>{escape(point(row))}</th><td>{row['sparsity_reached']:.1%}</td>"
        f"<td>{number(row['perplexity'])}{interval}</td><td>{ratio}</td><td>{duration(seconds)}</td></tr>"
    )


def shown_layers(outcome: Outcome) -> dict[str, list[dict[str, Any]]]:
    """At most four points: more lines than that cannot be told apart."""
    return dict(list(outcome.layers.items())[:4])


def errors_note(layers: dict[str, Any]) -> str:
    if not layers:
        return ""
    return (
        "<h3>Layer by layer</h3>"
        '<p class="hint">How far each layer\'s output moved, measured on a sample of its own inputs: 0% is unchanged, '
        "100% is as wrong as no output at all. Peaks are the layers that pruning hurts most.</p>"
    )
