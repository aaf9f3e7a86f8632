"""Peak memory of this process, and random models to measure on."""

from __future__ import annotations

import threading
from types import TracebackType

import psutil
import torch
from transformers import AutoModelForCausalLM, LlamaConfig, PreTrainedModel

SECONDS_BETWEEN_SAMPLES = 0.005
VOCABULARY = 1024


class PeakMemory:
    """Resident memory while inside the `with`: `above` is the highest reading less the one at its beginning."""

    def __enter__(self) -> PeakMemory:
        self._process = psutil.Process()
        self._before = self._highest = self._process.memory_info().rss
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()
        return self

    def _watch(self) -> None:
        while not self._over.wait(SECONDS_BETWEEN_SAMPLES):
            self._highest = max(self._highest, self._process.memory_info().rss)

    def __exit__(
        self, _type: type | None, _error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        self._over.set()
        self._thread.join()

    @property
    def above(self) -> int:
        return self._highest - self._before


def touch(network: PreTrainedModel) -> None:
    """Read every weight: those of a file that is mapped into memory count only from then on."""
    for weight in network.parameters():
        weight.sum()


def random_llama(width: int, blocks: int) -> PreTrainedModel:
    """A Llama of 13 width^2 weights in each block's linear layers."""
    config = LlamaConfig(
        vocab_size=VOCABULARY,
        hidden_size=width,
        intermediate_size=3 * width,
        num_hidden_layers=blocks,
        num_attention_heads=width // 64,
        num_key_value_heads=width // 64,
    )
    torch.manual_seed(0)
    return AutoModelForCausalLM.from_config(config).eval().requires_grad_(False)
