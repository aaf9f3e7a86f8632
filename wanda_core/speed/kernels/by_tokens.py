"""The core of products in which a vector holds tokens: for many of them, whose inputs it reads from a panel.

A panel holds some inputs of up to 64 tokens, an input's tokens side by side, and fits the first cache. A kept weight
is broadcast and multiplied with the tokens of its own input, straight from the panel: nothing is moved about, and
zeros cost nothing. A multiply-add has one load beside it and a share of the broadcast's, so that where a cycle has as
many loads as multiply-adds the bound against dense is 2 * v / (v + 1/2) with v vectors of tokens: 1.8 at 64 tokens.
"""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from wanda_core.speed.kernels import vectors
from wanda_core.speed.kernels.blocks import LANES
from wanda_core.speed.kernels.vectors import FLOAT, LONG, Sums

MOST = 4
"""Vectors of tokens in a panel."""


def rows_at_once(wide: int) -> int:
    """Rows that a kernel for panels of `wide` vectors takes: eight sums or more hide what a multiply-add takes."""
    return {2: 4, 3: 4, 4: 2}[wide]


def two_four(wide: int, width: int = vectors.WIDTH) -> Any:
    """sums[row, token] += the products of some groups of four, for some rows of a tile and all tokens of a panel.

    Arguments of the kernel: the values and where they begin, the places and where they begin, the panel, the sums and
    where they begin, and how many groups there are.
    """
    tokens, rows = wide * width, rows_at_once(wide)

    @intrinsic
    def kernel(typing, values, value, places, place, panel, panel_at, sums, sums_at, groups):
        def generate(context, builder, signature, arguments):
            kinds = signature.args
            element = 1 if kinds[0].dtype == types.uint32 else 2
            values, value, places, place, panel, panel_at, sums, sums_at, groups = arguments
            value = vectors.pointer(context, builder, kinds[0], values, value)
            place = vectors.pointer(context, builder, kinds[2], places, place)
            panel = vectors.pointer(context, builder, kinds[4], panel, panel_at)
            target = vectors.pointer(context, builder, kinds[6], sums, sums_at)
            total = Sums(builder, rows * wide, width)

            def group(pair: Any, second: int, row: int, both: Any) -> None:
                index = builder.add(builder.shl(pair, LONG(1)), LONG(second))
                start = vectors.step(builder, value, builder.mul(index, LONG(element * LANES)))
                start = vectors.step(builder, start, row)
                four = vectors.step(builder, panel, builder.mul(index, LONG(4 * tokens)))
                for i, weight in enumerate(_pair(builder, start, element, width)):
                    kept = builder.and_(builder.lshr(both, LONG(4 * second + 2 * i)), LONG(3))
                    x = vectors.step(builder, four, builder.mul(kept, LONG(tokens)))
                    for part in range(wide):
                        inputs = vectors.load(builder, vectors.step(builder, x, part * width), FLOAT, width)
                        total.add(row * wide + part, weight, inputs)

            def both_of(pair: Any, row: int) -> Any:
                start = vectors.step(builder, place, builder.mul(pair, LONG(LANES)))
                return builder.zext(builder.load(vectors.step(builder, start, row)), LONG)

            def pair(index: Any) -> None:
                boths = [both_of(index, row) for row in range(rows)]
                for second in (0, 1):
                    for row in range(rows):
                        group(index, second, row, boths[row])

            pairs = builder.lshr(groups, LONG(1))
            vectors.over(builder, pairs, pair)
            with builder.if_then(builder.trunc(groups, ir.IntType(1))):
                for row in range(rows):
                    group(pairs, 0, row, both_of(pairs, row))
            for index in range(rows * wide):
                total.add_to(index, vectors.step(builder, target, index * width))
            return context.get_dummy_value()

        return types.void(values, value, places, place, panel, panel_at, sums, sums_at, groups), generate

    return kernel


def _pair(builder: Any, start: Any, element: int, width: int) -> list[Any]:
    """The two kept values of a row's group, each in all lanes; in bfloat16 they are the halves of one number."""
    if element == 2:
        values = [builder.load(vectors.step(builder, start, i * LANES)) for i in (0, 1)]
        return [vectors.everywhere(builder, value, width) for value in values]
    return vectors.halves_of(builder, vectors.everywhere(builder, builder.load(start), width))


def fetch(lines: int, apart: int) -> Any:
    """Begin to read some cache lines, `apart` elements from each other. Arguments of the kernel: an array, and from
    which element on."""

    @intrinsic
    def kernel(typing, array, at):
        def generate(context, builder, signature, arguments):
            start = vectors.pointer(context, builder, signature.args[0], *arguments)
            for line in range(lines):
                vectors.prefetch(builder, vectors.step(builder, start, line * apart))
            return context.get_dummy_value()

        return types.void(array, at), generate

    return kernel


def transpose(width: int = vectors.WIDTH) -> Any:
    """A square of `width` rows and columns from one array into another, transposed.

    Arguments of the kernel: from where, where it begins and how far apart its rows are; and the same of where to.
    """

    @intrinsic
    def kernel(typing, source, source_at, source_step, target, target_at, target_step):
        def generate(context, builder, signature, arguments):
            kinds = signature.args
            source, source_at, source_step, target, target_at, target_step = arguments
            start = vectors.pointer(context, builder, kinds[0], source, source_at)
            goal = vectors.pointer(context, builder, kinds[3], target, target_at)
            rows = [
                vectors.load(
                    builder, vectors.step(builder, start, builder.mul(source_step, LONG(row))), FLOAT, width
                )
                for row in range(width)
            ]
            for column, values in enumerate(vectors.transposed(builder, rows)):
                vectors.store(
                    builder, values, vectors.step(builder, goal, builder.mul(target_step, LONG(column)))
                )
            return context.get_dummy_value()

        return types.void(source, source_at, source_step, target, target_at, target_step), generate

    return kernel
