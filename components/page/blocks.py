"""Gradio's page, less two things that take long on the thread that answers all visitors and are of no use here, and
with bounds on what strangers may send and leave unread."""

from __future__ import annotations

import re
from collections.abc import Iterator
from copy import copy
from typing import Any

import gradio as gr
from fastapi import HTTPException
from gradio.blocks import BlocksConfig
from gradio.state_holder import SessionState, StateHolder

from components.request_checks import broken

SESSION = re.compile(r"[\w-]{1,64}")
"""A session's name, which its browser makes: kept in memory with what the session holds."""
MOST_UNREAD = 500
"""Messages that nobody has fetched yet, of all sessions together."""


class Blocks(gr.Blocks):
    """A page whose sessions and messages are cheap."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        self.default_config = _Config(self)

    @property
    def state_holder(self) -> StateHolder:
        return self._sessions

    @state_holder.setter
    def state_holder(self, holder: StateHolder) -> None:
        holder.__class__ = _Sessions  # Gradio makes it itself
        self._sessions = holder

    def queue(self, **settings: Any) -> Blocks:
        super().queue(**settings)
        push = self._queue.push

        async def named(body: Any, request: Any, username: Any) -> Any:
            # Gradio gives an event without a session one of its own, and looks for that of one whose name is empty.
            body.session_hash = body.session_hash or None
            return await push(body=body, request=request, username=username)

        self._queue.push = named  # type: ignore[method-assign]
        return self

    async def preprocess_data(self, block_fn: Any, inputs: list[Any], *more: Any, **named: Any) -> list[Any]:
        """As Gradio's; what no control of the page would send is refused by a sentence."""
        self._forget_unread()
        if any(broken(text) for text in _texts(inputs)):
            raise gr.Error("a text holds an invalid character (a broken emoji)", print_exception=False)
        if any(text.startswith(("http://", "https://")) for text in _paths(inputs)):
            raise gr.Error("a file must be uploaded, not named by an address", print_exception=False)
        try:
            return await super().preprocess_data(block_fn, inputs, *more, **named)
        except Exception as error:  # of Gradio's checks: none of our own functions has run yet
            raise gr.Error("this is not what the page sends: load it again", print_exception=False) from error

    def _forget_unread(self) -> None:
        """Drop the longest unread messages when there are too many: Gradio keeps what nobody ever fetches."""
        sessions = self._queue.pending_messages_per_session
        unread = sum(messages.qsize() for messages in sessions.values())
        for messages in list(sessions.values()) if unread > MOST_UNREAD else ():
            while unread > MOST_UNREAD // 2 and not messages.empty():
                messages.get_nowait()
                unread -= 1

    async def postprocess_data(self, block_fn: Any, predictions: Any, state: Any) -> list[Any]:
        """As Gradio's, of the outputs that are not skipped: it makes the component of each anew, which for a view's
        dozen outputs and many messages a second is most of what a run takes of that thread."""
        outputs = block_fn.outputs
        if not isinstance(predictions, list | tuple) or not 1 < len(outputs) == len(predictions):
            return await super().postprocess_data(block_fn, predictions, state)
        said = [index for index, value in enumerate(predictions) if not _is_skip(value)]
        done: list[Any] = [None if output.stateful else gr.skip() for output in outputs]
        if said:
            spoken = copy(block_fn)
            spoken.outputs = [outputs[index] for index in said]
            values = [predictions[index] for index in said]
            # Of a function with one output Gradio expects the value itself.
            found = await super().postprocess_data(spoken, values if len(said) > 1 else values[0], state)
            for index, value in zip(said, found, strict=True):
                done[index] = value
        return done


def _is_skip(value: object) -> bool:
    return isinstance(value, dict) and value == gr.skip()


def _parts(value: object) -> Iterator[object]:
    """A value and all that is in it, however deep."""
    left = [value]
    while left:
        part = left.pop()
        yield part
        if isinstance(part, dict):
            left += [*part.keys(), *part.values()]
        elif isinstance(part, list | tuple):
            left += part


def _texts(value: object) -> Iterator[str]:
    return (part for part in _parts(value) if isinstance(part, str))


def _paths(value: object) -> Iterator[str]:
    """Where a file is said to be."""
    paths = (part.get("path") for part in _parts(value) if isinstance(part, dict))
    return (path for path in paths if isinstance(path, str))


class _Sessions(StateHolder):
    """What each session holds, by its name."""

    def __getitem__(self, session_id: str) -> SessionState:
        if not SESSION.fullmatch(session_id):
            raise HTTPException(400, "a session has a short name of letters and digits")
        return super().__getitem__(session_id)


class _Config(BlocksConfig):
    """What the page consists of."""

    def __copy__(self) -> BlocksConfig:
        session = _SessionConfig(self.root_block)
        vars(session).update(vars(super().__copy__()))
        return session


class _SessionConfig(BlocksConfig):
    """A session's copy. Gradio describes every component in it at a session's first request, some 80 ms and 0.4 MB, for
    deep links alone: the page has links of its own."""

    @staticmethod
    def config_for_block(*_: Any) -> dict[str, Any]:
        return {}
