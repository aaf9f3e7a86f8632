"""The command line: `python -m wanda_core prune | compare | latency`."""

from __future__ import annotations

import argparse
import sys
from typing import NoReturn

from wanda_core.cli import compare, latency, prune
from wanda_core.errors import Refused


def main(
    arguments: list[str] | None = None, *, prog: str = "python -m wanda_core", more: str | None = None
) -> int:
    """Run a command. Exit code 0, or 2 with one line on standard error.

    Args:
        arguments: those of the process where left out.
        prog: how the help calls the program.
        more: a line below the help.
    """
    arguments = sys.argv[1:] if arguments is None else arguments
    options = argparse.Namespace(flags={}, argv=arguments)
    try:
        options = _parser(prog, more).parse_args(arguments, options)
        options.run(options)
    except Refused as error:
        return _fail(error.told(lambda setting: options.flags.get(setting, f"--{setting.replace('_', '-')}")))
    except KeyboardInterrupt:
        return _fail("stopped")
    except (MemoryError, RuntimeError) as error:
        from wanda_core.machine import is_out_of_memory

        if is_out_of_memory(error):
            return _fail("out of memory: lower --samples or --length, or choose a smaller model")
        raise
    return 0


def _fail(message: str) -> int:
    # What a library said may have lines of its own.
    print(f"wanda_core: {' '.join(message.split())}", file=sys.stderr)
    return 2


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise Refused(f"{message} (see --help)")


def _parser(prog: str, more: str | None) -> argparse.ArgumentParser:
    parser = _Parser(prog=prog, description="Prune language models and measure what it costs.", epilog=more)
    commands = parser.add_subparsers(dest="command", required=True)
    for command in (prune, compare, latency):
        command.add_to(commands)
    return parser


if __name__ == "__main__":
    sys.exit(main())
