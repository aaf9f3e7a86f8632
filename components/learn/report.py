"""What the lesson shows: its tables and the figures of a real model."""

from __future__ import annotations

import json
from html import escape
from typing import Any

from components.assets import ASSETS
from components.display.names import name
from components.display.number_format import number
from components.display.status_line import failed
from components.jobs.runner import import_engine
from components.learn.arithmetic import COLUMNS, ROWS, TOKENS, numbers, prune_small
from wanda_core.errors import Refused
from wanda_core.method.recipe import Recipe


def recompute(weight: Any, inputs: Any, percent: Any) -> str:
    """The steps for what the visitor typed."""
    import_engine()
    try:
        return _lesson(weight, inputs, percent)
    except Refused as error:
        return failed(error)


def _lesson(weight: Any, inputs: Any, percent: Any) -> str:
    w = numbers("Weights", weight, ROWS, COLUMNS)
    x = numbers("Tokens", inputs, TOKENS, COLUMNS)
    if isinstance(percent, bool) or not isinstance(percent, int | float) or not 0 <= percent <= 100:
        raise Refused("Sparsity must be a number between 0 and 100%")
    share = percent / 100

    def by(
        method: str, group: str | None = None, pattern: str = "unstructured", s: float | None = share
    ) -> Any:
        return prune_small(w, x, Recipe(method=method, sparsity=s, group=group, pattern=pattern))

    norms = x.double().square().sum(dim=0).sqrt()
    magnitude, wanda = by("magnitude", "output"), by("wanda", "output")
    layer, half, pair = by("wanda", "layer"), by("wanda", s=0.5), by("wanda", pattern="2:4", s=None)
    head = "".join(f"<th>in {j}</th>" for j in range(COLUMNS))
    loud = "".join(f"<td>{number(float(v))}</td>" for v in norms)
    norm_row = (
        '<div class="scroll" tabindex="0"><table class="results lesson"><thead><tr><th></th>'
        f"{head}</tr></thead><tbody><tr><th>‖X‖</th>{loud}</tr></tbody></table></div>"
    )
    steps = [
        (
            "Activation matters",
            "A weight works on its input: a small weight on a loud input can matter more than a large one on a quiet "
            "input. The norm ‖X‖ says how loud each input is, over all tokens: the root of its sum of squares."
            + norm_row
            + "Magnitude scores a weight by |W|, Wanda by |W| × ‖X‖. The lowest of each row go (struck through)."
            + _table("Magnitude", magnitude)
            + _table("Wanda", wanda)
            + _errors({"Magnitude": magnitude, "Wanda": wanda}),
            _measured([("magnitude", 0.5, None), ("wanda", 0.5, None)]),
        ),
        (
            "The row is the right group",
            "An output row makes one number of the layer's output. When all rows compete, a row of small weights (the "
            "last one) can lose nearly everything."
            + _table("Wanda, whole layer competes", layer)
            + _errors({"Within each row": wanda, "Whole layer": layer})
            + " With a few rows either can win; over a real model:",
            _measured(
                [
                    ("wanda", 0.5, "output"),
                    ("wanda", 0.5, "layer"),
                    ("magnitude", 0.5, "output"),
                    ("magnitude", 0.5, "layer"),
                ]
            ),
        ),
        (
            "2:4 costs more",
            "Some hardware is faster where exactly 2 of every 4 neighbours are kept. That is half of the weights, but "
            "with less choice: two important neighbours too many, and one must go."
            + _table("Wanda 2:4", pair)
            + _errors({"Wanda 50%, anywhere in the row": half, "Wanda 2:4": pair}),
            _measured(
                [
                    ("wanda", 0.5, None),
                    ("wanda", 0.5, "2:4"),
                    ("magnitude", 0.5, None),
                    ("magnitude", 0.5, "2:4"),
                ]
            ),
        ),
        (
            "A few windows suffice",
            "The norms need not be exact, only their order of size; a little text gives that. Take away one token "
            "above (type zeros): few weights change sides.",
            _windows(),
        ),
        (
            "Past 70% it breaks",
            "Removing more takes weights that matter whatever the score. By Wanda within each row, on your numbers: "
            + _errors({f"{s}%": by("wanda", "output", s=s / 100) for s in (30, 50, 70, 80, 90)}),
            _measured([(m, s, None) for m in ("magnitude", "wanda") for s in (0.3, 0.5, 0.6, 0.7, 0.8)]),
        ),
    ]
    body = "".join(
        f"<section><h2>{i}. {title}</h2><div>{text}</div>{figures}</section>"
        for i, (title, text, figures) in enumerate(steps, 1)
    )
    return f'<div class="steps">{body}{_source()}</div>'


def _table(title: str, pruned: Any) -> str:
    """Scores of a small matrix, those of pruned weights struck through."""
    body = ""
    for i, (scores, kept) in enumerate(zip(pruned.scores.tolist(), pruned.mask.tolist(), strict=True)):
        cells = "".join(
            f"<td>{number(s)}</td>" if k else f'<td class="gone"><s>{number(s)}</s></td>'
            for s, k in zip(scores, kept, strict=True)
        )
        body += f"<tr><th>out {i}</th>{cells}</tr>"
    return (
        f'<div class="scroll" tabindex="0"><table class="results lesson" aria-label="{escape(title)}">'
        f"<caption>{escape(title)}: scores</caption><tbody>{body}</tbody></table></div>"
    )


def _errors(pruned: dict[str, Any]) -> str:
    listed = "; ".join(f"{escape(title)} <b>{100 * p.error:.1f}%</b>" for title, p in pruned.items())
    return f'<span class="moved">The output moves by: {listed}.</span>'


def _recorded() -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """Rows of both recorded files, and how they were measured."""
    run, more = (
        json.loads((ASSETS / "recorded" / file).read_text(encoding="utf-8"))
        for file in ("smollm2-135m.json", "lesson.json")
    )
    return [*run["rows"], *more["rows"]], run["protocol"] | {
        "dates": {run["protocol"]["date"], more["protocol"]["date"]}
    }


def _measured(points: list[tuple[str, float, str | None]]) -> str:
    """Measured perplexities: method, sparsity, and group or pattern where it is not the method's own."""
    rows, protocol = _recorded()
    shown = [("Dense", rows[0]["perplexity"])]
    for method, sparsity, which in points:
        for row in rows[1:]:
            group = (
                which if which in ("output", "layer") else {"magnitude": "layer", "wanda": "output"}[method]
            )
            pattern = which if which == "2:4" else "unstructured"
            same = (row["method"], row["sparsity"], row["pattern"]) == (method, sparsity, pattern)
            if same and row["samples"] == protocol["samples"] and row["group"] in (group, None):
                what = {"output": ", rows compete", "layer": ", layer competes"}.get(which, "")
                amount = pattern if which == "2:4" else f"{sparsity:.0%}"
                shown.append((f"{name(method)} {amount}{what}", row["perplexity"]))
                break
    return _figures(shown)


def _windows() -> str:
    rows, _ = _recorded()
    half = [r for r in rows if r["method"] == "wanda" and r["sparsity"] == 0.5 and r["group"] == "output"]
    ordered = sorted(half, key=lambda row: row["samples"])
    return _figures(
        [(f"Wanda 50%, {r['samples']} window{'s' * (r['samples'] > 1)}", r["perplexity"]) for r in ordered]
    )


def _figures(shown: list[tuple[str, float]]) -> str:
    listed = "".join(f"<li>{escape(what)}: <b>{number(value)}</b></li>" for what, value in shown)
    return f'<div class="measured">Perplexity measured on the real model:<ul>{listed}</ul></div>'


def _source() -> str:
    p = _recorded()[1]
    return (
        f'<p class="hint">Measured figures: {escape(p["source"])}, first {p["windows"]} windows of {p["eval_length"]} '
        f"tokens of {escape(p['evaluation'])}; calibrated on {p['samples']} windows of {p['length']} where not said "
        f"otherwise, after the evaluated text; seed {p['seed']}; {escape(p['device'])}, {p['dtype']}, torch "
        f"{escape(p['torch'])}, transformers {escape(p['transformers'])}, {' and '.join(sorted(p['dates']))}. "
        "A perplexity on so little text is uncertain by some 12%; differences between points are surer.</p>"
    )
