"""The kinds of export."""

from __future__ import annotations

from typing import Literal

Kind = Literal["folder", "packed", "masks"]
"""The weights for plain transformers, zeros and all; the weights without their zeros, for `load_packed`; no weights."""
