"""Faults planted into modules that are already imported: one line of source changed, inside a `with`."""

from __future__ import annotations

import importlib
import types
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import Any


@contextmanager
def planted(module_name: str, right: str, wrong: str) -> Iterator[None]:
    """Let a module's functions run as if `right`, which occurs once and lies in one line, read `wrong`.

    The functions' code is exchanged, not the functions: whoever imported one runs the fault, too. What is computed
    when the module is imported stays as it is.
    """
    module = importlib.import_module(module_name)
    source = Path(module.__file__).read_text(encoding="utf-8")
    assert source.count(right) == 1, (module_name, right, source.count(right))
    assert "\n" not in right
    scratch = types.ModuleType(module_name)
    scratch.__dict__.update(__file__=module.__file__, __package__=module.__package__)
    exec(compile(source.replace(right, wrong), module.__file__, "exec"), scratch.__dict__)
    sick = dict(_functions(scratch, module_name))
    before = {name: function.__code__ for name, function in _functions(module, module_name)}
    try:
        for name, function in _functions(module, module_name):
            function.__code__ = sick[name].__code__
        yield
    finally:
        for name, function in _functions(module, module_name):
            function.__code__ = before[name]


def _functions(holder: Any, module: str, prefix: str = "") -> Iterator[tuple[str, types.FunctionType]]:
    """The functions that a module, or a class in it, defines, by their qualified names."""
    for name, value in list(vars(holder).items()):
        value = getattr(value, "__func__", value)
        value = value.fget if isinstance(value, property) else value
        value = value.func if isinstance(value, cached_property) else value
        while hasattr(value, "__wrapped__"):
            value = value.__wrapped__
        if isinstance(value, types.FunctionType) and value.__module__ == module:
            # What a dataclass writes itself has no source here.
            if value.__code__.co_filename.endswith(".py"):
                yield f"{prefix}{name}", value
        elif isinstance(value, type) and value.__module__ == module:
            yield from _functions(value, module, f"{prefix}{name}.")
