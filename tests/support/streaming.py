"""Models stored in half precision, loaded as they are streamed and as they fit into memory."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import torch
from torch import Tensor, nn

from tests.support.models import byte_tokenizer, tiny
from wanda_core import LanguageModel, load


def stored_in_half(family: str, folder: Path, dtype: torch.dtype = torch.bfloat16) -> str:
    """The folder of a tiny model whose file holds `dtype`."""
    tiny(family).to(dtype).save_pretrained(folder)
    byte_tokenizer().save_pretrained(folder)
    return str(folder)


def both(source: str) -> tuple[LanguageModel, LanguageModel]:
    """The model in memory as float32, and streamed."""
    return load(source, dtype="float32"), load(source, stream=True)


class Counted(dict[nn.Parameter, Tensor]):
    """In place of a stream's `resident`: how often each parameter was brought into memory."""

    def __init__(self, model: LanguageModel) -> None:
        super().__init__()
        self.times: Counter[str] = Counter()
        self._names = {parameter: name for name, parameter in model.network.named_parameters()}
        assert model.prunable.stream is not None
        model.prunable.stream.resident = self

    def __setitem__(self, parameter: nn.Parameter, values: Tensor) -> None:
        self.times[self._names[parameter]] += 1
        super().__setitem__(parameter, values)
