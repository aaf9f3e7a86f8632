"""Products with tiles (columns, 32 rows) of a weight: whole, as read, or unpacked block by block from a bitmask."""

from __future__ import annotations

from wanda_core.speed.kernels import by_rows
from wanda_core.speed.kernels.blocks import LANES
from wanda_core.speed.kernels.by_rows import HELD
from wanda_core.speed.kernels.compiled import njit

BLOCK = 128
"""Columns whose products are added up before they join the total, since short sums round less; unpacked they are 16 KB
and stay in the first cache for all tokens."""

SCRATCH = BLOCK * LANES
"""Float32 of memory that the products work in."""

_dense, _unpack = by_rows.dense(), by_rows.unpack()


@njit()
def multiply_dense(values, inputs, outputs, scratch, first, last):
    """outputs += inputs @ weight.T, for the rows of tiles `first` to `last`.

    `values`: float32 or, as uint16, bfloat16 (tiles, in_features, lanes); `inputs`: float32 (tokens, in_features),
    `outputs`: float32 (tokens, 32 * tiles), zeros before.
    """
    columns = values.shape[1]
    for tile in range(first, last):
        for start in range(0, columns, BLOCK):
            count = min(BLOCK, columns - start)
            _block(values, (tile * columns + start) * LANES, inputs, start, outputs, tile, count)


@njit()
def multiply_masked(values, starts, masks, inputs, outputs, scratch, first, last):
    """The same with the kept values alone, float32 or bfloat16 as uint16 (kept,).

    `starts`: int64 (tiles, blocks), each block's first value; `masks`: uint32 (tiles, in_features), a bit for each
    lane. `scratch`: float32 (SCRATCH,).
    """
    columns = masks.shape[1]
    for tile in range(first, last):
        for block in range(starts.shape[1]):
            start = block * BLOCK
            count = min(BLOCK, columns - start)
            _unpack(values, starts[tile, block], masks, tile * columns + start, scratch, count)
            _block(scratch, 0, inputs, start, outputs, tile, count)


@njit()
def _block(values, value, inputs, column, outputs, tile, count):
    width, rows = inputs.shape[1], outputs.shape[1]
    for lane in range(0, LANES, HELD):
        y = tile * LANES + lane
        _dense(
            values, value + lane, values, 0, inputs, column, width, outputs, y, rows, count, inputs.shape[0]
        )
