"""Products with 2:4 weights, for some of the tiles of 32 rows: by `by_rows` for few tokens, by `by_tokens` for many."""

from __future__ import annotations

import numpy as np

from wanda_core.speed.kernels import by_rows, by_tokens
from wanda_core.speed.kernels.blocks import LANES
from wanda_core.speed.kernels.by_rows import HELD
from wanda_core.speed.kernels.compiled import njit
from wanda_core.speed.kernels.vectors import WIDTH

BLOCK = 64
"""Groups whose products are added up before they join the total: short sums round less."""

PANEL = 4096
"""Float32 of a panel, 16 KB: with the weights and sums beside it in a cache of 32."""

TILES = 32
"""Tiles that a panel is multiplied with while their sums are in the second cache."""

SCRATCH = PANEL + TILES * LANES * by_tokens.MOST * WIDTH
"""Float32 of memory that `multiply` works in."""

_rows = by_rows.two_four()
_panel2, _panel3, _panel4 = (by_tokens.two_four(wide) for wide in (2, 3, 4))
_ROWS2, _ROWS3, _ROWS4 = (by_tokens.rows_at_once(wide) for wide in (2, 3, 4))
_transpose = by_tokens.transpose()
_fetch = by_tokens.fetch(8, 16)


@njit()
def multiply(values, places, inputs, outputs, scratch, first, last):
    """outputs += inputs @ weight.T, for the rows of tiles `first` to `last`.

    `values`: float32 (tiles, groups, 2, lanes), or uint32 (tiles, groups, 1, lanes) of two bfloat16, the first in the
    low half; `places`: uint8 (tiles, pairs of groups, lanes), first + 4 * second of a group, the second group's in the
    high half. `inputs`: float32 (tokens, in_features), `outputs`: float32 (tokens, 32 * tiles), zeros before.
    `scratch`: float32 (SCRATCH,), from the begin of a cache line on. More tokens than a vector has go through panels.
    """
    tokens = inputs.shape[0]
    token = 0
    while tokens - token > WIDTH:
        wide = min(by_tokens.MOST, (tokens - token + WIDTH - 1) // WIDTH)
        for low in range(first, last, TILES):
            _many(values, places, inputs, outputs, scratch, low, min(low + TILES, last), token, wide)
        token += wide * WIDTH
    if token < tokens:
        _few(values, places, inputs, outputs, first, last, token)


@njit()
def _few(values, places, inputs, outputs, first, last, token):
    """Of the tokens from `token` on."""
    groups, width, rows = values.shape[1], inputs.shape[1], outputs.shape[1]
    element = values.shape[2] * LANES
    tokens = inputs.shape[0] - token
    for tile in range(first, last):
        for start in range(0, groups, BLOCK):
            count = min(BLOCK, groups - start)
            for lane in range(0, LANES, HELD):
                value = (tile * groups + start) * element + lane
                place = (tile * places.shape[1] + start // 2) * LANES + lane
                x, y = token * width + 4 * start, token * rows + tile * LANES + lane
                _rows(values, value, places, place, inputs, x, width, outputs, y, rows, count, tokens)


@njit()
def _many(values, places, inputs, outputs, scratch, first, last, token, wide):
    """Of `wide` vectors of tokens from `token` on."""
    groups = values.shape[1]
    element = values.shape[2] * LANES
    apart = wide * WIDTH
    block = PANEL // (8 * apart) * 2
    panel, sums = scratch[:PANEL], scratch[PANEL:]
    sums[: (last - first) * LANES * apart] = 0
    for start in range(0, groups, block):
        count = min(block, groups - start)
        _fill(panel, inputs, token, 4 * start, 4 * count, apart)
        for tile in range(first, last):
            value = (tile * groups + start) * element
            place = (tile * places.shape[1] + start // 2) * LANES
            total = (tile - first) * LANES * apart
            following = value + groups * element
            for line in range(0, count * element, 8 * 16):
                _fetch(values, following + line)
            if wide == 4:
                for row in range(0, LANES, _ROWS4):
                    at = total + row * apart
                    _panel4(values, value + row, places, place + row, panel, 0, sums, at, count)
            elif wide == 3:
                for row in range(0, LANES, _ROWS3):
                    at = total + row * apart
                    _panel3(values, value + row, places, place + row, panel, 0, sums, at, count)
            else:
                for row in range(0, LANES, _ROWS2):
                    at = total + row * apart
                    _panel2(values, value + row, places, place + row, panel, 0, sums, at, count)
    _write(sums, outputs, token, first * LANES, (last - first) * LANES, apart)


@njit()
def _fill(panel, inputs, token, column, columns, apart):
    """panel[column, token] of `apart` tokens; those that there are not are zeros."""
    tokens, width = inputs.shape
    whole = columns // WIDTH * WIDTH
    for part in range(0, apart, WIDTH):
        left = 0
        if token + part + WIDTH <= tokens:
            for at in range(0, whole, WIDTH):
                start = (token + part) * width + column + at
                _transpose(inputs, start, width, panel, at * apart + part, apart)
            left = whole
        for at in range(left, columns):
            for lane in range(part, part + WIDTH):
                there = token + lane < tokens
                panel[at * apart + lane] = inputs[token + lane, column + at] if there else np.float32(0)


@njit()
def _write(sums, outputs, token, row, rows, apart):
    """Sums (rows, tokens of a panel) as outputs (tokens, rows)."""
    for part in range(0, apart, WIDTH):
        if token + part + WIDTH <= outputs.shape[0]:
            for at in range(0, rows, WIDTH):
                start = (token + part) * outputs.shape[1] + row + at
                _transpose(sums, at * apart + part, apart, outputs, start, outputs.shape[1])
        else:
            for lane in range(part, min(apart, outputs.shape[0] - token)):
                for at in range(rows):
                    outputs[token + lane, row + at] = sums[at * apart + lane]
