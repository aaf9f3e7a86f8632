"""Links that last: the settings in the address, so that it opens the same page tomorrow, on another server.

What a visitor types as text (own text, prompts) and folders of this machine are never in it.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import gradio as gr

from components.display.status_line import failed, ready
from components.page.link_settings import Setting, one_of

LONGEST = 2000
"""Characters of a link's settings."""


PERCENT = tuple(str(percent) for percent in range(10, 100, 10))


TABS = ("results", "far", "inside", "text", "speed")


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
            one_of(TABS)(asked.get("tab", TABS[0]))
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
