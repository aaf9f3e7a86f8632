"""Cost as a function: `measure`, beside the page and by the same checks."""

from __future__ import annotations

from typing import Any

import gradio as gr

from components.cost.job import Measure
from components.cost.request import check_measure
from components.page import api
from components.page.view import Page
from components.recipe.request import allocation_controls


def serve(page: Page) -> None:
    """Offer `measure` in the API."""

    async def measure(
        source: str = page.sources[0],
        methods: list[str] = ["wanda", "magnitude"],  # noqa: B006 - defaults that the API documents; not changed
        amounts: list[str] = ["30", "50", "70"],  # noqa: B006
        calibration: str = "",
        evaluation: str = "",
        own_text: str = "",
        dataset: str = "",
        split: str = "",
        column: str = "",
        chat: bool = False,
        samples: int = 4,
        length: int = 256,
        windows: int = 8,
        seeds: str = "0",
        schedule: str = "layer",
        group: str = "own",
        allocation: str = "uniform",
        recovery: str = "none",
        order: str = "none",
        bits: list[int] = [16],  # noqa: B006
        dtype: str = "auto",
        revision: str = "",
        int8: bool = False,
        smaller: str = "",
    ) -> dict[str, Any]:
        """Measure what pruning costs: perplexities of the dense model and of every method at every amount.

        Args:
            source: a model on offer, or a Hub id.
            methods: such as wanda, magnitude, sparsegpt.
            amounts: per cent, such as 50, or patterns, such as 2:4.
            calibration: stories, pydoc, wikitext2, c4, dataset or own; empty: the model's own.
            evaluation: likewise.
            own_text: the text for own.
            dataset: Hub id of the data set for dataset.
            split: of the data set.
            column: of the data set, with the text.
            chat: calibrate through the model's chat template.
            samples: calibration windows.
            length: tokens of a window.
            windows: evaluation windows.
            seeds: of the calibration windows, such as 0 or 0, 1, 2.
            schedule: layer, block or dense: which model the activations come from.
            group: own, output, layer or input: which weights compete.
            allocation: uniform, owl, linear:BETA, sensitivity, or ratios by block, such as 0=0.3,1=0.7.
            recovery: none, blocks or model: every point also with its kept weights trained, block by block or
                all together.
            order: none, or channels: every N:M point also in an order of channels under which it keeps more.
            bits: 16, 8 or 4, that kept weights are rounded to after pruning: as they are, as GGUF's Q8_0, as Q4_0.
            dtype: auto, float32, bfloat16 or float16.
            revision: branch, tag or commit of a Hub model.
            int8: measure the dense model in int8, too.
            smaller: a smaller dense model to measure beside it.

        Returns:
            protocol and rows, as `compare --json` writes them.
        """

        def job() -> Measure:
            values = api.panel_values(
                source,
                methods=methods,
                amounts=amounts,
                calibration=calibration,
                evaluation=evaluation,
                own_text=own_text,
                dataset=dataset,
                split=split,
                column=column,
                chat=chat,
                samples=samples,
                length=length,
                windows=windows,
                seeds=seeds,
                schedule=schedule,
                group=group,
                recovery=recovery,
                order=order,
                bits=bits,
                dtype=dtype,
                revision=revision,
                **allocation_controls(allocation),
            )
            return check_measure(values | {"int8": int8, "smaller": smaller}, page.sources)

        found = await api.outcome_of(page.worker, job)
        return api.plain({"protocol": found.protocol, "rows": found.rows})

    gr.api(measure, api_name="measure", concurrency_limit=None)
