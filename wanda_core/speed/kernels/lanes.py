"""What numba has no word for: reading the kept values of 32 rows into their lanes, by LLVM's expanding load.

With AVX-512 that is one instruction for 16 lanes. Elsewhere LLVM does it value by value, right and slow: see `fast`.
"""

from __future__ import annotations

import llvmlite.binding as llvm
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic
from numba.np.arrayobj import make_array

from wanda_core.speed.kernels.compiled import njit

LANES = 32
"""Rows of a tile."""


HALF = 16


_FLOAT = ir.FloatType()


_VALUES = ir.VectorType(_FLOAT, HALF)


_KEPT = ir.VectorType(ir.IntType(1), HALF)


def fast() -> bool:
    """Whether this machine has the instruction."""
    return bool(llvm.get_host_cpu_features().get("avx512f"))


@intrinsic
def _add_kept_half(typing, values, place, mask, factor, sums, lane):
    """sums[lane + i] += values[place + (number of kept among the first i)] * factor, for every kept i below 16."""

    def generate(context, builder, signature, arguments):
        values, place, mask, factor, sums, lane = arguments
        source = builder.gep(make_array(signature.args[0])(context, builder, values).data, [place])
        kept = builder.bitcast(builder.trunc(mask, ir.IntType(HALF)), _KEPT)
        load = ir.FunctionType(_VALUES, [_FLOAT.as_pointer(), _KEPT, _VALUES])
        name = f"llvm.masked.expandload.v{HALF}f32"
        function = cgutils.get_or_insert_function(builder.module, load, name)
        expanded = builder.call(function, [source, kept, ir.Constant(_VALUES, [0.0] * HALF)])
        one = builder.insert_element(
            ir.Constant(_VALUES, ir.Undefined), factor, ir.Constant(ir.IntType(32), 0)
        )
        everywhere = ir.Constant(ir.VectorType(ir.IntType(32), HALF), [0] * HALF)
        factors = builder.shuffle_vector(one, ir.Constant(_VALUES, ir.Undefined), everywhere)
        target = builder.gep(make_array(signature.args[4])(context, builder, sums).data, [lane])
        target = builder.bitcast(target, _VALUES.as_pointer())
        products = builder.fmul(expanded, factors, flags=("contract",))
        total = builder.fadd(builder.load(target, align=4), products, flags=("contract",))
        builder.store(total, target, align=4)
        return context.get_dummy_value()

    return types.void(values, place, mask, factor, sums, lane), generate


@intrinsic
def _count_bits(typing, value):
    return value(value), lambda context, builder, signature, arguments: builder.ctpop(arguments[0])


@njit()
def count(mask):
    """Kept values of a mask of 32 lanes, uint32."""
    return _count_bits(mask)


@njit()
def add_kept(values, place, mask, factor, sums, lane):
    """Add `factor` times the values from `place` on to those of 32 sums, from `lane` on, whose bit in `mask` is set."""
    _add_kept_half(values, place, mask, factor, sums, lane)
    low = mask & 0xFFFF
    _add_kept_half(values, place + _count_bits(low), mask >> HALF, factor, sums, lane + HALF)
