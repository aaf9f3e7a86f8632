"""Processes that a test ends in the middle, or gives less than they need."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

from tests.support.server import ROOT
from wanda_core import load_masks

FORKED = """
import os, sys, json
from wanda_core.__main__ import main
import wanda_core.experiments.compare, wanda_core.experiments.report, wanda_core.export.folder, torch
from components.take_away.job import Export
from components.workspace.setup import Setup
from wanda_core.method.recipe import Recipe
import threading
torch.set_num_threads(1); import wanda_core.models.load
def page(cache):
    from wanda_core.stages import own_folder
    from pathlib import Path
    own = own_folder(Path(cache) / "wanda-lab")
    setup = Setup("pocket", "stories", "stories", length=64)
    job = Export(setup, Recipe(method="wanda", sparsity=0.5), "folder", str(own))
    found = []
    job.compute(found.append, threading.Event())
    print(found[-1].file, flush=True)
print("ready", flush=True)
for line in sys.stdin:
    order = json.loads(line)
    child = os.fork()
    if not child:
        code = 3
        try:
            code = page(order[1]) or 0 if order[0] == "page" else main(order)
        finally:
            sys.stdout.flush()
            os._exit(code)
    print("child", child, flush=True)
    print("\\nended", os.waitpid(child, 0)[1], flush=True)
"""
"""Forks a process for each command: importing takes longer than the work."""


class Commands:
    def __init__(self, folder: Path) -> None:
        self.errors = (folder / "errors").open("w+")
        self._process = subprocess.Popen(
            [sys.executable, "-c", FORKED],
            cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self.errors, text=True,
            env={**os.environ, "OMP_NUM_THREADS": "1"},
        )  # fmt: skip
        self._read("ready")

    def _read(self, begin: str) -> str:
        """What follows this at the beginning of a line; others are what a command prints."""
        assert self._process.stdout is not None
        while not (line := self._process.stdout.readline()).startswith(begin):
            assert line, Path(self.errors.name).read_text()[-2000:]
        return line.removeprefix(begin).strip()

    def run(self, *order: str, kill_after: float | None = None) -> tuple[int, float]:
        """Status (minus the signal, where one ended it), and seconds."""
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(order) + "\n")
        self._process.stdin.flush()
        child, begin = int(self._read("child")), time.monotonic()
        if kill_after is not None:
            time.sleep(kill_after)
            with suppress(ProcessLookupError):  # it was faster
                os.kill(child, signal.SIGKILL)
        status = int(self._read("ended"))
        return os.waitstatus_to_exitcode(status), time.monotonic() - begin

    def close(self) -> None:
        self._process.kill()
        self._process.wait()
        self.errors.close()


TEXTS = ["--calibration", "{text}", "--samples", "2", "--length", "32"]
COMPARE = [*TEXTS, "--evaluation", "{text}", "--windows", "2", "--eval-length", "32"]


def filled(line: list[str], text: Path) -> list[str]:
    return [part.replace("{text}", str(text)) for part in line]


def whole(folder: Path) -> None:
    """An export that is there is complete."""
    recipe = json.loads((folder / "recipe.json").read_text())
    assert load_masks(folder / "masks.safetensors").keys() == {layer["name"] for layer in recipe["layers"]}
    assert (folder / "README.md").is_file()
    assert (folder / "model.safetensors").is_file()


def partial(folder: Path) -> list[Path]:
    return list(folder.rglob("*.partial"))


def run(code: str, line: list[str], **how: Any) -> subprocess.CompletedProcess[str]:
    program = f"import sys\nfrom wanda_core.__main__ import main\n{code}\nsys.exit(main(sys.argv[1:]))"
    environment = {**os.environ, "OMP_NUM_THREADS": "1", **how.pop("env", {})}
    return subprocess.run(
        [sys.executable, "-c", program, *line],
        cwd=ROOT, capture_output=True, text=True, timeout=300, check=False, env=environment, **how,
    )  # fmt: skip
