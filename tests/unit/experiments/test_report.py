"""The report: whole, by itself, escaped, and saying no more than the intervals bear out."""

from __future__ import annotations

import json
import math
import re
from collections import Counter
from html.parser import HTMLParser
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from wanda_core.__main__ import main
from wanda_core.assets import ASSETS
from wanda_core.experiments.report import ReportSpeed, ReportText, point_name, report_html
from wanda_core.experiments.rows import COLUMNS, Row, load_json, rows_of
from wanda_core.experiments.svg_charts import Mark, curve, heat_map
from wanda_core.pruning.result import LayerReport

PROTOCOL = {
    "source": "pocket",
    "evaluation": "e.txt",
    "windows": 8,
    "eval_length": 64,
    "evaluation_sha256": "ab",
}
EVIL = "<script>alert('1')</script>\"&"
SECTIONS = [
    "Verdict",
    "Perplexity by share of weights pruned",
    "Every point",
    "Output error of every layer",
    "Texts",
    "Sizes",
    "Speed",
    "Protocol",
    "Limits",
    "Repeat it",
]


def row(method: str, sparsity: float, worse: float, spread: float = 0.01, **more: Any) -> Row:
    """A row whose windows lose `worse` nats more than dense, more or less."""
    losses = np.linspace(2, 4, 8) + worse + spread * np.cos(np.arange(8) * (1 + len(method)))
    made = dict.fromkeys(COLUMNS) | {
        "method": method,
        "sparsity": sparsity,
        "sparsity_reached": sparsity,
        "pattern": "unstructured" if sparsity else None,
        "perplexity": math.exp(losses.mean()),
        "perplexity_low": math.exp(losses.mean() - 0.5),
        "perplexity_high": math.exp(losses.mean() + 0.5),
        "window_losses": losses.tolist(),
        "evaluation_sha256": "ab",
        "kl_to_dense": 0.1,
        "top1_changed": 0.2,
    }
    return made | more


ROWS = [
    row("dense", 0.0, 0.0, 0.0),
    row("wanda", 0.5, 0.1),
    row("magnitude", 0.5, 0.4),
    row("wanda", 0.7, 0.8, 0.3),
    row("magnitude", 0.7, 0.81, 0.3),
    row("wanda", 0.5, 0.3, pattern="2:4"),
    row("ria", 0.5, 0, perplexity=None, error="2:5 does not divide 32"),
]
LAYERS = [LayerReport(f"{b}.{k}", b, k, 100, 50, 0.1 * (b + 1), 0.0) for b in range(3) for k in ("q", "down")]
FULL = {
    "layers": {"wanda 50%": LAYERS},
    "texts": ("A prompt", [ReportText("dense", "a text", "perplexity 3")]),
    "speed": [ReportSpeed("decode", 59.0, 40.0), ReportSpeed("prefill", 590.0, 700.0)],
    "sizes": {"Dense": 2_000_000_000, "Packed 2:4": 1_200_000_000},
    "command": "wanda-lab compare pocket --report r.html",
}


class Outline(HTMLParser):
    """Headings, tags in balance, and what is fetched from elsewhere."""

    VOID = ("meta",)

    def __init__(self, html: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.headings: list[str] = []
        self.tags: list[str] = []
        self.fetched: list[str] = []
        self.feed(html)
        assert self.open == []

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.fetched += [value or "" for key, value in attributes if key in ("src", "href", "xlink:href")]
        assert not any(key.startswith("on") for key, _ in attributes)
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open[-1:] == ["h2"]:
            self.headings.append(data)


def test_a_whole_report_has_every_part_and_needs_nothing_else() -> None:
    html = report_html(PROTOCOL, ROWS, **FULL)
    outline = Outline(html)
    assert outline.headings == SECTIONS
    assert outline.fetched == []
    assert "script" not in outline.tags
    assert outline.tags.count("svg") == 3
    assert outline.tags.count("table") == 3
    assert "url(" not in html
    assert "@media print" in html
    assert "prefers-color-scheme: dark" in html
    assert "2:5 does not divide 32" in html
    assert "2.0 GB" in html
    assert "1.48 times as fast" in html
    assert "1.19 times as slow" in html
    assert "wanda-lab compare pocket --report r.html" in html


def test_parts_without_content_are_left_out() -> None:
    assert Outline(report_html(PROTOCOL, ROWS[:1])).headings == [
        "Verdict",
        "Every point",
        "Protocol",
        "Limits",
    ]
    Outline(report_html({}, []))


def test_the_verdict_follows_from_the_windows() -> None:
    html = report_html(PROTOCOL, ROWS)
    differences = np.subtract(ROWS[2]["window_losses"], ROWS[1]["window_losses"])
    margin = 2.3646243 * differences.std(ddof=1) / math.sqrt(8)  # Student's t, 7 degrees of freedom
    low, high = 1 - math.exp(margin - differences.mean()), 1 - math.exp(-margin - differences.mean())
    said = re.search(
        r"At 50%, wanda has the lowest perplexity, [\d.]+: <strong>(.*?) lower than that of magnitude", html
    )
    assert said
    assert said[1] == (f"{low:.0%} to {high:.0%}" if f"{low:.0%}" != f"{high:.0%}" else f"{low:.0%}")
    assert re.search(
        r"At 70%, \w+ has the lowest perplexity, [\d.]+\. From \w+ \([\d.]+\) there is no difference that",
        html,
    )


def test_nothing_is_called_better_without_the_same_windows() -> None:
    html = report_html(PROTOCOL, [ROWS[0], ROWS[1], ROWS[2] | {"evaluation_sha256": "cd"}])
    assert "At 50%, no method can be called better: these results were measured on different windows" in html
    html = report_html(PROTOCOL, [ROWS[0], ROWS[1], ROWS[2] | {"window_losses": None}])
    assert "no method can be called better: these results hold no losses of single windows" in html


def test_everything_is_escaped() -> None:
    evil_row = row("wanda", 0.5, 0.1) | {
        "method": EVIL,
        "allocation": EVIL,
        "calibration": EVIL,
        "samples": 3,
    }
    failed = row("ria", 0.5, 0.0) | {"perplexity": None, "error": EVIL}
    html = report_html(
        {"source": EVIL, "evaluation": EVIL, EVIL: EVIL},
        [ROWS[0], evil_row, failed, row("wanda", 0.5, 0.2, samples=4)],
        layers={EVIL: [LayerReport("x", 0, EVIL, 1, 1, 0.5, 0.0)]},
        texts=(EVIL, [ReportText(EVIL, EVIL, EVIL)]),
        speed=[ReportSpeed(EVIL, 1.0, 2.0, EVIL, EVIL)],
        command=EVIL,
    )
    assert "<script" not in html
    assert "alert('1')" not in html
    assert html.count("&lt;script&gt;") > 15
    Outline(html)


@pytest.mark.parametrize("perplexity", [math.inf, 1e300])
def test_a_broken_model_stays_at_the_edge(perplexity: float) -> None:
    broken = row("random", 0.7, 1.0) | {"perplexity": perplexity, "perplexity_high": math.inf}
    html = report_html(PROTOCOL, [*ROWS, broken])
    assert "nan" not in html
    heights = [float(y) for y in re.findall(r'\by[12]?="(-?[\d.]+)"', html)]
    assert all(-1 <= y <= 400 for y in heights)


def test_whiskers_stay_above_the_axis() -> None:
    svg = curve(
        {"wanda": [Mark(0.5, 20.0, 8.0, 50.0, True, "x"), Mark(0.6, 20.0, 0.1, 50.0, True, "x")]}, 18.0, 0.1
    )
    axis = float(re.search(r'class="axis"[^>]* y1="([\d.]+)"', svg)[1])  # type: ignore[index]
    ends = [float(y) for y in re.findall(r'class="whisker[^>]* y1="([\d.]+)"', svg)]
    assert len(ends) == 2
    assert ends[0] < ends[1] <= axis


def test_marks_lie_where_their_figures_are() -> None:
    """Twice the perplexity is the same step up wherever it begins."""
    marks = [Mark(s, 10 * 2.0**i, None, None, True, "x") for i, s in enumerate((0.1, 0.2, 0.3))]
    svg = curve({"wanda": marks}, 10.0, 0.1)
    dots = [(float(x), float(y)) for x, y in re.findall(r'<circle[^>]* cx="([\d.]+)" cy="([\d.]+)"', svg)]
    (x0, y0), (x1, y1), (x2, y2) = dots
    assert x1 - x0 == pytest.approx(x2 - x1, abs=0.2)
    assert y0 - y1 == pytest.approx(y1 - y2, abs=0.2)
    dense = float(re.search(r'class="dense"[^>]* y1="([\d.]+)"', svg)[1])  # type: ignore[index]
    assert dense == pytest.approx(y0, abs=0.1)


def test_cells_are_as_dark_as_their_values() -> None:
    svg = heat_map({(0, "q"): 0.1, (1, "q"): 0.4, (0, "down"): 0.0}, 0.4, "errors")
    assert re.findall(r'fill-opacity="([\d.]+)"', svg) == ["0.250", "1.000", "0.000"]
    assert "block 1, q: 40.0%" in svg


def test_the_command_line_writes_one(tmp_path: Path) -> None:
    pocket, file, results = ASSETS / "pocket", tmp_path / "r.html", tmp_path / "r.json"
    texts = ["--calibration", str(pocket / "calibration.txt"), "--evaluation", str(pocket / "evaluation.txt")]
    numbers = ["--samples", "2", "--length", "32", "--windows", "4", "--eval-length", "32"]
    command = ["compare", "pocket", *texts, *numbers, "--json", str(results), "--report", str(file)]
    assert main(command) == 0
    html = file.read_text()
    assert Outline(html).headings == [s for s in SECTIONS if s not in ("Texts", "Sizes", "Speed")]
    for measured in load_json(results)[1]:
        assert f"{measured['perplexity']:.4g}" in html
    assert f"wanda-lab {' '.join(command)}" in html
    assert html.count('class="cell"') == 2 * 42 + 10  # two points of 6 blocks with 7 layers, and the scale


GOLDEN = Path(__file__).with_name("smollm2-report.txt")


def structure(html: str) -> str:
    """A report's tags, indented by depth, with its headings; of a picture, how many of each kind it has."""

    class Tags(HTMLParser):
        def __init__(self) -> None:
            super().__init__()
            self.depth = 0
            self.lines: list[str] = []
            self.picture: Counter[str] | None = None

        def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
            if self.picture is not None:
                self.picture[tag] += 1
                return
            self.lines.append("  " * self.depth + tag)
            self.depth += tag not in Outline.VOID
            self.picture = Counter() if tag == "svg" else None

        def handle_startendtag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
            self.handle_starttag(tag, attributes)

        def handle_endtag(self, tag: str) -> None:
            if self.picture is None or tag == "svg":
                self.depth -= 1
            if tag == "svg" and self.picture is not None:
                self.lines[-1] += "".join(f" {kind} {many}" for kind, many in sorted(self.picture.items()))
                self.picture = None

        def handle_data(self, data: str) -> None:
            if self.lines and self.lines[-1].strip() in ("h1", "h2", "th"):
                self.lines[-1] += f" {data.strip()}"

    tags = Tags()
    tags.feed(html)
    return "\n".join(tags.lines) + "\n"


def test_the_report_of_a_real_run_has_the_structure_that_was_looked_at() -> None:
    content = json.loads((ASSETS / "recorded" / "cost-smollm2.json").read_text(encoding="utf-8"))
    rows = rows_of(content)
    layers = {
        point_name(rows[int(index)]): [SimpleNamespace(**report) for report in reports]
        for index, reports in content["layers"].items()
    }
    html = report_html(content["protocol"], rows, layers=layers, command="wanda-lab compare smollm2")
    assert structure(html) == GOLDEN.read_text(encoding="utf-8")
