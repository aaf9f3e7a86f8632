"""Gradio's page, less two things that take long on the thread that answers all visitors and are of no use here."""

from __future__ import annotations

from copy import copy
from typing import Any

import gradio as gr
from gradio.blocks import BlocksConfig


class Blocks(gr.Blocks):
    """A page whose sessions and messages are cheap."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        self.default_config = _Config(self)

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
