"""What Speed says of the machine's limits."""

from __future__ import annotations

from components.speed.job import recorded
from components.speed.report import rates_html
from wanda_core.speed.timing import new_row


def test_rates_are_shown_as_shares_of_the_most() -> None:
    rows = [
        new_row(
            part="layer", shape="64x32", tokens=16, kernel="2:4 numba",
            gigabytes_per_second=5.0, gigaflops_per_second=150.0,
        ),
        new_row(part="layer", shape="64x32", tokens=16, kernel="bitmask numba", error="not here"),
        new_row(part="decode", tokens=1, kernel="2:4", gigabytes_per_second=10.0),
    ]  # fmt: skip
    said = rates_html(rows, {"peaks": {"gigabytes_per_second": 20.0, "gigaflops_per_second": 100.0}})
    assert "at most 20 GB/s read and 100 GFLOP/s multiplied" in said
    assert said.count("<tr>") == 2  # with the header's
    assert "64x32, 16 tokens</th><td>2:4 packed</td><td>5</td><td>25%</td><td>150</td><td>150%</td>" in said


def test_what_was_recorded_without_them_says_nothing() -> None:
    outcome = recorded()
    assert "peaks" in outcome.protocol or rates_html(outcome.rows, outcome.protocol) == ""
