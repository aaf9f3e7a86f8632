"""The bits that kept weights are rounded to: types of GGUF in which a zero stays exactly zero. Free of torch."""

from __future__ import annotations

TYPES = {16: "F16", 8: "Q8_0", 4: "Q4_0"}
"""GGUF's types by the bits of a weight. In Q4_1, Q5_1 and the K-quants a block has an offset, and zeros come back as
something else."""

BLOCK = 32
"""Weights of a row that share a scale in Q8_0 and Q4_0."""

STORED_BITS = {16: 16.0, 8: 8.5, 4: 4.5}
"""Bits that a weight takes with its share of the scale."""

NAMES = {16: "", 8: " 8-bit", 4: " 4-bit"}
"""What follows the name of a point."""
