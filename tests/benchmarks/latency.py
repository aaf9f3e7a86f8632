"""Packed against dense on this machine: `python tests/benchmarks/latency.py MODEL`.

Whole model, by magnitude pruned 2:4 and to 50%: prompt of 128 tokens, then 24 tokens one after the other, greedily.
Dense, masked dense, 2:4 and bitmask in interleaved rounds; medians and quartiles beside the bound from bytes. Then the
number of tokens from which a dense product with the unpacked weight is faster than the 2:4 kernel (`cpu.FEW`).
"""

from __future__ import annotations

import argparse

import torch

from wanda_core import load
from wanda_core.method.masks import structured_mask
from wanda_core.speed import layer_latency, model_latency
from wanda_core.speed.kernels.cpu import TiledTwoFour, threading_layer
from wanda_core.speed.kernels.formats import TwoFour
from wanda_core.speed.layer_latency import shapes_of
from wanda_core.speed.timing import interleaved, timing


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model")
    parser.add_argument("--rounds", type=int, default=7)
    options = parser.parse_args()
    model = load(options.model)
    protocol = layer_latency.protocol(model, [], model.device, torch.float32)
    print(f"{protocol['device']}, {protocol['threads']} threads, torch {protocol['torch']}")
    prunings = model_latency.by_magnitude(model.prunable)
    rows, packs = model_latency.measure_model(model, prunings, rounds=options.rounds)
    for row in rows:
        print(
            f"{row['part']:8} {row['kernel']:13} {row['milliseconds']:8.1f} ms "
            f"({row['low']:.1f} to {row['high']:.1f})  "
            f"{row['tokens_per_second']:7.1f} tokens/s  {row['times_dense']:.2f} x dense  "
            f"{row['bytes'] / 1e6:.0f} MB, bound {row['bound']:.2f} x"
        )
    for name, pack in packs.items():
        print(f"{name}: {pack.nbytes / 1e6:.1f} MB packed, {len(pack.dense)} layers masked dense")
    print("\nmicroseconds of one product: kernel / unpacked")
    for shape in shapes_of(model.prunable):
        crossover(shape)
    print(f"threading layer: {threading_layer()}")


def crossover(shape: tuple[int, int]) -> None:
    weight = torch.randn(shape)
    mask = structured_mask(weight.abs(), 2, 4)
    tiled = TiledTwoFour(TwoFour.pack(weight * mask, mask))
    print(f"{shape[0]}x{shape[1]}", end="")
    for tokens in (1, 4, 8, 12, 16, 24, 32):
        inputs = torch.randn(tokens, shape[1])
        calls = {
            "kernel": lambda inputs=inputs: tiled.product(inputs),
            "unpacked": lambda inputs=inputs: inputs @ tiled.transposed(),
        }
        seconds = interleaved(calls, inputs.device, None)
        both = (1000 * timing(seconds[name], tokens)["milliseconds"] for name in calls)
        print(f"  {tokens}: {' / '.join(f'{value:.0f}' for value in both)}", end="", flush=True)
    print()


if __name__ == "__main__":
    main()
