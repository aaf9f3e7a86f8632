"""What transformers itself writes."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from wanda_core import LanguageModel
from wanda_core.generation.sampling import Sampling
from wanda_core.pruning.result import Pruning


def alone(model: LanguageModel, prompt: Tensor, sampling: Sampling) -> list[int]:
    """What transformers' own `generate` writes with the weights that the model has now."""
    drawn = {"temperature": sampling.temperature, "top_p": sampling.top_p, "top_k": 0}
    torch.manual_seed(sampling.seed)
    written = model.network.generate(
        prompt,
        attention_mask=torch.ones_like(prompt),
        do_sample=sampling.temperature > 0,
        max_new_tokens=sampling.new_tokens,
        **(drawn if sampling.temperature else {}),
    )
    return written[0, prompt.shape[1] :].tolist()


def expected(
    model: LanguageModel, prompt: Tensor, prunings: Sequence[Pruning], sampling: Sampling
) -> list[list[int]]:
    texts = [alone(model, prompt, sampling)]
    for pruning in prunings:
        with pruning.applied(model.prunable):
            texts.append(alone(model, prompt, sampling))
    return texts
