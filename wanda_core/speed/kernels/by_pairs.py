"""Blocks of products in bfloat16, on processors that multiply pairs of them (AVX512-BF16): see `blocks`.

A lane holds the two kept values of a group, or those of two columns, and gets the two inputs they belong to by one move
of bytes: 2:4 has a multiplication and a move where the dense product has two multiplications.
"""

from __future__ import annotations

from typing import Any

from llvmlite import ir

from wanda_core.speed.kernels import vectors
from wanda_core.speed.kernels.blocks import LANES, Block, kernel
from wanda_core.speed.kernels.vectors import BYTE, INT, LONG

_WIDTH, _HALVES = 16, 2

_MOVES = [
    2 * (both & 3) * 0x0101 + 0x0100 + ((2 * (both >> 2) * 0x0101 + 0x0100) << 16) for both in range(16)
]
"""By a group's places, first + 4 * second: which bytes of its four inputs belong to the two kept values."""


def available() -> bool:
    return vectors.has("avx512f", "avx512bw", "avx512vl", "avx512vbmi2", "avx512bf16")


def two_four() -> Any:
    """For 2:4 weights: see `pairs.multiply_two_four` for the arrays."""

    def write(block: Block) -> None:
        builder = block.builder
        table = ir.Constant(vectors.vector(INT, _WIDTH), _MOVES)

        def group(index: Any, pair: Any, second: int) -> None:
            block.fetch_ahead(index, LANES)
            weights, moves = [], []
            for half in range(_HALVES):
                start = block.at(block.values, index, LANES, half * _WIDTH)
                weights.append(vectors.load(builder, start, INT, _WIDTH))
                start = block.at(block.marks, pair, LANES, half * _WIDTH)
                both = builder.zext(vectors.load(builder, start, BYTE, _WIDTH), table.type)
                both = builder.lshr(both, vectors.constant(4 * second, INT, _WIDTH))
                # Reads the lowest four bits of `both` alone.
                move = vectors.call(builder, "llvm.x86.avx512.permvar.si.512", table.type, table, both)
                moves.append(builder.bitcast(move, vectors.vector(BYTE, 4 * _WIDTH)))
            for token, inputs in enumerate(block.inputs):
                four = _whole(builder, block.at(inputs, index, 4), LONG)
                four = builder.bitcast(vectors.everywhere(builder, four, _WIDTH // 2), moves[0].type)
                for half in range(_HALVES):
                    two = vectors.call(builder, "llvm.x86.avx512.pshuf.b.512", four.type, four, moves[half])
                    block.sums.add_pairs(
                        token * _HALVES + half, weights[half], builder.bitcast(two, table.type)
                    )

        block.in_pairs(group)

    return kernel(write, _WIDTH, _HALVES)


def dense() -> Any:
    """For tiles (pairs of columns, 32) of two bfloat16 each; marks mean nothing."""

    def write(block: Block) -> None:
        builder = block.builder

        def pair(index: Any) -> None:
            starts = [block.at(block.values, index, LANES, half * _WIDTH) for half in range(_HALVES)]
            weights = [vectors.load(builder, start, INT, _WIDTH) for start in starts]
            for token, inputs in enumerate(block.inputs):
                two = vectors.everywhere(builder, _whole(builder, block.at(inputs, index, 2), INT), _WIDTH)
                for half, weight in enumerate(weights):
                    block.sums.add_pairs(token * _HALVES + half, weight, two)

        vectors.over(builder, block.count, pair)

    return kernel(write, _WIDTH, _HALVES)


def _whole(builder: Any, start: Any, of: Any) -> Any:
    """Neighbouring inputs as one number."""
    return builder.load(builder.bitcast(start, of.as_pointer()), align=2)
