"""Panics of libraries written in Rust (tokenizers, safetensors) as errors."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager


class Panic(Exception):
    """A library written in Rust gave up. Its own class is no `Exception`, and would pass every `except`."""


@contextmanager
def panics_as_errors() -> Iterator[None]:
    """Raise `Panic` where tokenizers or safetensors panic."""
    try:
        yield
    except BaseException as error:
        if type(error).__name__ == "PanicException":
            raise Panic(str(error)) from error
        raise
