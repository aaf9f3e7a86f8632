"""The command line: `python -m wanda_core prune | compare | check | latency`."""

from __future__ import annotations

import argparse
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import NoReturn

from wanda_core.cli import check, compare, latency, prune
from wanda_core.errors import Refused, Stopped

MOST_SAID = 800
"""Letters of what is said: it may quote an argument of thousands."""


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
    options = argparse.Namespace(flags={}, argv=arguments, command=None)
    try:
        options = _parser(prog, more).parse_args(arguments, options)
        with _set_by_interrupt() as options.stop:
            options.run(options)
    except Refused as error:
        return _fail(error.told(lambda setting: options.flags.get(setting, f"--{setting.replace('_', '-')}")))
    except (KeyboardInterrupt, Stopped):
        return _fail("stopped")
    except (MemoryError, RuntimeError, OSError) as error:
        import torch

        from wanda_core.machine import is_out_of_memory

        if is_out_of_memory(error):
            lower = "--tokens" if options.command == "latency" else "--samples or --length"
            return _fail(f"out of memory: lower {lower}, or choose a smaller model")
        if isinstance(error, torch.AcceleratorError):
            # Nothing runs on the device in this process any more.
            return _fail(
                f"the CUDA device failed ({str(error).splitlines()[0]}): run again, or with --device cpu"
            )
        if isinstance(
            error, OSError
        ):  # what is written and read is checked before: a terminal that is gone, say
            return _fail(f"{error.filename or options.command}: {error.strerror or error}")
        raise
    return 0


@contextmanager
def _set_by_interrupt() -> Iterator[threading.Event]:
    """An event that Ctrl-C sets beside raising KeyboardInterrupt, which Python drops where it falls into a callback of
    the garbage collector."""
    stop = threading.Event()
    usual = signal.default_int_handler

    def interrupt(number: int, frame: FrameType | None) -> None:
        stop.set()
        usual(number, frame)

    own = threading.current_thread() is threading.main_thread() and signal.getsignal(signal.SIGINT) is usual
    if own:
        signal.signal(signal.SIGINT, interrupt)
    try:
        yield stop
    finally:
        if own:
            signal.signal(signal.SIGINT, usual)


def _fail(message: str) -> int:
    # What a library said may have lines of its own.
    print(f"wanda_core: {' '.join(message.split())[:MOST_SAID]}", file=sys.stderr)
    return 2


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise Refused(f"{message} (see --help)")


def _parser(prog: str, more: str | None) -> argparse.ArgumentParser:
    parser = _Parser(prog=prog, description="Prune language models and measure what it costs.", epilog=more)
    commands = parser.add_subparsers(dest="command", required=True)
    for command in (prune, compare, check, latency):
        command.add_to(commands)
    return parser


if __name__ == "__main__":
    sys.exit(main())
