"""Links that last: the settings in the address, so that it opens the same page tomorrow, on another server.

What a visitor types as text (own text, prompts) and folders of this machine are never in it.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import gradio as gr

from components.job import HUB_ID, PATTERNS, TEXTS
from components.status import failed, ready
from wanda_core.methods import METHODS
from wanda_core.recipe import SCHEDULES

LONGEST = 2000
"""Characters of a link's settings."""
PERCENT = tuple(str(percent) for percent in range(10, 100, 10))
TABS = ("results", "far", "inside", "text", "speed")


@dataclass(frozen=True)
class Setting:
    """One setting: its name in the address, its component, and what its words there mean."""

    key: str
    component: gr.components.Component
    parse: Callable[[str], Any]
    """Raises `ValueError` where the words are none of it."""


def panel_settings(inputs: Sequence[gr.components.Component]) -> list[Setting]:
    """Those of the recipe panel; its own text is left out."""
    (
        source,
        calibration,
        evaluation,
        _,
        methods,
        percent,
        pattern,
        samples,
        length,
        windows,
        schedule,
        seed,
    ) = inputs

    def model(words: str) -> str:
        if words == "pocket" or (HUB_ID.fullmatch(words) and ".." not in words):
            return words
        raise ValueError

    texts = [key for key in TEXTS if key != "own"]
    return [
        Setting("model", source, model),
        Setting("calibration", calibration, _one_of(texts)),
        Setting("evaluation", evaluation, _one_of(texts)),
        Setting("methods", methods, _some_of(list(METHODS))),
        Setting("sparsity", percent, _whole(0, 95)),
        Setting("pattern", pattern, _one_of(PATTERNS)),
        Setting("samples", samples, _whole(1, 10**6)),
        Setting("length", length, _whole(2, 10**6)),
        Setting("windows", windows, _whole(1, 10**6)),
        Setting("schedule", schedule, _one_of(SCHEDULES)),
        Setting("seed", seed, _whole(0, 2**31 - 1)),
    ]


def far_settings(inputs: Sequence[gr.components.Component]) -> list[Setting]:
    """Those of the view How far."""
    sparsities, patterns, int8, samples, seeds, texts, _ = inputs
    return [
        Setting(
            "sparsities", sparsities, lambda words: [int(_one_of(PERCENT)(part)) for part in _parts(words)]
        ),
        Setting("patterns", patterns, _some_of(PATTERNS[1:])),
        Setting("int8", int8, lambda words: _one_of(("true", "false"))(words) == "true"),
        Setting("sweep-samples", samples, _numbers),
        Setting("sweep-seeds", seeds, _numbers),
        Setting("sweep-texts", texts, _some_of([key for key in TEXTS if key != "own"] + ["random"])),
    ]


def text_settings(inputs: Sequence[gr.components.Component]) -> list[Setting]:
    """Those of the Text view; the prompt is left out."""
    _, new_tokens, temperature, top_p, seed, pack = inputs
    return [
        Setting("tokens", new_tokens, _whole(1, 10**4)),
        Setting("temperature", temperature, _number(0, 10)),
        Setting("top-p", top_p, _number(0, 1)),
        Setting("text-seed", seed, _whole(0, 2**31 - 1)),
        Setting("packed", pack, lambda words: _one_of(("true", "false"))(words) == "true"),
    ]


def connect(
    demo: gr.Blocks, tabs: gr.Tabs, notice: gr.HTML, settings: Sequence[Setting], sources: Sequence[str]
) -> None:
    """Restore the settings of an opened link, and keep the address up to date.

    Args:
        sources: models on offer; but for `pocket` they are folders and files of this machine.
    """
    outputs = [notice, *(setting.component for setting in settings)]

    def restore(request: gr.Request) -> list[Any]:
        asked = dict(request.query_params)
        own = {"tab", *(setting.key for setting in settings)} & set(asked)
        default = [gr.skip()] * len(outputs)
        if not own:
            return default
        try:
            if sum(len(asked[key]) for key in own) > LONGEST:
                raise ValueError
            _one_of(TABS)(asked.get("tab", TABS[0]))
            values = [s.parse(asked[s.key]) if s.key in asked else None for s in settings]
        except ValueError:
            said = "this link does not hold settings of this page: it opened with the usual ones"
            return [gr.update(value=failed(said), visible=True), *default[1:]]
        return [
            gr.update(value=ready("The settings are those of the link. Press Run to measure."), visible=True),
            *(gr.skip() if value is None else gr.update(value=value) for value in values),
        ]

    def open_tab(request: gr.Request) -> Any:
        tab = request.query_params.get("tab")
        return gr.Tabs(selected=tab) if tab in TABS else gr.skip()

    hidden = {"api_visibility": "private", "show_progress": "hidden"}
    # The tab after the rest: what is chosen before the page is there is forgotten.
    demo.load(restore, None, outputs, **hidden).then(open_tab, None, tabs, **hidden)
    here = json.dumps([source for source in sources if source != "pocket"])
    keys = json.dumps([setting.key for setting in settings])
    write = f"""(...values) => {{
        const query = new URLSearchParams(window.location.search);
        {keys}.forEach((key, i) => {{
            const value = values[i];
            const local = key === "model" && {here}.includes(value);
            const empty = value === null || value === undefined || value === "" || value.length === 0;
            if (empty || local || value === "own" || (Array.isArray(value) && value.includes("own")))
                query.delete(key);
            else query.set(key, String(value));
        }});
        history.replaceState(null, "", "?" + query);
    }}"""
    components = [setting.component for setting in settings]
    gr.on([c.input for c in components], None, components, None, js=write, queue=False)
    # The first tab is selected as the page opens, before the link's own is.
    show = """(tab) => {
        const first = !window.wandaLabTab;
        window.wandaLabTab = tab;
        if (first && tab === "results") return;
        const query = new URLSearchParams(window.location.search);
        query.set("tab", tab);
        history.replaceState(null, "", "?" + query);
    }"""
    for tab in tabs.children:
        tab.select(None, None, None, js=f'() => ({show})("{tab.id}")', queue=False)


def _parts(words: str) -> list[str]:
    return [part.strip() for part in words.split(",") if part.strip()]


def _one_of(choices: Sequence[str]) -> Callable[[str], str]:
    def parse(words: str) -> str:
        if words not in choices:
            raise ValueError
        return words

    return parse


def _some_of(choices: Sequence[str]) -> Callable[[str], list[str]]:
    return lambda words: [_one_of(choices)(part) for part in _parts(words)]


def _number(least: float, most: float) -> Callable[[str], float]:
    def parse(words: str) -> float:
        value = float(words)
        if not least <= value <= most:
            raise ValueError
        return value

    return parse


def _whole(least: int, most: int) -> Callable[[str], int]:
    def parse(words: str) -> int:
        value = int(words)
        if not least <= value <= most:
            raise ValueError
        return value

    return parse


def _numbers(words: str) -> str:
    return ", ".join(str(_whole(0, 2**31 - 1)(part)) for part in _parts(words))
