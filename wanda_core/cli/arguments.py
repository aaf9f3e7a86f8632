"""What several commands share: options made of settings, and checks of result files."""

from __future__ import annotations

import argparse
import os
from collections.abc import Sequence
from dataclasses import MISSING, fields
from pathlib import Path
from typing import Any, TypeVar

from wanda_core.argument_checks import check_name
from wanda_core.errors import Refused
from wanda_core.field_docs import field_docs
from wanda_core.method.methods import METHODS

Settings = TypeVar("Settings")

FLAGS = {"recovery": "--recover"}
"""Settings whose option is not called as they are."""

SWITCHES = {"order": "channels"}
"""Settings of two values whose option takes none, and what it stands for."""

METAVARS = {"calibration": "FILE|DATASET", "evaluation": "FILE|DATASET", "pattern": "N:M"}


def new_command(commands: Any, name: str, what: str, examples: str) -> argparse.ArgumentParser:
    """A sub-command with examples below its help."""
    return commands.add_parser(
        name,
        help=what,
        description=f"{what[0].upper()}{what[1:]}.",
        epilog=f"examples:\n{examples}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )


def add_settings(
    parser: argparse.ArgumentParser, kind: type, names: Sequence[str], required: Sequence[str] = ()
) -> None:
    """An option for each of these fields of a dataclass: its docstring is the help, its default the default."""
    known = {field.name: field for field in fields(kind)}
    for name in names:
        field = known[name]
        default = None if field.default is MISSING else field.default
        text = _help(kind, name)
        if default is not None and default is not False:
            text += f" (default {default})"
        flag = FLAGS.get(name, f"--{name.replace('_', '-')}")
        if field.type == "bool":
            parser.add_argument(flag, action="store_true", help=text.replace("%", "%%"))
            continue
        if name in SWITCHES:
            parser.add_argument(
                flag,
                action="store_const",
                const=SWITCHES[name],
                default=default,
                help=text.replace("%", "%%"),
            )
            continue
        types = {"int": int, "float": float}
        parser.add_argument(
            flag,
            dest=name,
            type=types.get(str(field.type).split(" ")[0], str),
            default=default,
            required=name in required,
            metavar=METAVARS.get(name),
            help=text.replace("%", "%%"),
        )


def _help(kind: type, name: str) -> str:
    text = field_docs(kind)[name].replace("`", "").removesuffix(".")
    return f"{text}: {', '.join(METHODS)}" if name == "method" else text


def add_source(parser: argparse.ArgumentParser, kind: type, **how: Any) -> None:
    parser.add_argument("source", metavar="SOURCE", help=_help(kind, "source"), **how)


def settings_of(kind: type[Settings], options: argparse.Namespace, **more: Any) -> Settings:
    """The settings that were given as options, and `more`."""
    given = {field.name: getattr(options, field.name) for field in fields(kind) if field.name in options}  # type: ignore[arg-type]
    return kind(**given | more)


def names(text: str) -> list[str]:
    found = [part.strip() for part in text.split(",") if part.strip()]
    if not found:
        raise argparse.ArgumentTypeError(f"`{text[:40]}` names nothing")
    return found


def refuse_unwritable(*files: Path | None) -> None:
    """Refuse result files that cannot be, before anything is measured."""
    for file in filter(None, files):
        check_name(file)
        if file.is_dir():
            raise Refused(f"{file} is a folder: give a file")
        if file.exists() and not file.is_file():
            raise Refused(f"{file} is no plain file: give another name")
        place = Path(os.path.realpath(file))
        if place.is_symlink():
            raise Refused(f"{file} is a link in a circle: give another name")
        parent = place.parent
        if not parent.is_dir():
            raise Refused(f"{parent} is no folder: create it first")
        if not os.access(parent, os.W_OK):
            raise Refused(f"{parent} cannot be written to: give another place")
