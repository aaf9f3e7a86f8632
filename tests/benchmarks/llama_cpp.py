"""Exported GGUF files in a real llama.cpp: the same tokens, the same text, the same perplexity, the zeros still zero.

    pip install llama-cpp-python          # builds llama.cpp: half an hour on two cores
    python -m tests.benchmarks.llama_cpp SOURCE TEXT [--samples 16] [--length 512] [--windows 4] [--sparsity 0.5]
    python -m tests.benchmarks.llama_cpp families TEXT --samples 4 --length 128   # what folders are written for

For each type: token ids of 200 strings; share of the pruned weights that are zero in the file; how far llama.cpp's
logits are from this model's with the file's values; 32 tokens written greedily; perplexity of the first windows.
llama.cpp rounds activations, too, where weights are rounded: Q8_0 and Q4_0 are not computed to the bit.
"""

from __future__ import annotations

import argparse
import random
import tempfile
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from tests.support.gguf_families import CASES, family_folder
from wanda_core import LanguageModel, Recipe, load
from wanda_core.experiments.experiment import Experiment, ExperimentSettings
from wanda_core.export.gguf_file import save_gguf
from wanda_core.method.bits import TYPES
from wanda_core.pruning.prune_model import prune
from wanda_core.pruning.result import Pruning

PROMPT = "The history of the city begins with"
WRITTEN = 32
STRINGS = 200


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("source")
    parser.add_argument("text")
    parser.add_argument("--samples", type=int, default=16)
    parser.add_argument("--length", type=int, default=512)
    parser.add_argument("--windows", type=int, default=4)
    parser.add_argument("--sparsity", type=float, default=0.5)
    options = parser.parse_args()
    try:
        import llama_cpp
    except ImportError:
        print("skipped: llama_cpp cannot be imported, `pip install llama-cpp-python` builds it")
        return
    if options.source == "families":
        with tempfile.TemporaryDirectory() as place:
            text = Path(options.text).read_text(encoding="utf-8")
            for case in CASES:
                options.source = str(family_folder(Path(place) / case, case, text.splitlines(), 4000))
                run(options, llama_cpp)
        return
    run(options, llama_cpp)


def run(options: argparse.Namespace, llama_cpp: Any) -> None:
    """Prune one source, write it in every type, and compare."""
    experiment = Experiment.prepare(
        ExperimentSettings(
            source=options.source,
            calibration=options.text,
            evaluation=options.text,
            samples=options.samples,
            length=options.length,
            windows=options.windows,
            eval_length=options.length,
        )
    )
    model, windows = experiment.model, experiment.windows
    assert windows is not None
    pruning = prune(model.prunable, experiment.tokens, Recipe(sparsity=options.sparsity))
    print(
        f"{options.source}, wanda {options.sparsity:.0%}, {windows.shape[0]} windows of {windows.shape[1]} tokens"
    )
    with pruning.applied(model.prunable):
        print(
            f"as pruned, {model.network.dtype}: perplexity {perplexity(logits_of(model, windows), windows):.4f}"
        )
    with tempfile.TemporaryDirectory() as place:
        for bits in TYPES:
            file = Path(place) / f"{bits}.gguf"
            save_gguf(model, pruning.in_bits(bits), experiment.drawn, file)
            theirs = llama_cpp.Llama(
                str(file), n_ctx=windows.shape[1], n_batch=512, logits_all=True, verbose=False
            )
            compare(file, load(str(file)), theirs, model, pruning, windows, Path(options.text))


def compare(
    file: Path,
    ours: LanguageModel,
    theirs: Any,
    model: LanguageModel,
    pruning: Pruning,
    windows: Tensor,
    text: Path,
) -> None:
    """Print a line for everything that is to be the same.

    Args:
        ours: the file as transformers loads it.
        model: what was pruned; its tokenizer is the one that counts.
    """
    bits = int(file.stem)
    print(f"\n{TYPES[bits]}, {file.stat().st_size / 1e6:.1f} MB")
    strings = strings_of(text)
    differing = [
        string
        for string in strings
        if theirs.tokenize(string.encode(), add_bos=False, special=True)
        != model.tokenizer(string, add_special_tokens=False)["input_ids"]
    ]
    print(
        f"  token ids: {len(strings) - len(differing)} of {len(strings)} strings the same{_some(differing)}"
    )
    print(f"  zeros: {zeros_kept(ours, pruning):.4%} of the pruned weights are zero in the file")
    wanted, found = logits_of(ours, windows), llama_logits(theirs, windows)
    apart = (wanted - found).abs()
    print(
        f"  logits: mean difference {apart.mean():.2g}, largest {apart.max():.2g}, of up to {wanted.abs().max():.3g}"
    )
    print(f"  greedy: {greedy(ours, theirs, 2 * float(apart.max()))}")
    first, second = perplexity(wanted, windows), perplexity(found, windows)
    print(f"  perplexity: {first:.4f} here, {second:.4f} in llama.cpp, {second / first - 1:+.2%}")


def _some(strings: list[str]) -> str:
    return f"; not {', '.join(map(repr, strings[:3]))}" if strings else ""


def strings_of(text: Path) -> list[str]:
    """Pieces of the text, and what tokenizers are apart in: digits, spaces, contractions, other scripts."""
    content, draw = text.read_text(encoding="utf-8"), random.Random(0)
    written = [
        "  two  spaces", "1234567 89", "tab\tnew\n\nline", "don't I'll WE'RE", "naïve café 日本語 漢字", "😀🎉",
        "\n\n\n", "x" * 50, "3.14159, 2,000", "foo_bar(baz)", "http://a.b/c?d=e", "мир 123", "\r\n", " " * 7 + "B",
    ]  # fmt: skip
    places = (draw.randrange(len(content) - 200) for _ in range(STRINGS - len(written)))
    return written + [content[place : place + draw.randint(1, 120)] for place in places]


def zeros_kept(ours: LanguageModel, pruning: Pruning) -> float:
    """Share of the pruned weights that are exactly zero in the file."""
    zero = pruned = 0
    for layer in ours.prunable.layers:
        away = layer.weight[~pruning.masks[layer.name].unpack()]
        zero, pruned = zero + int((away == 0).sum()), pruned + away.numel()
    return zero / pruned


@torch.no_grad()
def logits_of(model: LanguageModel, windows: Tensor) -> Tensor:
    return torch.cat([model.network(input_ids=window[None]).logits.float() for window in windows])


def llama_logits(theirs: Any, windows: Tensor) -> Tensor:
    found = []
    for window in windows.tolist():
        theirs.reset()
        theirs.eval(window)
        found.append(torch.tensor(theirs.scores[: len(window)]))
    return torch.stack(found)


def perplexity(logits: Tensor, windows: Tensor) -> float:
    """Of every token but a window's first."""
    losses = torch.nn.functional.cross_entropy(logits[:, :-1].flatten(0, 1), windows[:, 1:].flatten())
    return float(losses.exp())


@torch.no_grad()
def greedy(ours: LanguageModel, theirs: Any, tie: float) -> str:
    """How many tokens both write the same, fed with the same; a difference below `tie` logits is said to be one."""
    tokens = ours.tokenizer(PROMPT, add_special_tokens=False)["input_ids"]
    ties = 0
    for written in range(WRITTEN):
        logits = ours.network(input_ids=torch.tensor([tokens])).logits[0, -1].float()
        theirs.reset()
        theirs.eval(tokens)
        first, second = int(logits.argmax()), int(torch.tensor(theirs.scores[len(tokens) - 1]).argmax())
        if first != second:
            gap = float(logits[first] - logits[second])
            if gap > tie:
                return f"differs after {written} of {WRITTEN} tokens, by {gap:.2g} logits"
            ties += 1
        tokens.append(first)
    return f"{WRITTEN} tokens the same" + (f", {ties} of them near-ties" if ties else "")


if __name__ == "__main__":
    main()
