"""One self-contained HTML file about a comparison: what was found, how far it can be trusted, and how to repeat it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from typing import TYPE_CHECKING, Any

from wanda_core.errors import Refused
from wanda_core.experiments.budget import reach
from wanda_core.experiments.paired import Paired, compare_rows
from wanda_core.experiments.report_style import STYLE
from wanda_core.experiments.rows import Row
from wanda_core.experiments.svg_charts import Mark, curve, heat_map, heat_scale, number
from wanda_core.machine import gigabytes
from wanda_core.method.recipe import name_suffix
from wanda_core.models.named_sources import title_of

if TYPE_CHECKING:
    from wanda_core.pruning.result import LayerReport

PROTOCOL = {
    "source": "Model",
    "revision": "Revision",
    "calibration": "Calibrated on",
    "chat": "Through the chat template",
    "samples": "Calibration windows",
    "length": "Tokens of each",
    "seed": "Seed",
    "calibration_after": "Drawn after token",
    "evaluation": "Evaluated on",
    "windows": "Evaluation windows",
    "eval_length": "Tokens of each",
    "device": "Device",
    "dtype": "Numbers",
    "threads": "Threads",
    "micro_batch": "Micro-batch",
    "torch": "torch",
    "transformers": "transformers",
    "python": "Python",
    "date": "Date",
    "calibration_sha256": "Calibration tokens (SHA-256)",
    "evaluation_sha256": "Evaluation tokens (SHA-256)",
}
"""Keys of a protocol in the order in which they are shown; others come after them under their own names."""

LIMITS = (
    "The intervals are over the windows of this one evaluation text: they do not tell how another text would come out.",
    "“Better” is said only where the two were measured on the same windows and the 95% interval of their ratio, window "
    "by window, leaves out 1.",
    "Perplexity is the exponential of the mean loss per token, windows without overlap. It depends on the tokenizer "
    "and the window length: compare it with other figures only where both are the same.",
    "The divergence from dense (KL) is exact where whole distributions fit into 512 MB, and otherwise a lower bound "
    "from the 128 likeliest tokens of each position.",
    "Output error is of each layer by itself, on a sample of its own calibration inputs. A lower one need not mean a "
    "lower perplexity.",
    "Zeros alone make a model neither smaller nor faster: that takes a file format and kernels that use them.",
)


@dataclass(frozen=True)
class ReportText:
    """What the dense model or a pruning wrote."""

    name: str
    text: str
    note: str = ""


@dataclass(frozen=True)
class ReportSpeed:
    """One measured time, of the dense and of the pruned model."""

    what: str
    dense: float
    """In `unit`."""
    pruned: float
    unit: str = "ms"
    note: str = ""


def report_html(
    protocol: Mapping[str, Any],
    rows: Sequence[Row],
    *,
    layers: Mapping[str, Sequence[LayerReport]] | None = None,
    texts: tuple[str, Sequence[ReportText]] | None = None,
    speed: Sequence[ReportSpeed] | None = None,
    sizes: Mapping[str, int] | None = None,
    command: str | None = None,
    budget: float = 0.1,
) -> str:
    """A report as one HTML file without script, font or picture of its own: it opens anywhere and prints.

    Args:
        protocol: how the rows were measured, as `Experiment.protocol`.
        rows: with the keys of `rows.COLUMNS`.
        layers: reports of single layers, by the name of their point.
        texts: a prompt, and what was written after it.
        speed: measured times.
        sizes: bytes of the model's weights in files, by what they are.
        command: the command line that repeats it.
        budget: 0.1: how far each method goes before perplexity is 10% above dense.
    """
    measured = [row for row in rows if row["perplexity"] is not None]
    dense = next((row for row in measured if row["method"] == "dense" and row["bits"] in (None, 16)), None)
    source = title_of(str(protocol.get("source", "a model")))
    parts = [
        f"<header><h1>{escape(source)}, pruned</h1>{_measured_on(protocol)}</header>",
        _section("Verdict", _verdict(measured, dense, budget)),
        _section("Perplexity by share of weights pruned", _curve(measured, dense, budget)),
        _section("Every point", _table(rows, dense)),
        _section("Output error of every layer", _layers(layers or {})),
        _section("Texts", _texts(*texts) if texts else ""),
        _section("Sizes", _sizes(sizes or {})),
        _section("Speed", _speed(speed or ())),
        _section("Protocol", _protocol(protocol)),
        _section("Limits", f"<ul>{''.join(f'<li>{escape(limit)}</li>' for limit in LIMITS)}</ul>"),
        _section("Repeat it", f"<pre>{escape(command)}</pre>" if command else ""),
    ]
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\">"
        f"<title>{escape(source)}, pruned</title><style>{STYLE}</style></head><body><main>"
        f"{''.join(parts)}<footer>Made with Wanda Lab.</footer></main></body></html>\n"
    )


def point_name(row: Row) -> str:
    """`wanda 50%`, `wanda 2:4 ordered`, `wanda 50% recovered`, or `dense`."""
    return f"{row['method']} {_amount(row)}{name_suffix(row)}".strip() if row["pattern"] else _contender(row)


def _contender(row: Row) -> str:
    """What has a curve of its own: `wanda`, `wanda recovered`."""
    return f"{row['method']}{name_suffix(row)}"


def _amount(row: Row) -> str:
    if row["pattern"] not in (None, "unstructured"):
        return str(row["pattern"])
    return f"{row['sparsity']:.0%}" if row["pattern"] else ""


def _section(title: str, content: str) -> str:
    return f"<section><h2>{title}</h2>{content}</section>" if content else ""


def _measured_on(protocol: Mapping[str, Any]) -> str:
    if not protocol.get("evaluation"):
        return ""
    said = (
        f"Measured on {protocol.get('windows')} windows of {protocol.get('eval_length')} tokens of "
        f"{protocol['evaluation']}; calibrated on {protocol.get('samples')} windows of {protocol.get('length')} "
        f"tokens of {protocol.get('calibration')}. {protocol.get('device', '')}, {protocol.get('date', '')}."
    )
    return f"<p>{escape(said)}</p>"


def _verdict(rows: Sequence[Row], dense: Row | None, budget: float) -> str:
    amounts: dict[str, dict[str, Row]] = {}
    unpaired: dict[str, list[str]] = {}
    for row in rows:
        if row["pattern"]:
            amounts.setdefault(_amount(row), {}).setdefault(_contender(row), row)
    said = []
    for amount, methods in amounts.items():
        if len(methods) > 1:
            try:
                said.append(_best_of(amount, sorted(methods.values(), key=lambda row: row["perplexity"])))
            except Refused as error:
                unpaired.setdefault(str(error), []).append(amount)
    for reason, where in unpaired.items():
        said.append(f"At {escape(_and(where))}, no method can be called better: {escape(reason)}.")
    if dense is not None:
        said += _reaches(rows, dense["perplexity"], budget)
    return "".join(f"<p>{sentence}</p>" for sentence in said) or "<p>There is nothing to compare.</p>"


def _best_of(amount: str, methods: list[Row]) -> str:
    """The method of lowest perplexity against each other one, as far as their windows bear it out."""
    best, *others = methods
    one = escape(_contender(best))
    better, alike = [], []
    for other in others:
        name = f"{escape(_contender(other))} ({number(other['perplexity'])})"
        paired = compare_rows(best, other)
        if paired.certain and paired.low is not None and paired.high is not None:
            better.append(f"{_range(1 - 1 / paired.low, 1 - 1 / paired.high)} lower than that of {name}")
        else:
            alike.append(name)
    said = f"At {escape(amount)}, {one} has the lowest perplexity, {number(best['perplexity'])}"
    if better:
        said += f": <strong>{'; '.join(better)}</strong>"
    if alike:
        said += f". From {_and(alike)} there is no difference that this text can show"
    return f"{said}."


def _and(names: list[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"


def _range(least: float, most: float) -> str:
    one, two = (
        f"{least:.1%}" if least < 0.1 else f"{least:.0%}",
        f"{most:.1%}" if most < 0.1 else f"{most:.0%}",
    )
    return one if one == two else f"{one} to {two}"


def _reaches(rows: Iterable[Row], dense: float, budget: float) -> list[str]:
    curves: dict[str, list[tuple[float, float]]] = {}
    for row in rows:
        if row["pattern"] == "unstructured":
            curves.setdefault(_contender(row), []).append((row["sparsity"], row["perplexity"]))
    said = []
    for method, points in curves.items():
        found = reach(points, dense, budget)
        how = "at least " if found.beyond else "about " if not found.measured else ""
        said.append(f"{escape(method)} {how}{found.sparsity:.0%}")
    if not said:
        return []
    within = f"Within {budget:.0%} of the dense perplexity ({number(dense)})"
    return [f"{within}: {', '.join(said)} of the weights can be pruned."]


def _curve(rows: Sequence[Row], dense: Row | None, budget: float) -> str:
    series: dict[str, list[Mark]] = {}
    for row in rows:
        if row["pattern"]:
            label = f"{point_name(row)}: perplexity {number(row['perplexity'])}{_interval(row)}"
            mark = Mark(
                row["sparsity_reached"],
                row["perplexity"],
                row["perplexity_low"],
                row["perplexity_high"],
                row["pattern"] == "unstructured",
                label,
            )
            series.setdefault(_contender(row), []).append(mark)
    if dense is None or not series:
        return ""
    return (
        f'<figure><div class="scroll chart">{curve(series, dense["perplexity"], budget)}</div>'
        "<figcaption>Lines: unstructured sparsity. Diamonds: N:M. "
        "Whiskers: 95% interval over windows. A triangle at the upper edge: beyond the chart.</figcaption></figure>"
    )


def _interval(row: Row) -> str:
    if row["perplexity_low"] is None:
        return ""
    return f" ({number(row['perplexity_low'])} to {number(row['perplexity_high'])})"


def _table(rows: Sequence[Row], dense: Row | None) -> str:
    head = (
        "Point",
        "Pruned",
        "Perplexity <small>95%</small>",
        "Times dense <small>paired 95%</small>",
        "KL to dense <small>nats</small>",
        "First choice changed",
        "Prune",
        "Evaluate",
    )
    many = len({(row.get("calibration"), row["samples"]) for row in rows if row["samples"]}) > 1
    body = "".join(_table_row(row, dense, many) for row in rows)
    cells = "".join(f'<th scope="col">{title}</th>' for title in head)
    return f'<div class="scroll"><table><thead><tr>{cells}</tr></thead><tbody>{body}</tbody></table></div>'


def _table_row(row: Row, dense: Row | None, many_calibrations: bool) -> str:
    name = f'<th scope="row">{escape(point_name(row))}{_settings(row, many_calibrations)}</th>'
    if row["perplexity"] is None:
        return f'<tr>{name}<td colspan="7" class="failed">{escape(str(row["error"] or "not measured"))}</td></tr>'
    cells = (
        f"{row['sparsity_reached']:.1%}" if row["sparsity_reached"] is not None else "",
        f"{number(row['perplexity'])}<small>{_interval(row)}</small>",
        _times(row, dense),
        f"{row['kl_to_dense']:.3g}" if row.get("kl_to_dense") is not None else "",
        f"{row['top1_changed']:.1%}" if row.get("top1_changed") is not None else "",
        _seconds(row["prune_seconds"]),
        _seconds(row["evaluate_seconds"]),
    )
    return f"<tr>{name}{''.join(f'<td>{cell}</td>' for cell in cells)}</tr>"


def _settings(row: Row, many_calibrations: bool) -> str:
    """What is not as usual about a point."""
    usual = {"allocation": "uniform", "schedule": "layer", "recovery": "none", "order": "none", "bits": 16}
    said = [str(row[key]) for key, value in usual.items() if row.get(key) not in (None, value)]
    if many_calibrations and row["samples"]:
        said.append(
            f"{row['samples']} windows" + (f" of {row['calibration']}" if row.get("calibration") else "")
        )
    return f"<small> {escape(', '.join(said))}</small>" if said else ""


def _times(row: Row, dense: Row | None) -> str:
    if dense is None or row is dense:
        return ""
    try:
        paired: Paired | None = compare_rows(dense, row)
    except Refused:
        paired = None
    if paired is None:
        return number(row["perplexity"] / dense["perplexity"])
    between = (
        "" if paired.low is None else f"<small> ({number(paired.low)} to {number(paired.high or 0)})</small>"
    )
    return f"{number(paired.ratio)}{between}"


def _seconds(seconds: float | None) -> str:
    return "" if seconds is None else f"{seconds:,.1f} s"


def _layers(layers: Mapping[str, Sequence[LayerReport]]) -> str:
    maps = {}
    for name, reports in layers.items():
        errors: dict[tuple[int, str], list[float]] = {}
        for report in reports:
            errors.setdefault((report.block, report.kind), []).append(report.error)
        maps[name] = {
            place: sum(found) / len(found) for place, found in errors.items()
        }  # experts: their mean
    highest = max((value for cells in maps.values() for value in cells.values()), default=0.0)
    drawn = "".join(
        f'<figure><figcaption><strong>{escape(name)}</strong></figcaption><div class="scroll">'
        f"{heat_map(cells, highest, f'Output error of every layer, {name}')}</div></figure>"
        for name, cells in maps.items()
        if cells
    )
    if not drawn:
        return ""
    return (
        "<p>How far each layer's output moves, relative to its norm: blocks across, kinds of layer down.</p>"
        f'<div class="maps">{drawn}</div>{heat_scale(highest)}'
    )


def _texts(prompt: str, texts: Sequence[ReportText]) -> str:
    written = "".join(
        f'<article><h3>{escape(text.name)}</h3><p class="text">{escape(text.text)}</p>'
        f"<p><small>{escape(text.note)}</small></p></article>"
        for text in texts
    )
    return f'<p class="text"><b>Prompt</b> {escape(prompt)}</p><div class="texts">{written}</div>'


def _sizes(sizes: Mapping[str, int]) -> str:
    if not sizes:
        return ""
    body = "".join(
        f'<tr><th scope="row">{escape(what)}</th><td>{gigabytes(size)}</td></tr>'
        for what, size in sizes.items()
    )
    return f'<div class="scroll"><table><tbody>{body}</tbody></table></div>'


def _speed(speed: Sequence[ReportSpeed]) -> str:
    if not speed:
        return ""
    body = "".join(
        f'<tr><th scope="row">{escape(one.what)}</th><td>{number(one.dense)} {escape(one.unit)}</td>'
        f"<td>{number(one.pruned)} {escape(one.unit)}</td><td>{_faster(one)}</td><td>{escape(one.note)}</td></tr>"
        for one in speed
    )
    head = "".join(f'<th scope="col">{title}</th>' for title in ("", "Dense", "Pruned", "", ""))
    return f'<div class="scroll"><table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>'


def _faster(one: ReportSpeed) -> str:
    if one.pruned <= 0 or one.dense <= 0:
        return ""
    ratio = one.dense / one.pruned
    return f"{ratio:.2f} times as fast" if ratio >= 1 else f"{1 / ratio:.2f} times as slow"


def _protocol(protocol: Mapping[str, Any]) -> str:
    keys = [*(key for key in PROTOCOL if key in protocol), *(key for key in protocol if key not in PROTOCOL)]
    shown = [
        (PROTOCOL.get(key, key), title_of(str(protocol[key])) if key == "source" else protocol[key])
        for key in keys
        if protocol[key] not in (None, "")
    ]
    return f"<dl>{''.join(f'<dt>{escape(str(k))}</dt><dd>{escape(str(v))}</dd>' for k, v in shown)}</dl>"
