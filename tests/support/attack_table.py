"""The table at the end of pytest's output: which attacks were tried, how often, and how many the product withstood.

Named in `tests/conftest.py`: pytest's controlling process, which prints it, reads no other.
"""

from __future__ import annotations

from collections import Counter

from _pytest.terminal import TerminalReporter

PROPERTY = "attack"
"""Of a test's report: kind and number of what it tried."""


def pytest_terminal_summary(terminalreporter: TerminalReporter) -> None:
    tried: Counter[str] = Counter()
    passed: Counter[str] = Counter()
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
    if not tried:
        return
    terminalreporter.section("attacks")
    width = max(map(len, tried))
    terminalreporter.write_line(f"{'':{width}}  tried  passed")
    for kind in sorted(tried):
        terminalreporter.write_line(f"{kind:{width}}  {tried[kind]:5}  {passed[kind]:6}")
