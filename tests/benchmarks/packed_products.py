"""Products with packed weights against dense ones: `python tests/benchmarks/packed_products.py [--threads 2]`.

Layers of SmolLM2-135M and Llama-2-7B at 1 to 512 tokens, float32 and bfloat16: torch's dense product, our own dense
kernel, 2:4 and bitmask. Interleaved, medians of seven rounds, weights from memory (copies in turn, as layers are).
Beside them what bounds 2:4: its bytes at the speed of a stream, its multiplications at that of a GEMM, in this run.
Then SmolLM2-135M as a whole, prompt of 128 tokens and decode.

What bounds the instructions, in units of vectors of 16 float32 on a processor that begins one multiply-add, one
load and 1.5 vector operations of any kind in a cycle (Zen 4; AVX-512 in two halves), for 4 x 16 weights, 8 tokens:
- dense: 32 multiply-adds, 32 cycles.
- 2:4, few tokens: 16 multiply-adds, 16 moves within registers: 32 / 1.5 = 21 cycles, 1.5 x. Where moves and
  multiply-adds share two ports that begin one each (Intel's 5 and 0 + 5): 16 cycles against 16, 1.0 x.
- 2:4, many tokens, panels of 64: 16 multiply-adds with a load each, 4 broadcasts of half a load: 18 cycles, 1.8 x;
  panels of 32: 20 cycles, 1.6 x. Where a cycle has two loads and two multiply-adds the same.
- bitmask: dense, and the spreading of 64 weights for each block of tokens.
"""

from __future__ import annotations

import argparse
import statistics
from collections.abc import Callable
from functools import partial
from itertools import cycle
from time import perf_counter

from wanda_core import load  # isort: skip  (before torch: it says how torch's threads wait)

import torch
from torch import Tensor
from torch.nn import functional

from wanda_core.machine import machine
from wanda_core.method.masks import structured_mask
from wanda_core.speed.kernels.cpu import TiledDense, TiledMasked, TiledTwoFour
from wanda_core.speed.kernels.formats import Masked, TwoFour
from wanda_core.speed.layer_latency import COLD_BYTES
from wanda_core.speed.model_latency import by_magnitude, measure_model
from wanda_core.speed.peaks import Peaks, measure_peaks

SHAPES = [(576, 576), (1536, 576), (4096, 4096), (4096, 11008)]
TOKENS = [1, 2, 4, 8, 16, 32, 64, 128, 512]
ROUNDS = 7
KINDS = ("torch", "own", "2:4", "bitmask")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--model", default="smollm2")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    device = torch.device("cpu")
    print(machine(device, torch.float32))
    for dtype in (torch.float32, torch.bfloat16):
        peaks = measure_peaks(device, dtype)
        print(f"\n{dtype}: reads {peaks.gigabytes_per_second:.1f} GB/s,", end=" ")
        print(f"multiplies {peaks.gigaflops_per_second:.0f} GFLOP/s")
        print("      layer tokens  torch ms   own   2:4 bitmask (x torch)   2:4: GB/s GFLOP/s  bound")
        for shape in SHAPES:
            table(shape, dtype, peaks)
    for dtype in (torch.float32, torch.bfloat16):
        whole(options.model, dtype)


def table(shape: tuple[int, int], dtype: torch.dtype, peaks: Peaks) -> None:
    weight = torch.randn(shape).to(dtype)
    mask = structured_mask(weight.float().abs(), 2, 4)
    two_four, masked = TwoFour.pack(weight * mask, mask), Masked.pack(weight * mask, mask)
    makers: list[Callable[[], Callable[[Tensor], Tensor]]] = [
        lambda: partial(functional.linear, weight=weight.clone()),
        lambda: TiledDense(weight).linear,
        lambda: TiledTwoFour(two_four).linear,
        lambda: TiledMasked(masked).linear,
    ]
    copies = max(1, COLD_BYTES // weight.nbytes)
    products = {name: [make() for _ in range(copies)] for name, make in zip(KINDS, makers, strict=True)}
    size = TiledTwoFour(two_four).nbytes
    for tokens in TOKENS:
        inputs = torch.randn(tokens, shape[1]).to(dtype)
        seconds = measured(products, inputs)
        work = 2 * tokens * weight.numel()
        bound = max(size / peaks.gigabytes_per_second, work / 2 / peaks.gigaflops_per_second) / 1e9
        ratios = "".join(f"{seconds['torch'] / seconds[name]:6.2f}" for name in KINDS[1:])
        print(
            f"{shape[0]:>5}x{shape[1]:<5} {tokens:5} {1000 * seconds['torch']:9.3f} {ratios} {'':17}"
            f"{size / seconds['2:4'] / 1e9:5.1f} {work / seconds['2:4'] / 1e9:8.0f} {seconds['torch'] / bound:6.2f}",
            flush=True,
        )


def measured(products: dict[str, list[Callable[[Tensor], Tensor]]], inputs: Tensor) -> dict[str, float]:
    """Seconds of a call, by kind: the median of rounds in which each kind's turn is a few of its copies."""
    turns = {name: cycle(own) for name, own in products.items()}
    calls = min(8, *(len(own) for own in products.values()))
    times: dict[str, list[float]] = {name: [] for name in products}
    for index in range(ROUNDS + 1):
        for name, turn in turns.items():
            start = perf_counter()
            for _ in range(calls):
                next(turn)(inputs)
            if index:
                times[name].append((perf_counter() - start) / calls)
    return {name: statistics.median(own) for name, own in times.items()}


def whole(source: str, dtype: torch.dtype) -> None:
    model = load(source, dtype=str(dtype).removeprefix("torch."))
    rows, _ = measure_model(model, by_magnitude(model.prunable), rounds=ROUNDS)
    print(f"\n{source}, {dtype}")
    for row in rows:
        print(
            f"{row['part']:8} {row['kernel']:13} {row['milliseconds']:8.1f} ms "
            f"({row['low']:.1f} to {row['high']:.1f}) {row['times_dense']:.2f} x dense"
        )


if __name__ == "__main__":
    main()
