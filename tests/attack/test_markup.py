"""Markup, templates and formulas in every string that comes from elsewhere: all of it is shown as the text it is."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable
from html.parser import HTMLParser
from types import SimpleNamespace
from typing import Any, cast

import pytest

from components.assets import ASSETS
from components.cost import report
from components.cost.outcome import Outcome
from components.display import status_line
from components.display.chart_style import drawn, new_figure
from components.page import preview
from components.recipe.estimate import estimate
from components.recipe.request import check_panel
from components.runs.report import runs_table
from components.text.job import Texts
from components.text.report import show
from components.workspace.defaults import DEFAULTS
from components.workspace.run_summary import Point, Run, as_json, read_runs, summary_of
from wanda_core.errors import Refused
from wanda_core.experiments.report import ReportText, report_html
from wanda_core.experiments.rows import to_csv

Tried = Callable[..., None]
KIND = "markup"
RUNS = "window.ran=1"
MARKUP = {
    "element": f"<img src=x onerror={RUNS}>",
    "closing": f"'\"></p></td></script><script>{RUNS}</script>",
    "attribute": f'" onmouseover="{RUNS}" x="',
    "template": f"${{{RUNS}}}",
    "Handlebars": f"{{{{#if 1}}}}<svg onload={RUNS}>{{{{/if}}}}{{{{{{x}}}}}}",
    "link": f"[x](javascript:{RUNS}) javascript:{RUNS}",
}
FORMULAS = ["=cmd|' /C calc'!A0", "+1+1", "-2+3", "@SUM(A1)", "\t=1", "\r=1"]


class Elements(HTMLParser):
    """What a browser would make of some HTML: names of its elements, and attributes that run."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.bad: list[str] = []
        self.text = ""
        self.feed(html)
        self.close()

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        if tag in ("img", "script", "iframe", "object"):
            self.bad.append(tag)
        for name, value in attributes:
            if name.startswith("on") or (value or "").strip().lower().startswith("javascript:"):
                self.bad.append(f"{tag} {name}={value}")

    def handle_data(self, data: str) -> None:
        self.text += data


def protocol(words: str) -> dict[str, Any]:
    recorded = json.loads((ASSETS / "recorded" / "cost-pocket.json").read_text(encoding="utf-8"))["protocol"]
    own = (
        "source",
        "calibration",
        "evaluation",
        "device",
        "dtype",
        "torch",
        "transformers",
        "date",
        "revision",
    )
    return recorded | dict.fromkeys(own, words)


def rows(words: str) -> list[dict[str, Any]]:
    """Recorded ones; a reference and an error of somebody's own."""
    found = json.loads((ASSETS / "recorded" / "cost-pocket.json").read_text(encoding="utf-8"))["rows"][:3]
    reference = found[0] | {"method": f"dense {words}"}
    broken = found[1] | {"error": words, "perplexity": None, "calibration": words}
    pattern = found[2] | {"pattern": words, "calibration": words, "allocation": words, "schedule": words}
    swept = {"calibration": words, "masks_differ": 0.1}
    return [swept | row for row in (*found, reference, broken, pattern)]


def outcome(words: str, origin: str = "here") -> Outcome:
    found = rows(words)
    return Outcome(protocol(words), found, {}, len(found), origin)


def run(words: str) -> Run:
    point = Point(f"dense {words}", words, None, 12.0)
    return Run("0" * 16, words, words, words, words, words, (point,), words)


def texts(words: str) -> Texts:
    recorded = json.loads((ASSETS / "recorded" / "texts-half.json").read_text(encoding="utf-8"))
    columns = [column | {"name": words, "text": words, "packed": words} for column in recorded["columns"]]
    return Texts(recorded["protocol"] | protocol(words) | {"prompt": words}, columns)


def refused(words: str) -> str:
    """What the panel says of values that it does not take."""
    said = ""
    for name in (
        "source",
        "calibration",
        "amounts",
        "methods",
        "dataset",
        "revision",
        "seeds",
        "schedule",
        "dtype",
    ):
        for value in (words, [words]):
            usual = DEFAULTS | {"source": "pocket", "calibration": "stories", "evaluation": "stories"}
            asked = usual | {"amounts": ["50"], "methods": ["wanda"], name: value}
            try:
                check_panel(asked, ["pocket"])
            except Refused as error:
                said += status_line.failed(error)
            said += "".join(estimate(asked, ["pocket"]))
    return said


def preview_of(words: str) -> str:
    scope = {"headers": [(b"host", words.encode())], "scheme": "http", "root_path": ""}
    return preview._tags(scope).decode()


HTML: dict[str, Callable[[str], str]] = {
    "results": lambda words: report.summary(outcome(words)) + report.table(outcome(words)),
    "results of a saved file": lambda words: (
        report.summary(outcome(words, "saved")) + report.table(outcome(words, "saved"))
    ),
    "recorded results": lambda words: report.recorded_table(outcome(words, "recorded")),
    "protocol": lambda words: report.protocol(outcome(words)),
    "sensitivity": lambda words: report.sensitivity(outcome(words)),
    "claims": lambda words: report.claims(outcome(words)),
    "budget": lambda words: report.reach(outcome(words), 10),
    "what changed": lambda words: report.changed([words]),
    "a model that is not measured": report.nothing_yet,
    "a refusal": lambda words: status_line.failed(words),
    "a state": lambda words: status_line.ready(words) + status_line.working(words, 0.5, words),
    "what the panel refuses": refused,
    "kept runs": lambda words: runs_table([run(words)]),
    "texts": lambda words: show(texts(words)) + show(texts(words), recorded=True),
    "a preview's tags": preview_of,
    "the report": lambda words: report_html(
        protocol(words),
        rows(words),
        layers=cast("Any", {words: [SimpleNamespace(block=0, kind=words, sparsity=0.5, error=0.1)]}),
        texts=(words, [ReportText(words, words, words)]),
        sizes={words: 1},
        command=words,
    ),
}


@pytest.mark.parametrize("place", HTML)
def test_what_becomes_html_is_text(tried: Tried, place: str) -> None:
    for words in MARKUP.values():
        html = HTML[place](words)
        assert not Elements(html).bad, (place, words)
        tried(KIND)


def test_what_becomes_a_chart_is_json(tried: Tried) -> None:
    """A page puts a chart's JSON into a script nowhere; its names hold no element that Plotly would draw."""
    for words in MARKUP.values():
        figure = new_figure(300)
        figure.add_scatter(x=[1], y=[1], name="x")
        found = json.loads(drawn(figure, "x", title=words, source=words).plot)
        assert found["layout"]["meta"] == {"title": words, "source": words, "name": words}
        tried(KIND)


def test_runs_of_a_browser_or_a_file_hold_no_markup_but_in_a_note(tried: Tried) -> None:
    good = summary_of("0" * 16, protocol("x"), rows("x")[:3], "samples=2")
    kept = json.loads(as_json([good]))
    for words in MARKUP.values():
        for place in ("date", "source", "text", "evaluation_sha256", "link", "id"):
            hostile = json.loads(json.dumps(kept))
            hostile["runs"][0][place] = words
            with pytest.raises(Refused):
                read_runs(json.dumps(hostile))
            tried(KIND)
        for place in ("method", "pattern", "recovery"):
            hostile = json.loads(json.dumps(kept))
            hostile["runs"][0]["points"][0][place] = words
            with pytest.raises(Refused):
                read_runs(json.dumps(hostile))
            tried(KIND)
        # What is measured here is brought into that form.
        read_runs(as_json([summary_of("0" * 16, protocol(words), rows("x")[:3], "")]))


def test_no_cell_of_a_table_is_a_formula(tried: Tried) -> None:
    for words in FORMULAS:
        cells = [cell for row in csv.reader(io.StringIO(to_csv(rows(words)), newline="")) for cell in row]
        assert not [cell for cell in cells if cell.startswith(("=", "+", "@", "\t", "\r"))], words
        assert not [cell for cell in cells if cell.startswith("-") and not _number(cell)], words
        assert f"'{words}" in cells or words.replace("\r", " ") in cells
        tried(KIND)


def _number(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return False
    return True
