"""Blocks of products in float32: see `blocks`.

A multiply-add of a 2:4 weight needs its input moved to the row's lane first: 4 instructions where the dense product has
4 multiply-adds. Processors that do moves and multiply-adds in different units gain all the same, others gain by
reading less.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from wanda_core.speed.kernels import vectors
from wanda_core.speed.kernels.blocks import LANES, Block, kernel
from wanda_core.speed.kernels.vectors import BYTE, FLOAT, INT, LONG, SHORT, WIDTH

HALVES = 2 if WIDTH == 16 else 1
"""Vectors of rows: with eight tokens their sums take half of the registers."""

HELD = HALVES * WIDTH
"""Rows that a kernel takes."""


def two_four(width: int = WIDTH, halves: int = HALVES) -> Any:
    """For 2:4 weights: see `two_four.multiply` for the arrays."""

    def write(block: Block) -> None:
        builder = block.builder
        element = 1 if block.dtype == types.uint32 else 2

        def group(index: Any, pair: Any, second: int) -> None:
            block.fetch_ahead(index, element * LANES)
            terms = []
            for half in range(halves):
                both = vectors.load(builder, block.at(block.marks, pair, LANES, half * width), BYTE, width)
                both = builder.zext(both, vectors.vector(INT, width))
                weights = _pair(
                    builder, block.at(block.values, index, element * LANES, half * width), element, width
                )
                for weight, shift in zip(weights, (4 * second, 4 * second + 2), strict=True):
                    places = builder.lshr(both, vectors.constant(shift, INT, width))
                    terms.append((half, weight, _spreader(builder, places)))
            for token, inputs in enumerate(block.inputs):
                four = vectors.load(builder, block.at(inputs, index, 4), FLOAT, 4)
                for half, weight, spread in terms:
                    block.sums.add(token * halves + half, weight, spread(four))

        block.in_pairs(group)

    return kernel(write, width, halves)


def _pair(builder: Any, start: Any, element: int, width: int) -> list[Any]:
    """The two kept values of a group, for every lane: float32 in two vectors, or bfloat16 in the halves of one."""
    if element == 2:
        return [vectors.load(builder, vectors.step(builder, start, i * LANES), FLOAT, width) for i in (0, 1)]
    return vectors.halves_of(builder, vectors.load(builder, start, INT, width))


_PERMUTE = {16: "llvm.x86.avx512.vpermilvar.ps.512", 8: "llvm.x86.avx.vpermilvar.ps.256"}
"""By lanes: reads, in every lane, the one of four neighbours that the two lowest bits of another vector say."""


def _spreader(builder: Any, places: Any) -> Callable[[Any], Any]:
    """A function of a group's four inputs: in every lane the one at `places`, whose higher bits mean nothing."""
    width = places.type.count
    if width in _PERMUTE:
        lanes = ir.Constant(vectors.vector(INT, width), [0, 1, 2, 3] * (width // 4))

        def permuted(four: Any) -> Any:
            many = builder.shuffle_vector(four, four, lanes)
            return vectors.call(builder, _PERMUTE[width], many.type, many, places)

        return permuted
    low, high = (
        builder.trunc(
            builder.lshr(places, vectors.constant(bit, INT, width)), vectors.vector(ir.IntType(1), width)
        )
        for bit in (0, 1)
    )

    def chosen(four: Any) -> Any:
        a, b, c, d = (
            builder.shuffle_vector(four, four, vectors.constant(place, INT, width)) for place in range(4)
        )
        return builder.select(high, builder.select(low, d, c), builder.select(low, b, a))

    return chosen


def dense(width: int = WIDTH, halves: int = HALVES) -> Any:
    """For tiles (columns, 32) of float32 or bfloat16; marks mean nothing."""

    def write(block: Block) -> None:
        builder = block.builder

        def column(index: Any) -> None:
            starts = [block.at(block.values, index, LANES, half * width) for half in range(halves)]
            weights = [_values(builder, start, block.dtype, width) for start in starts]
            for token, inputs in enumerate(block.inputs):
                x = vectors.everywhere(builder, builder.load(vectors.step(builder, inputs, index)), width)
                for half, weight in enumerate(weights):
                    block.sums.add(token * halves + half, weight, x)

        vectors.over(builder, block.count, column)

    return kernel(write, width, halves)


def _values(builder: Any, start: Any, dtype: Any, width: int) -> Any:
    if dtype == types.float32:
        return vectors.load(builder, start, FLOAT, width)
    return vectors.from_bfloat16(builder, vectors.load(builder, start, SHORT, width))


def unpack(pairs: bool = False) -> Any:
    """Kept values of a tile, column by column, spread by a mask of 32 bits for each into (columns, 32) of float32.

    Arguments of the kernel: values and where they begin, masks and where they begin, the target, and how many columns.
    With `pairs` those of bfloat16 are left as they are, two columns side by side: (pairs of columns, 32) of 4 bytes.
    """
    width = 16

    @intrinsic
    def kernel(typing, values, value, masks, mask, target, columns):
        def generate(context, builder, signature, arguments):
            kinds = signature.args
            values, value, masks, mask, target, columns = arguments
            of = FLOAT if kinds[0].dtype == types.float32 else SHORT
            start = vectors.pointer(context, builder, kinds[0], values, value)
            masks = vectors.pointer(context, builder, kinds[2], masks, mask)
            target = vectors.pointer(context, builder, kinds[4], target, LONG(0))
            place = cgutils.alloca_once_value(builder, start)

            def spread(column: Any) -> list[Any]:
                bits = builder.load(vectors.step(builder, masks, column))
                parts = []
                for part in range(0, LANES, width):
                    own = builder.trunc(builder.lshr(bits, INT(part)), ir.IntType(width))
                    at = builder.load(place)
                    kept = builder.bitcast(own, vectors.vector(ir.IntType(1), width))
                    parts.append(vectors.expanded(builder, at, kept, of))
                    builder.store(vectors.step(builder, at, builder.zext(builder.ctpop(own), LONG)), place)
                return parts

            def row(index: Any) -> None:
                if pairs:
                    first = builder.shl(index, LONG(1))
                    columns = (spread(first), spread(builder.add(first, LONG(1))))
                    parts = [vectors.in_pairs(builder, low, high) for low, high in zip(*columns, strict=True)]
                else:
                    parts = spread(index)
                    parts = parts if of is FLOAT else [vectors.from_bfloat16(builder, part) for part in parts]
                goal = vectors.step(builder, target, builder.mul(index, LONG(LANES)))
                for part, values in enumerate(parts):
                    vectors.store(builder, values, vectors.step(builder, goal, part * width))

            vectors.over(builder, columns, row)
            return context.get_dummy_value()

        return types.void(values, value, masks, mask, target, columns), generate

    return kernel
