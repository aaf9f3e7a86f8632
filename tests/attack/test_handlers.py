"""Values that no page sends, to every handler and function of a real server: each is answered by a sentence or a plain
refusal, and afterwards the server is as it was."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from tests.attack.client import BUTTONS, TINY, Target, assert_no_more_is_held, sentence
from tests.support.requests import SMALL, parameters

pytestmark = pytest.mark.long
Tried = Callable[..., None]
KIND = "hostile requests"
DEEP = json.loads("[" * 80 + "]" * 80)
"""In place of each of fifty values, and still no more of them than a request may hold."""
FILE = {"path": "/etc/passwd", "meta": {"_type": "gradio.FileData"}}
ELSEWHERE = FILE | {"path": "http://127.0.0.1:1/x", "url": "http://127.0.0.1:1/x"}
VALUES: dict[str, Any] = {
    "null": None,
    "huge number": 10**400,
    "NaN": math.nan,
    "half an emoji": "\ud83e",
    "nested": DEEP,
    "object": {"__class__": "x", "value": {}},
    "file of the server": FILE,
    "address as a file": ELSEWHERE,
    "long text": "x" * 100_000,
}


EVENT_DATA: dict[str, Any] = {
    "nothing": None,
    "list": [1, 2],
    "text": "\ud83e",
    "wrong parts": {"chart": ["map"], "x": {"a": 1}, "y": [2], "point": "1", "perplexity": [1]},
    "huge parts": {"chart": "window", "x": 1e308, "y": 10**400, "point": 10**400, "perplexity": 1e308},
    "NaN parts": {"chart": "window", "x": math.nan, "y": math.inf, "point": -1, "perplexity": math.nan},
}


@pytest.mark.parametrize("value", VALUES)
def test_every_handler_takes_any_value(target: Target, tried: Tried, value: str) -> None:
    """In place of every value, and one too many."""
    for handler in target.handlers:
        number = len(handler["inputs"])
        if number and not target.runs_whatever_it_gets(handler):
            (answer,) = target.press_all(handler, [[VALUES[value]] * (number + 1)])
            sentence(answer)
            tried(KIND)


def test_every_handler_takes_too_few_values(target: Target, tried: Tried) -> None:
    for handler in target.handlers:
        usual = target.usual(handler)
        if usual:
            for answer in target.press_all(handler, [usual[:-1], []]):
                assert sentence(answer), f"too few were enough for {handler['api_name']}"
            tried(KIND, 2)


@pytest.mark.parametrize("button", BUTTONS)
def test_a_run_takes_one_wrong_value_at_a_time(target: Target, tried: Tried, button: str) -> None:
    """Each control in turn holds what it cannot; the run is refused, or the control is none that it asks: then the next
    one takes its place."""
    handler = target.handler(button)
    usual = target.usual(handler, **TINY)
    sent = []
    for place in range(1, len(usual)):
        for wrong in (VALUES["object"], VALUES["huge number"]):
            sent.append([*usual[:place], wrong, *usual[place + 1 :]])
    answers = target.press_all(handler, sent)
    assert len(answers) == len(sent)
    for answer in answers:
        sentence(answer)
    tried(KIND, len(sent))


@pytest.mark.parametrize("data", EVENT_DATA)
def test_every_handler_takes_any_event(target: Target, tried: Tried, data: str) -> None:
    for handler in target.handlers:
        usual = target.usual(handler)
        if handler["targets"] and handler["targets"][0][1] in ("click", "release", "upload", "select"):
            if len(usual) > 15:  # a run
                continue
            sentence(target.press(handler, usual, event_data=EVENT_DATA[data]))
            tried(KIND)


FUNCTIONS = ("measure", "inspect", "generate", "ask", "latency", "export")


@pytest.mark.parametrize("name", FUNCTIONS)
def test_every_argument_of_the_api_takes_any_value(target: Target, tried: Tried, name: str) -> None:
    """And too few or too many of them."""
    (handler,) = (each for each in target.handlers if each["api_name"] == name)
    known = parameters(target.address, name)
    usual = [
        (SMALL | {"source": "no such model", "prompt": "x"}).get(
            p["parameter_name"], p.get("parameter_default")
        )
        for p in known
    ]
    sent = [[], usual[:-1], [*usual, *usual], "text", {"source": "pocket"}]
    for place in range(len(usual)):
        for wrong in (*list(VALUES.values())[:8], FILE, ELSEWHERE):
            sent.append([*usual[:place], wrong, *usual[place + 1 :]])
    lists = [data for data in sent if isinstance(data, list)]
    answers = target.press_all(handler, lists)
    assert len(answers) == len(lists)
    for answer in answers:
        assert sentence(answer)
    for data in sent:
        if not isinstance(data, list):
            assert target.join(handler, data, "hostile").status_code == 422
    tried(KIND, len(sent))


BROWSERS = [
    None,
    "",
    "short",
    "x" * 64,
    "x" * 65,
    "a" * 1_000_000,
    ["a" * 32],
    {"a": "b"},
    7,
    True,
    "\ud83e",
    "<b>" * 10,
]


def test_a_forged_browser_state_owns_nothing(target: Target, tried: Tried) -> None:
    """Neither finds, follows nor stops a job of another."""
    run, stop = target.handler("run"), target.handler("run-stop")
    usual = target.usual(run, model="pocket", calibration="stories", evaluation="stories")
    owner = "b" * 32
    job = usual_long(target, run, owner)
    with ThreadPoolExecutor(1) as pool:
        own = pool.submit(target.press, run, job)
        for forged in BROWSERS:
            sentence(target.press(stop, [forged]))
            tried(KIND)
        answer = own.result(300)
    assert answer["success"]
    assert "Done in" in json.dumps(answer["output"]), "it was stopped by another"
    assert usual


def usual_long(target: Target, run: dict[str, Any], owner: str) -> list[Any]:
    """A run of some seconds, asked for by that browser."""
    values = target.usual(
        run,
        model="pocket",
        calibration="stories",
        evaluation="stories",
        amounts=["10", "20", "30", "40", "60"],
    )
    values[0] = owner
    return values


def test_the_server_holds_no_more_than_before(target: Target) -> None:
    assert_no_more_is_held(target)
