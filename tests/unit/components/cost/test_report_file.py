"""The report of the page: with what other views found, and the command line that repeats it."""

from __future__ import annotations

import shlex
from dataclasses import replace
from pathlib import Path

from components.cost.report_file import command, report_file
from components.speed.job import recorded
from components.text.job import recorded_texts
from tests.unit.components.cost.conftest import Make
from wanda_core import Recipe
from wanda_core.__main__ import _parser

WANDA = (Recipe("wanda", 0.5), (0.3, 0.3, 0.2, 0.3))


def test_texts_and_speed_are_in_it(make: Make) -> None:
    texts, latency = recorded_texts("half"), recorded()
    html = Path(report_file(make([WANDA]), 10, texts.reported() | latency.reported())).read_text("utf-8")
    for heading in ("Texts", "Sizes", "Speed"):
        assert f"<h2>{heading}</h2>" in html
    assert texts.columns[1]["text"][:40] in html
    # Recorded: 60.4549 ms a token dense, 41.8539 ms packed 2:4, 538,060,032 bytes.
    assert "1.44 times as fast" in html
    assert "0.5 GB" in html


def test_two_visitors_do_not_get_each_others_texts(make: Make) -> None:
    outcome = make([WANDA])
    files = {report_file(outcome, 10, {}), report_file(outcome, 10, recorded_texts("half").reported())}
    assert len(files) == 2


def test_the_command_line_asks_for_the_same(make: Make) -> None:
    outcome = make(
        [
            (Recipe("wanda", 0.5, group="layer", allocation="0=0.4", schedule="block"), (0.3, 0.3, 0.2, 0.3)),
            (Recipe("wanda", pattern="2:4", schedule="block"), (0.3, 0.3, 0.2, 0.3)),
            (
                Recipe("wanda", pattern="2:4", schedule="block", order="channels", bits=8),
                (0.3, 0.3, 0.2, 0.3),
            ),
        ]
    )
    asked = outcome.asked
    assert asked is not None
    outcome.asked = replace(asked, setup=replace(asked.setup, chat=True, dtype="bfloat16", revision="main"))
    line = command(outcome)
    assert line is not None
    options = _parser(None, None).parse_args(shlex.split(line)[1:])
    assert (options.group, options.allocation, options.schedule) == ("layer", "0=0.4", "block")
    assert (options.patterns, options.order, options.bits) == (["2:4"], "channels", ["16", "8"])
    assert (options.chat, options.dtype, options.revision) == (True, "bfloat16", "main")
    assert (options.samples, options.length, options.windows, options.eval_length) == (4, 256, 8, 256)
