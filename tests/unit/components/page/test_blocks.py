"""The page's own `Blocks` sends what Gradio's would, and does not make anew what is skipped."""

from __future__ import annotations

import asyncio
from itertools import product
from typing import Any

import gradio as gr
import pytest
from gradio.state_holder import SessionState

from components.page.blocks import Blocks

VALUES = ["<b>new</b>", gr.update(value="<i>x</i>", visible=False), gr.update(visible=True), None]


def page_of(kind: type[gr.Blocks]) -> tuple[gr.Blocks, Any]:
    with kind(analytics_enabled=False) as demo:
        shown, state, button, text = gr.HTML("a"), gr.State(1), gr.Button("b"), gr.Textbox("c")
        button.click(lambda: None, None, [shown, state, button, text])
    return demo, next(fn for fn in demo.fns.values() if fn.fn)


def sent(kind: type[gr.Blocks], predictions: list[Any]) -> tuple[list[Any], Any]:
    demo, fn = page_of(kind)
    session = SessionState(demo)
    made = [dict(value) if isinstance(value, dict) else value for value in predictions]
    found = asyncio.run(demo.postprocess_data(fn, made, session))
    for value in found:
        if isinstance(value, dict) and value.get("props") == {"__type__": "update"}:
            del value["props"]  # Gradio's own slip, which changes nothing
    return found, session[fn.outputs[1]._id]


@pytest.mark.parametrize("skipped", list(product([False, True], repeat=4)))
@pytest.mark.parametrize("turn", range(len(VALUES)))
def test_what_is_sent_is_what_gradio_sends(skipped: tuple[bool, ...], turn: int) -> None:
    """Every choice of skipped outputs, with values and updates beside."""
    others = [VALUES[turn], 7, gr.update(interactive=False), "typed"]
    predictions = [gr.skip() if skip else value for skip, value in zip(skipped, others, strict=True)]
    assert sent(Blocks, predictions) == sent(gr.Blocks, predictions)


def test_one_skip_for_all_outputs_and_one_output_alone() -> None:
    demo, fn = page_of(Blocks)
    found = asyncio.run(demo.postprocess_data(fn, gr.skip(), SessionState(demo)))
    assert found[1:] == [None, gr.skip(), gr.skip()]
    assert "value" not in found[0]
    with Blocks(analytics_enabled=False) as alone:
        shown = gr.Textbox("a")
        shown.change(lambda: None, None, shown)
    (fn,) = alone.fns.values()
    assert asyncio.run(alone.postprocess_data(fn, "b", SessionState(alone))) == ["b"]
    assert asyncio.run(alone.postprocess_data(fn, gr.skip(), SessionState(alone))) == [gr.skip()]


def test_what_is_skipped_is_not_made_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    demo, fn = page_of(Blocks)
    session = SessionState(demo)
    made: list[str] = []
    before = gr.Textbox.__init__

    def counted(self: gr.Textbox, *values: Any, **named: Any) -> None:
        made.append(type(self).__name__)
        before(self, *values, **named)

    monkeypatch.setattr(gr.Textbox, "__init__", counted)
    asyncio.run(demo.postprocess_data(fn, ["x", gr.skip(), gr.skip(), gr.skip()], session))
    assert made == []
    asyncio.run(demo.postprocess_data(fn, ["x", gr.skip(), gr.skip(), gr.update(value="y")], session))
    assert made == ["Textbox"]


def test_a_session_describes_no_component_and_keeps_its_own_changes() -> None:
    demo, fn = page_of(Blocks)
    first, second = SessionState(demo), SessionState(demo)
    assert not any(first.config_values.values())
    asyncio.run(demo.postprocess_data(fn, ["x", 5, gr.update(value="mine"), "y"], first))
    button, state = fn.outputs[2]._id, fn.outputs[1]._id
    assert first[button] is not second[button]
    assert second[button].value == "b"
    assert (first[state], second[state]) == (5, 1)
    described = {component["id"]: component["props"] for component in demo.get_config_file()["components"]}
    assert described[button]["value"] == "b"
