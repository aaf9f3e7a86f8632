"""Targets by name, imported when first used: a registry that `--help` reads should not wait for torch."""

from __future__ import annotations

from importlib import import_module
from typing import Any


def target(name: str) -> Any:
    """What `module:name` names."""
    module, _, attribute = name.partition(":")
    return getattr(import_module(module), attribute)
