"""The table at the end of pytest's output: which attacks were tried, how often, how many the product withstood, and how
long others waited for the page meanwhile.

Named in `tests/conftest.py`: pytest's controlling process, which prints it, reads no other.
"""

from __future__ import annotations

from collections import Counter

from _pytest.terminal import TerminalReporter

PROPERTY = "attack"
"""Of a test's report: kind and number of what it tried."""
ANSWERED = "answered"
"""Of a test's report: seconds that `/config` took meanwhile."""


def pytest_terminal_summary(terminalreporter: TerminalReporter) -> None:
    tried: Counter[str] = Counter()
    passed: Counter[str] = Counter()
    seconds: list[float] = []
    for status in ("passed", "failed", "error"):
        for report in terminalreporter.stats.get(status, []):
            # Properties stand in the reports of setting up, call and taking down alike.
            if report.when != "call" and status == "passed":
                continue
            for name, value in report.user_properties:
                if name == PROPERTY:
                    kind, number = value
                    tried[kind] += number
                    passed[kind] += number * (status == "passed")
                elif name == ANSWERED:
                    seconds += value
    if not tried:
        return
    terminalreporter.section("attacks")
    width = max(map(len, tried))
    terminalreporter.write_line(f"{'':{width}}  tried  passed")
    for kind in sorted(tried):
        terminalreporter.write_line(f"{kind:{width}}  {tried[kind]:5}  {passed[kind]:6}")
    if seconds:
        seconds.sort()
        middle, late = (1000 * seconds[int(share * len(seconds))] for share in (0.5, 0.95))
        terminalreporter.write_line(
            f"/config during hostile requests: median {middle:.0f} ms, 95th percentile {late:.0f} ms, longest "
            f"{1000 * seconds[-1]:.0f} ms of {len(seconds)}"
        )
