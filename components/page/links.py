"""Links that last: what differs from the default is in the address, so that it opens the same page tomorrow.

What a visitor types as text (own text, prompts) and files and folders of this machine are never in it.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import gradio as gr

from components.display.status_line import ready
from components.page.form import Control

LONGEST = 2000
"""Characters of a link's settings."""

WRITE = """(...values) => {
    const [keys, defaults, local, tied] = SETTINGS;
    const query = new URLSearchParams(window.location.search);
    keys.forEach((key, i) => {
        let value = values[i];
        if (value === true) value = "on";
        if (value === false) value = "off";
        const words = Array.isArray(value) ? value.join(",") : String(value ?? "");
        const usual = words === defaults[i] && !(key in tied && query.has(tied[key]));
        if (words === "" || usual || local.includes(words)) query.delete(key);
        else query.set(key, words);
    });
    const said = query.toString();
    history.replaceState(null, "", said ? "?" + said : window.location.pathname);
}"""
"""Keeps the address up to date."""

SHOW = """() => {
    const query = new URLSearchParams(window.location.search);
    if (KEY === FIRST) query.delete("view"); else query.set("view", KEY);
    const said = query.toString();
    if (window.wandaLabOpened) history.replaceState(null, "", said ? "?" + said : window.location.pathname);
    window.wandaLabOpened = true;
}"""


POINT = """(point) => {
    const query = new URLSearchParams(window.location.search);
    if (!point || point === DEFAULT) query.delete("point"); else query.set("point", point);
    const said = query.toString();
    history.replaceState(null, "", said ? "?" + said : window.location.pathname);
}"""
"""Writes the point in focus."""
HIDDEN: dict[str, Any] = {"api_visibility": "private", "show_progress": "hidden"}


def connect(
    demo: gr.Blocks,
    tabs: gr.Tabs,
    notice: gr.HTML,
    controls: Mapping[str, Control],
    views: Sequence[str],
    sources: Sequence[str],
    tied: Mapping[str, tuple[str, Callable[[str], str]]],
) -> Any:
    """Restore the settings of an opened link, and keep the address up to date.

    Args:
        controls: of the panel and all views, by name.
        views: keys of the tabs, the first one's first.
        sources: models on offer; those that are files or folders of this machine are kept out of links.
        tied: controls whose default follows another's value, which comes before them: its name, and what it makes of
            its words.

    Returns:
        The event after which all controls hold what the link says.
    """
    linked = {name: control for name, control in controls.items() if control.parse is not None}
    components = [control.component for control in linked.values()]
    outputs = [notice, *components]

    def restore(request: gr.Request) -> list[Any]:
        asked = {key: words for key, words in dict(request.query_params).items() if key in linked}
        for name, (other, default) in tied.items():
            if other in asked:
                asked.setdefault(name, default(asked[other]))
        values, ignored = [], []
        for name, control in linked.items():
            words = asked.get(name)
            try:
                if words is not None and (len(words) > LONGEST or control.parse is None):
                    raise ValueError
                values.append(gr.skip() if words is None else gr.update(value=control.parse(words)))  # type: ignore[misc]
            except ValueError:
                values.append(gr.skip())
                ignored.append(f"{name}={words[:40]}")  # type: ignore[index]
        if ignored:
            said = f"Some of this link's settings were ignored: {', '.join(ignored)}."
            return [gr.update(value=ready(said), visible=True), *values]
        return [gr.skip(), *values]

    restored = demo.load(restore, None, outputs, **HIDDEN)
    local = [source for source in sources if "/" in source or source.endswith(".gguf")]
    defaults = [_words(component.value) for component in components]
    write = WRITE.replace(
        "SETTINGS",
        json.dumps([list(linked), defaults, local, {name: other for name, (other, _) in tied.items()}]),
    )
    gr.on([c.change for c in components], None, components, None, js=write, queue=False)  # type: ignore[attr-defined]
    for tab in tabs.children:
        js = SHOW.replace("KEY", json.dumps(tab.id)).replace("FIRST", json.dumps(views[0]))  # type: ignore[attr-defined]
        tab.select(None, None, None, js=js, queue=False)  # type: ignore[attr-defined]
    # Said in the page itself: whoever drives it by a script can wait for it.
    restored.then(None, None, None, js="() => { document.body.dataset.restored = 'yes'; }", queue=False)
    return restored


def open_view(restored: Any, tabs: gr.Tabs, views: Sequence[str]) -> Any:
    """Open the view that a link names, after the rest: a view shows what was restored, and what is chosen before the
    page is there is forgotten. Returns the event."""

    def chosen(request: gr.Request) -> Any:
        view = request.query_params.get("view")
        return gr.Tabs(selected=view) if view in views else gr.skip()

    return restored.then(chosen, None, tabs, **HIDDEN)


def _words(value: object) -> str:
    """A default as a link would say it."""
    if isinstance(value, bool):
        return "on" if value else "off"
    if isinstance(value, list | tuple):
        return ",".join(map(str, value))
    return "" if value is None else str(value)
