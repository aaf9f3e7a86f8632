"""The app in a process of its own, cut off from the network."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil

ROOT = Path(__file__).parents[2]
OFFLINE = Path(__file__).parent / "offline"
"""Holds a `sitecustomize` that makes every look-up of a name fail in the process that has it on its path."""


def free_port() -> int:
    """One that nothing listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@contextmanager
def served(
    *,
    command: Sequence[str] = (sys.executable, "app.py"),
    folder: Path = ROOT,
    log: Path | None = None,
    **environment: str,
) -> Iterator[str]:
    """Run the app in a process without network; gives its address.

    Args:
        log: takes what it says, on both streams.
    """
    port = free_port()
    path = os.pathsep.join([str(OFFLINE), environment.pop("PYTHONPATH", os.environ.get("PYTHONPATH", ""))])
    said = log.open("w") if log else None
    process = subprocess.Popen(
        [*command, "--port", str(port)],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": path, **environment},
        stdout=said,
        stderr=said,
    )
    address = f"http://127.0.0.1:{port}"
    try:
        wait_for(address, process)
        yield address
    finally:
        forked = psutil.Process(process.pid).children(recursive=True) if process.poll() is None else []
        process.terminate()
        process.wait(20)
        for child in forked:  # on ZeroGPU they would outlive it
            with suppress(psutil.NoSuchProcess):
                child.kill()
        if said:
            said.close()


def wait_for(address: str, process: subprocess.Popen, seconds: float = 90) -> None:
    """Until the server answers.

    Raises:
        AssertionError: it ended or took too long.
    """
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        assert process.poll() is None, "the app ended"
        try:
            urllib.request.urlopen(address, timeout=5).read()
        except OSError:
            time.sleep(0.1)
        else:
            return
    raise AssertionError(f"no answer within {seconds} s")


def server_memory(address: str) -> int:
    """Bytes in memory of the process that serves `address`."""
    port = address.rsplit(":", 1)[1]
    for process in psutil.process_iter(["cmdline"]):
        command = process.info["cmdline"] or []
        if "app.py" in command and command[-1:] == [port]:
            return process.memory_info().rss
    raise AssertionError(f"no process serves {address}")
