"""Products of bfloat16 weights and inputs two by two, for some of the tiles of 32 rows: by `by_pairs`."""

from __future__ import annotations

from wanda_core.speed.kernels import by_pairs, by_rows
from wanda_core.speed.kernels.blocks import LANES
from wanda_core.speed.kernels.compiled import njit
from wanda_core.speed.kernels.tiles import BLOCK

GROUPS = 64
"""Groups whose products are added up before they join the total."""

INPUTS = 320_000
"""Inputs that stay in the second cache while all tiles are multiplied with them, 640 KB."""

_two_four, _dense, _unpack = by_pairs.two_four(), by_pairs.dense(), by_rows.unpack(pairs=True)


@njit()
def multiply_two_four(values, places, inputs, outputs, scratch, first, last):
    """As `two_four.multiply` with two bfloat16 as uint32; `inputs`: bfloat16 as uint16 (tokens, in_features)."""
    groups, width, rows = values.shape[1], inputs.shape[1], outputs.shape[1]
    some = max(8, INPUTS // width // 8 * 8)
    for token in range(0, inputs.shape[0], some):
        tokens = min(some, inputs.shape[0] - token)
        for tile in range(first, last):
            for start in range(0, groups, GROUPS):
                count = min(GROUPS, groups - start)
                value = (tile * groups + start) * LANES
                place = (tile * places.shape[1] + start // 2) * LANES
                x, y = token * width + 4 * start, token * rows + tile * LANES
                _two_four(values, value, places, place, inputs, x, width, outputs, y, rows, count, tokens)


@njit()
def multiply_dense(values, inputs, outputs, scratch, first, last):
    """As `tiles.multiply_dense` with uint32 (tiles, pairs of columns, lanes); `inputs`: of an even width."""
    pairs, width, rows = values.shape[1], inputs.shape[1], outputs.shape[1]
    for tile in range(first, last):
        for start in range(0, pairs, BLOCK):
            count, value = min(BLOCK, pairs - start), (tile * pairs + start) * LANES
            x, y = 2 * start, tile * LANES
            _dense(values, value, values, 0, inputs, x, width, outputs, y, rows, count, inputs.shape[0])


@njit()
def multiply_masked(values, starts, masks, inputs, outputs, scratch, first, last):
    """As `tiles.multiply_masked` with an even number of columns; a last one that there is not keeps nothing."""
    columns = masks.shape[1]
    width, rows = inputs.shape[1], outputs.shape[1]
    for tile in range(first, last):
        for block in range(starts.shape[1]):
            start = block * BLOCK
            count = min(BLOCK, columns - start) // 2
            _unpack(values, starts[tile, block], masks, tile * columns + start, scratch, count)
            _dense(
                scratch,
                0,
                scratch,
                0,
                inputs,
                start,
                width,
                outputs,
                tile * LANES,
                rows,
                count,
                inputs.shape[0],
            )
