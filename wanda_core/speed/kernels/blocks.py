"""Blocks of a product in which a vector holds rows of the weight and some tokens are taken at once.

A tile's 32 rows lie side by side. The sums of up to eight tokens stay in registers, so that a weight is read, and made
ready, once for all of them; the inputs are read as they are.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from wanda_core.speed.kernels import vectors
from wanda_core.speed.kernels.vectors import LONG, Sums

LANES = 32
"""Rows of a tile."""

AHEAD = 16
"""Groups of four inputs whose weights are fetched before their turn."""


@dataclass(frozen=True)
class Block:
    """What a block is written from: some inputs, `width` * `halves` rows, some tokens."""

    builder: Any
    dtype: Any
    """numba's, of the values."""
    values: Any
    marks: Any
    """Places or masks: pointers to the first, as are those of `values` and `inputs`."""
    inputs: list[Any]
    """By token."""
    count: Any
    """Groups or columns or pairs of columns."""
    sums: Sums
    """By token and half."""
    halves: int
    width: int

    def at(self, start: Any, index: Any, apart: int, more: int = 0) -> Any:
        """The element `index * apart + more` on from `start`."""
        start = vectors.step(self.builder, start, self.builder.mul(index, LONG(apart)))
        return vectors.step(self.builder, start, more)

    def fetch_ahead(self, index: Any, apart: int) -> None:
        """Begin to read a later group's values; with fewer than four tokens the processor does so by itself."""
        if len(self.inputs) >= 4:
            for line in range(0, apart * self.width * self.halves // LANES, 16):
                vectors.prefetch(self.builder, self.at(self.values, index, apart, AHEAD * apart + line))

    def in_pairs(self, group: Callable[[Any, Any, int], None]) -> None:
        """Write `group(index, pair, second)` for all groups, of which places hold two side by side."""

        def two(pair: Any) -> None:
            for second in (0, 1):
                index = self.builder.add(self.builder.shl(pair, LONG(1)), LONG(second))
                group(index, pair, second)

        pairs = self.builder.lshr(self.count, LONG(1))
        vectors.over(self.builder, pairs, two)
        with self.builder.if_then(self.builder.trunc(self.count, ir.IntType(1))):
            group(self.builder.shl(pairs, LONG(1)), pairs, 0)


def kernel(write: Callable[[Block], None], width: int, halves: int) -> Any:
    """outputs[token, row] += the products of some inputs, for some rows of a tile and any number of tokens.

    Arguments of the kernel: the values and where they begin, the marks and where they begin, the inputs, where they
    begin and how far apart tokens are, the outputs the same; how many groups or columns, how many tokens. All arrays
    are seen as flat ones.
    """

    @intrinsic
    def multiply(typing, values, value, marks, mark, inputs, x, x_step, outputs, y, y_step, count, tokens):
        def generate(context, builder, signature, arguments):
            kinds = signature.args
            values, value, marks, mark, inputs, x, x_step, outputs, y, y_step, count, tokens = arguments
            value = vectors.pointer(context, builder, kinds[0], values, value)
            mark = vectors.pointer(context, builder, kinds[2], marks, mark)
            x = vectors.pointer(context, builder, kinds[4], inputs, x)
            y = vectors.pointer(context, builder, kinds[7], outputs, y)

            def block(first: Any, size: int) -> None:
                def each(start: Any, apart: Any) -> list[Any]:
                    places = [builder.add(first, LONG(token)) for token in range(size)]
                    return [vectors.step(builder, start, builder.mul(apart, place)) for place in places]

                sums = Sums(builder, size * halves, width)
                write(
                    Block(builder, kinds[0].dtype, value, mark, each(x, x_step), count, sums, halves, width)
                )
                for token, start in enumerate(each(y, y_step)):
                    for half in range(halves):
                        sums.add_to(token * halves + half, vectors.step(builder, start, half * width))

            eights = builder.lshr(tokens, LONG(3))
            vectors.over(builder, eights, lambda eight: block(builder.shl(eight, LONG(3)), 8))
            for size in (4, 2, 1):
                # What is left, by its bits: first four tokens, then two, then one.
                with builder.if_then(
                    builder.trunc(builder.lshr(tokens, LONG(size.bit_length() - 1)), ir.IntType(1))
                ):
                    block(builder.and_(tokens, LONG(-2 * size)), size)
            return context.get_dummy_value()

        return types.void(
            values, value, marks, mark, inputs, x, x_step, outputs, y, y_step, count, tokens
        ), generate

    return multiply
