"""A command line whose Hub is one that a test plays."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from http.server import ThreadingHTTPServer
from pathlib import Path

from tests.support.server import ROOT

LOOP = """
import contextlib, io, json, sys
from wanda_core.__main__ import main
for line in sys.stdin:
    code = main(json.loads(line))
    sys.stderr.flush()
    print(json.dumps(code), flush=True)
"""


class Session:
    """A process whose Hub is the played one; commands run one after the other, as importing takes seconds."""

    def __init__(self, hub: ThreadingHTTPServer, folder: Path, more: dict[str, str] | None = None) -> None:
        self.folder = folder
        self._errors = (folder / "errors").open("w+")
        environment = {k: v for k, v in os.environ.items() if not k.startswith("HF_")}
        self._process = subprocess.Popen(
            [sys.executable, "-c", LOOP],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            text=True,
            env={
                **environment,
                "HF_ENDPOINT": f"http://127.0.0.1:{hub.server_port}",
                "HF_HOME": str(folder / "cache"),
                **(more or {}),
            },
        )

    def run(self, *arguments: str) -> tuple[int, str]:
        """Exit code, and what the command wrote on standard error."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        start = (self.folder / "errors").stat().st_size
        self._process.stdin.write(json.dumps(arguments) + "\n")
        self._process.stdin.flush()
        while not (line := self._process.stdout.readline()).strip().isdigit():
            assert line, "the process ended"
        return int(line), (self.folder / "errors").read_text()[start:]

    def close(self) -> None:
        self._process.kill()
        self._process.wait()
        self._errors.close()
