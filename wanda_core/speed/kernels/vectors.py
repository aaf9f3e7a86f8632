"""Words of LLVM that numba lacks: vectors of float32, for kernels whose sums must stay in registers.

A vector is as long as this machine's registers; LLVM writes the same code for any machine.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import llvmlite.binding as llvm
from llvmlite import ir
from numba.core import cgutils
from numba.np.arrayobj import make_array

FLOAT = ir.FloatType()
BYTE, SHORT, INT, LONG = (ir.IntType(bits) for bits in (8, 16, 32, 64))

_FEATURES = llvm.get_host_cpu_features()


def has(*features: str) -> bool:
    """Whether this machine's processor has all of these, by LLVM's names such as `avx512f`."""
    return all(_FEATURES.get(feature) for feature in features)


WIDTH = 16 if has("avx512f") else 8 if has("avx2", "fma") else 4
"""Float32 in a register."""


def vector(of: Any, width: int) -> Any:
    return ir.VectorType(of, width)


def constant(value: float, of: Any, width: int) -> Any:
    return ir.Constant(vector(of, width), [value] * width)


def pointer(context: Any, builder: Any, kind: Any, array: Any, at: Any) -> Any:
    """Of an array's element, counted from its first."""
    return builder.gep(make_array(kind)(context, builder, array).data, [at])


def step(builder: Any, start: Any, count: Any) -> Any:
    """The pointer `count` elements on: a number, or a value of LLVM."""
    return builder.gep(start, [LONG(count) if isinstance(count, int) else count])


def load(builder: Any, start: Any, of: Any, width: int) -> Any:
    """`width` neighbours, wherever they begin."""
    place = builder.bitcast(start, vector(of, width).as_pointer())
    return builder.load(place, align=of.width // 8 if isinstance(of, ir.IntType) else 4)


def expanded(builder: Any, start: Any, kept: Any, of: Any) -> Any:
    """A vector with the values from `start` on in the lanes that are kept, in their order; zeros in the others.

    One instruction with AVX-512 (of two-byte values: with its VBMI2); elsewhere value by value, right and slow.
    """
    wide = vector(of, kept.type.count)
    name = f"llvm.masked.expandload.v{wide.count}{'f32' if of is FLOAT else 'i16'}"
    return call(builder, name, wide, start, kept, ir.Constant(wide, None))


def from_bfloat16(builder: Any, bits: Any) -> Any:
    """float32 of bfloat16, given as whole numbers of 16 bits."""
    width = bits.type.count
    wide = builder.zext(bits, vector(INT, width))
    return builder.bitcast(builder.shl(wide, constant(16, INT, width)), vector(FLOAT, width))


def halves_of(builder: Any, pairs: Any) -> list[Any]:
    """Two vectors of float32 from one of pairs of bfloat16, whole numbers of 32 bits: the low halves, the high ones."""
    width = pairs.type.count
    low = builder.shl(pairs, constant(16, INT, width))
    high = builder.and_(pairs, constant(0xFFFF0000, INT, width))
    return [builder.bitcast(half, vector(FLOAT, width)) for half in (low, high)]


def in_pairs(builder: Any, low: Any, high: Any) -> Any:
    """Two vectors of bfloat16, given as whole numbers of 16 bits, in the halves of float32 that mean nothing."""
    width = low.type.count
    wide = vector(INT, width)
    high = builder.shl(builder.zext(high, wide), constant(16, INT, width))
    return builder.bitcast(builder.or_(builder.zext(low, wide), high), vector(FLOAT, width))


def store(builder: Any, values: Any, start: Any) -> None:
    builder.store(values, builder.bitcast(start, values.type.as_pointer()), align=4)


def everywhere(builder: Any, value: Any, width: int) -> Any:
    """A vector that holds one value in all lanes."""
    none = ir.Constant(vector(value.type, width), ir.Undefined)
    return builder.shuffle_vector(builder.insert_element(none, value, INT(0)), none, constant(0, INT, width))


def call(builder: Any, name: str, returns: Any, *arguments: Any) -> Any:
    kind = ir.FunctionType(returns, [argument.type for argument in arguments])
    return builder.call(cgutils.get_or_insert_function(builder.module, kind, name), arguments)


def multiply_add(builder: Any, a: Any, b: Any, total: Any) -> Any:
    """a * b + total, rounded once where the processor can, in two steps elsewhere."""
    return call(builder, f"llvm.fmuladd.v{total.type.count}f32", total.type, a, b, total)


class _BFloat16(ir.Type):
    """A type of LLVM that llvmlite does not name."""

    def _to_string(self) -> str:
        return "bfloat"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _BFloat16)

    def __hash__(self) -> int:
        return hash(_BFloat16)


class Sums:
    """Vectors of sums that begin at zero and stay in registers throughout a loop."""

    def __init__(self, builder: Any, count: int, width: int) -> None:
        self._builder = builder
        self._places = [cgutils.alloca_once(builder, vector(FLOAT, width)) for _ in range(count)]
        for place in self._places:
            builder.store(constant(0.0, FLOAT, width), place)

    def add(self, index: int, a: Any, b: Any) -> None:
        """Add a * b to one of them."""
        place = self._places[index]
        self._builder.store(multiply_add(self._builder, a, b, self._builder.load(place)), place)

    def add_pairs(self, index: int, a: Any, b: Any) -> None:
        """Add the products of pairs of bfloat16, given as whole numbers of 32 bits; by AVX512-BF16."""
        place = self._places[index]
        total = self._builder.load(place)
        a, b = (self._builder.bitcast(pairs, vector(_BFloat16(), 2 * pairs.type.count)) for pairs in (a, b))
        name = "llvm.x86.avx512bf16.dpbf16ps.512"
        self._builder.store(call(self._builder, name, total.type, total, a, b), place)

    def add_to(self, index: int, start: Any) -> None:
        """Add one of them to the neighbours in memory from `start` on."""
        total = self._builder.load(self._places[index])
        held = load(self._builder, start, FLOAT, total.type.count)
        store(self._builder, self._builder.fadd(held, total), start)


def over(builder: Any, count: Any, body: Callable[[Any], None]) -> None:
    """A loop from 0 below `count`."""
    with cgutils.for_range(builder, count) as loop:
        body(loop.index)


def transposed(builder: Any, rows: list[Any]) -> list[Any]:
    """As many vectors as each has lanes, a power of two: the lanes become the vectors."""
    width = len(rows)
    low = ir.Constant(vector(INT, width), [i // 2 + i % 2 * width for i in range(width)])
    high = ir.Constant(vector(INT, width), [width // 2 + i // 2 + i % 2 * width for i in range(width)])
    for _ in range(width.bit_length() - 1):
        # A perfect riffle of the vectors and of their lanes.
        pairs = [(rows[i], rows[i + width // 2]) for i in range(width // 2)]
        rows = [builder.shuffle_vector(a, b, half) for a, b in pairs for half in (low, high)]
    return rows


def prefetch(builder: Any, start: Any) -> None:
    """Begin to read the cache line that holds an element, which may be past the array's end."""
    place = builder.bitcast(start, BYTE.as_pointer())
    call(builder, "llvm.prefetch.p0i8", ir.VoidType(), place, INT(0), INT(3), INT(1))
