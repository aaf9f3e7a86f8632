"""The chart of perplexity: which points belong together."""

from __future__ import annotations

from components.display.perplexity_chart import Mark, perplexity_figure


def mark(method: str, sparsity: float, perplexity: float, pattern: str = "unstructured") -> Mark:
    return Mark(method, f"{method} {sparsity}", sparsity, pattern, perplexity, None, "")


def test_a_recovered_point_is_joined_to_the_same_one_before() -> None:
    marks = [
        mark("wanda", 0.5, 78.0),
        mark("wanda recovered", 0.5, 60.0),
        mark("magnitude", 0.5, 480.0),
        mark("wanda", 0.5, 240.0, "2:4"),
        mark("wanda recovered", 0.5, 120.0, "2:4"),
        mark("magnitude recovered", 0.7, 900.0),
    ]
    figure = perplexity_figure(marks, {"Dense": 36.6})
    joined = [(list(line.x), list(line.y)) for line in figure.data if line.name == "recovery"]
    assert joined == [([50, 50], [78.0, 60.0]), ([50, 50], [240.0, 120.0])]
    curves = {line.name: line.line.dash for line in figure.data if line.mode == "lines+markers"}
    assert curves == {
        "Wanda": "solid",
        "Wanda recovered": "dash",
        "Magnitude": "solid",
        "Magnitude recovered": "dash",
    }


def test_without_a_recovery_nothing_is_joined() -> None:
    figure = perplexity_figure([mark("wanda", 0.5, 78.0), mark("wanda", 0.7, 900.0)], {"Dense": 36.6})
    assert not [line for line in figure.data if line.name == "recovery"]


def test_an_ordered_point_is_joined_to_the_same_one_before_and_after() -> None:
    marks = [
        mark("wanda", 0.5, 240.0, "2:4"),
        mark("wanda ordered", 0.5, 190.0, "2:4"),
        mark("wanda ordered recovered", 0.5, 110.0, "2:4"),
        mark("magnitude ordered", 0.5, 500.0, "4:8"),
    ]
    figure = perplexity_figure(marks, {"Dense": 36.6})
    joined = [(line.name, list(line.y)) for line in figure.data if line.name in ("recovery", "order")]
    assert joined == [("order", [240.0, 190.0]), ("recovery", [190.0, 110.0])]
