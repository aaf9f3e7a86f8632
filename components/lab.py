"""The whole page: the Lab with its panel and views, and the pages beside it."""

from __future__ import annotations

import ctypes
import json
import secrets
import sys
from collections.abc import Sequence
from html import escape
from importlib import import_module
from typing import Any

import gradio as gr
from starlette.middleware import Middleware

from components.assets import ASSETS
from components.display import chart_style
from components.jobs import run_button
from components.jobs.queue import Worker
from components.learn import layout as learn
from components.limits import LIMITS
from components.page import header, links
from components.page.blocks import Blocks
from components.page.compression import PageCompression
from components.page.guard import Guard
from components.page.json_limit import JsonLimit
from components.page.kept_files import KeptFiles
from components.page.preview import Preview
from components.page.request_limit import RequestLimit
from components.page.theme import THEME
from components.page.view import Page, View
from components.recipe import layout as recipe
from components.recipe.estimate import estimate
from components.recipe.layout import Panel
from components.recipe.request import named_focus
from components.runs import layout as runs
from components.workspace import run_store
from components.workspace.defaults import DEFAULTS, default_text
from components.workspace.focus import Focus
from components.workspace.models import warm_up
from components.workspace.setup import Setup
from wanda_core.errors import Refused
from wanda_core.method.recipe import Recipe

SECRET = "wanda-lab-browser-1"
"""Not secret: with a key that changes at every start a browser's own values would vanish."""
M_ARENA_MAX = -8
"""Of glibc's `mallopt`."""
TO_VERDICT = """() => {
    if (window.innerWidth < 800) document.querySelector("#views")?.scrollIntoView({block: "start"});
}"""


def build(sources: Sequence[str], views: Sequence[str]) -> gr.Blocks:
    """The page.

    Args:
        sources: models on offer beside those of the Hub; the first is chosen.
        views: the tabs, each as `module:Class`, in their order; the first is measured by the panel's Run.
    """
    with Blocks(
        title="Wanda Lab", fill_width=True, analytics_enabled=False, delete_cache=(600, LIMITS.upload_seconds)
    ) as demo:
        _lab(demo, [_view(name) for name in views], sources)
    with demo.route("Learn", "/learn", show_in_navbar=False):
        header.build("learn")
        learn.build()
    with demo.route("Runs", "/runs", show_in_navbar=False) as kept:
        header.build("runs")
        runs.build(kept)
    # Without the second door, by which a call passes the queue.
    return demo.queue(max_size=4 * LIMITS.waiting, api_open=False)


def _view(name: str) -> View:
    module, kind = name.split(":")
    return getattr(import_module(module), kind)()


def _lab(demo: gr.Blocks, views: Sequence[View], sources: Sequence[str]) -> None:
    """The Lab: the panel on the left, the views on the right, wired to what they share.

    Args:
        views: the tabs, in their order; the first is measured by the panel's Run.
        sources: models on offer beside those of the Hub; the first is chosen.
    """
    header.build("lab")
    chart_style.build()
    visitor = gr.BrowserState(None, storage_key="wanda-lab-visitor", secret=SECRET)
    focus = gr.State(_first_focus(sources[0]))
    kept_run = gr.Textbox(visible="hidden")
    kept_run.change(None, kept_run, None, js=run_store.KEEP, queue=False)
    nobody = gr.HTML(visible="hidden")
    notice = gr.HTML(visible=False, elem_id="notice")
    with gr.Row(elem_id="columns"):
        with gr.Column(scale=2, min_width=300, elem_id="panel"):
            panel = recipe.build(sources)
        with gr.Column(scale=5, min_width=320, elem_id="views"):
            chip = gr.HTML(_chip(_first_focus(sources[0])), elem_id="focus-chip")
            with gr.Tabs(elem_id="tabs") as tabs:
                laid_out = []
                for view in views:
                    with gr.Tab(view.title, id=view.key) as tab:
                        view.build(sources)
                    laid_out.append((view, tab))
    page = Page(
        demo=demo,
        worker=Worker(),
        sources=sources,
        visitor=visitor,
        panel=panel.form,
        panel_run=panel.run,
        focus=focus,
        tabs=tabs,
        kept_run=kept_run,
        views=views,
        titles={view.key: view.title for view in views},
    )
    demo.load(_visitor, visitor, visitor, api_visibility="private", show_progress="hidden")
    point = gr.Textbox(visible="hidden")
    focus.change(
        lambda now: [_chip(now), now.words],
        focus,
        [chip, point],
        queue=False,
        api_visibility="private",
        show_progress="hidden",
    )
    default = json.dumps(_first_focus(sources[0]).words)
    point.change(None, point, None, js=links.POINT.replace("DEFAULT", default), queue=False)
    for view, tab in laid_out:
        view.connect(page, tab)
    _estimate(panel, kept_run, demo, sources)
    panel.run.run.click(None, None, None, js=TO_VERDICT, queue=False)
    controls = dict(panel.form.controls)
    for view in views:
        controls |= view.form.controls
    own_text = ("source", default_text)
    tied = {"calibration": own_text, "evaluation": own_text}
    restored = links.connect(demo, tabs, notice, controls, [view.key for view in views], sources, tied)
    names = list(panel.form.components)

    def restore_point(request: gr.Request, *values: Any) -> Any:
        """The point that a link names, on the model and texts that it names."""
        words = request.query_params.get("point")
        if words is None:
            return gr.skip()
        try:
            return named_focus(words, dict(zip(names, values, strict=True)), sources)
        except Refused:
            return gr.skip()

    restored = restored.then(
        restore_point,
        list(panel.form.components.values()),
        focus,
        preprocess=False,
        api_visibility="private",
        show_progress="hidden",
    )
    opened = links.open_view(restored, tabs, [view.key for view in views])
    run_button.find_tasks(page.worker, opened, visitor, page.buttons)
    # No component shows Gradio's own progress. Were they to be told of it, every message would let the browser copy all
    # that events have changed so far, charts too: with a run's ten messages a second it would be busy all the time.
    for event in demo.fns.values():
        event.show_progress_on = [nobody]


def _first_focus(source: str) -> Focus:
    """What is in focus before anything was clicked: half of the weights pruned by Wanda."""
    text = default_text(source)
    windows = {key: DEFAULTS[key] for key in ("samples", "length", "windows")}
    return Focus(Setup(source, text, text, **windows), Recipe(method="wanda", sparsity=0.5))


def _visitor(known: str | None) -> Any:
    """A random id, made once for each browser: the key to its own jobs."""
    return gr.skip() if known else secrets.token_urlsafe(24)


def _chip(focus: Focus) -> str:
    said = f"<b>{escape(focus.label)}</b>"
    return f'<p class="chip">In focus: {said} <span>Click a point or a row in Cost to look at another.</span></p>'


def _estimate(panel: Panel, kept_run: gr.Textbox, demo: gr.Blocks, sources: Sequence[str]) -> None:
    """Say what a run will take whenever a control was changed or a run is over."""
    names = list(panel.form.components)
    controls = list(panel.form.components.values())

    def said(*values: Any) -> list[str]:
        return list(estimate(dict(zip(names, values, strict=True)), sources))

    gr.on(
        [demo.load, kept_run.change, *(control.change for control in controls)],
        said,
        controls,
        [panel.estimate, panel.model_note],
        preprocess=False,
        trigger_mode="always_last",
        concurrency_limit=4,
        api_visibility="private",
        show_progress="hidden",
    )


def middleware() -> list[Middleware]:
    """What every request passes, outermost first; Gradio's own are around them."""
    return [
        RequestLimit.sized(LIMITS.request_bytes),
        JsonLimit.middleware(),
        Guard.middleware(),
        PageCompression.middleware(),
        Preview.middleware(),
        KeptFiles.middleware(),
    ]


def _few_heaps() -> None:
    """Let the C library (glibc) keep two heaps, not eight for each core: what many threads free in as many heaps lies
    between what is kept and is not handed back. After 2,000 hostile requests a server held 1.15 times as much memory
    as before, with two heaps 1.06 times."""
    limit = getattr(ctypes.CDLL(None), "mallopt", None) if sys.platform == "linux" else None
    if limit is not None:
        limit(M_ARENA_MAX, 2)


def serve(demo: gr.Blocks, *, port: int | None, mcp: bool, warm: str) -> None:
    """Launch the page and wait.

    Args:
        mcp: serve the API as MCP tools, too.
        warm: source of the model that is loaded before anybody asks.
    """
    _few_heaps()
    demo.launch(
        server_port=port,
        prevent_thread_lock=True,
        theme=THEME,
        css_paths=ASSETS / "style.css",
        head=header.HEAD,
        footer_links=["api"],
        mcp_server=mcp,
        ssr_mode=False,
        max_file_size=LIMITS.request_bytes,
        state_session_capacity=LIMITS.sessions,
        enable_monitoring=False,
        app_kwargs={"middleware": middleware()},
    )
    warm_up(warm)
    demo.block_thread()
