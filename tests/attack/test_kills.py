"""Processes that end in the middle, disks and memory that run out, clocks that jump: nothing that looks complete is
left, leftovers go at the next start, and `--resume` goes on."""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from http.client import HTTPException
from pathlib import Path
from typing import Any

import pytest

from tests.support.server import ROOT
from wanda_core import load_masks

pytestmark = pytest.mark.long

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


@pytest.fixture(scope="module")
def commands(tmp_path_factory: pytest.TempPathFactory) -> Any:
    made = Commands(tmp_path_factory.mktemp("commands"))
    yield made
    made.close()


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


@pytest.mark.parametrize("kind", ["folder", "packed"])
def test_a_killed_export_of_the_command_line(
    kind: str, commands: Commands, text_file: Path, tmp_path: Path, tried: Callable[..., None]
) -> None:
    out = tmp_path / "out"
    line = ["prune", "pocket", *filled(TEXTS, text_file), "--out", str(out)] + ["--packed"] * (
        kind == "packed"
    )
    code, seconds = commands.run(*line)
    assert code == 0
    draw, left = random.Random(kind), 0
    for _ in range(8):
        shutil.rmtree(out, ignore_errors=True)
        # The later part is the writing.
        commands.run(*line, kill_after=seconds * draw.uniform(0.3, 1))
        if out.exists():
            assert kind == "packed" or whole(out) is None
        left += bool(partial(tmp_path))
        tried("kills")
    shutil.rmtree(out, ignore_errors=True)
    assert commands.run(*line)[0] == 0
    assert [entry.name for entry in tmp_path.iterdir()] == ["out"]
    assert left, "no kill met the writing: the moments are to be drawn anew"


def test_a_killed_export_of_the_page(commands: Commands, tmp_path: Path, tried: Callable[..., None]) -> None:
    code, seconds = commands.run("page", str(tmp_path))
    assert code == 0
    draw = random.Random(0)
    for _ in range(8):
        commands.run("page", str(tmp_path), kill_after=seconds * draw.uniform(0.2, 1))
        assert all(
            ".partial" in str(zipped) for zipped in tmp_path.rglob("*.zip")
        )  # of a server that is no more
        tried("kills")
    assert commands.run("page", str(tmp_path))[0] == 0
    (server,) = (tmp_path / "wanda-lab").iterdir()  # what the dead ones left is gone
    assert len(list(server.rglob("*.zip"))) == 1


@pytest.mark.parametrize("kind", ["methods", "sparsities"])
def test_a_killed_comparison_is_resumed(
    kind: str, commands: Commands, text_file: Path, tmp_path: Path, tried: Callable[..., None]
) -> None:
    """One of methods, and one over many sparsities, as a sweep is."""
    points = (
        ["--methods", "magnitude,wanda,ria"]
        if kind == "methods"
        else ["--sparsities", "0.2,0.3,0.4,0.5,0.6,0.7"]
    )
    line = [
        "compare",
        "pocket",
        *filled(COMPARE, text_file),
        *points,
        "--json",
        str(tmp_path / "reference.json"),
    ]
    code, seconds = commands.run(*line)
    assert code == 0
    reference = json.loads((tmp_path / "reference.json").read_text())["rows"]
    draw, file, known = random.Random(kind), tmp_path / "rows.json", 0
    for attempt in range(10):
        commands.run(*line[:-1], str(file), "--resume", kill_after=seconds * draw.uniform(0.1, 0.6))
        tried("kills")
        if file.exists():
            rows = json.loads(file.read_text())["rows"]
            assert len(rows) >= known, "a measured row was lost"
            known = len(rows)
        if attempt == 4:
            file.unlink(missing_ok=True)
            known = 0
    assert commands.run(*line[:-1], str(file), "--resume")[0] == 0
    rows = json.loads(file.read_text())["rows"]
    assert [(row["method"], row["sparsity"], row["perplexity"]) for row in rows] == [
        (row["method"], row["sparsity"], row["perplexity"]) for row in reference
    ]
    assert partial(tmp_path) == []


def test_a_killed_copy_of_a_gguf_file_is_cleared(tmp_path: Path, tried: Callable[..., None]) -> None:
    """In the cache that all processes of a user share."""
    from tests.support.gguf import tiny_gguf

    tiny_gguf(tmp_path / "model.gguf")
    load = f"import signal, os; from wanda_core import load; load({str(tmp_path / 'model.gguf')!r})"
    killed = "import transformers; transformers.PreTrainedModel.save_pretrained = lambda self, folder: (open(folder / 'x', 'w'), os.kill(os.getpid(), 9))\n"  # noqa: E501
    environment = {**os.environ, "XDG_CACHE_HOME": str(tmp_path / "cache"), "OMP_NUM_THREADS": "1"}
    for number in range(4):
        tried("kills")
        program = f"import os\n{killed}{load}" if number < 3 else load
        ran = subprocess.run([sys.executable, "-c", program], cwd=ROOT, env=environment, check=False)
        assert ran.returncode == (-9 if number < 3 else 0)
        assert len(partial(tmp_path)) == (number < 3)
    assert len(list((tmp_path / "cache" / "wanda-lab" / "gguf").iterdir())) == 1


def run(code: str, line: list[str], **how: Any) -> subprocess.CompletedProcess[str]:
    program = f"import sys\nfrom wanda_core.__main__ import main\n{code}\nsys.exit(main(sys.argv[1:]))"
    environment = {**os.environ, "OMP_NUM_THREADS": "1", **how.pop("env", {})}
    return subprocess.run(
        [sys.executable, "-c", program, *line],
        cwd=ROOT, capture_output=True, text=True, timeout=300, check=False, env=environment, **how,
    )  # fmt: skip


def full_disk(most: int) -> str:
    """No file longer than so many bytes: as a disk that is full, in whichever library writes."""
    return (
        "import resource, signal, torch, wanda_core.experiments.compare, wanda_core.export.folder\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        f"resource.setrlimit(resource.RLIMIT_FSIZE, ({most}, {most}))"
    )


@pytest.mark.parametrize("most", [0, 1000, 60_000, 200_000, 700_000])
def test_a_full_disk_leaves_no_export(
    most: int, text_file: Path, tmp_path: Path, tried: Callable[..., None]
) -> None:
    tried("full disks")
    line = ["prune", "pocket", *filled(TEXTS, text_file), "--out", str(tmp_path / "a" / "out")]
    ran = run(full_disk(most), line)
    assert (ran.returncode, ran.stderr.count("\n")) == (2, 1), ran.stderr[-2000:]
    assert (
        "disk is full" in ran.stderr or "cannot be written" in ran.stderr or "was not written" in ran.stderr
    )
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("where", ["--json", "--csv", "--report"])
def test_a_full_disk_loses_no_measured_row(
    where: str, text_file: Path, tmp_path: Path, tried: Callable[..., None]
) -> None:
    tried("full disks")
    line = [
        "compare",
        "pocket",
        *filled(COMPARE, text_file),
        "--methods",
        "magnitude",
        where,
        str(tmp_path / "x"),
    ]
    ran = run(full_disk(300), line)
    assert (ran.returncode, ran.stderr.count("\n")) == (2, 1), ran.stderr[-2000:]
    assert "cannot be written: File too large" in ran.stderr
    assert "magnitude" in ran.stdout
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("more", [20, 60, 200])
@pytest.mark.parametrize("command", ["prune", "compare"])
def test_memory_that_runs_out_is_one_line(
    command: str, more: int, text_file: Path, tmp_path: Path, tried: Callable[..., None]
) -> None:
    tried("memory that runs out")
    code = (
        "import resource, torch, wanda_core.experiments.compare, wanda_core.export.folder, wanda_core.models.load\n"
        "import psutil, transformers.models.llama.modeling_llama\n"
        f"most = psutil.Process().memory_info().vms + {more} * 2**20\n"
        "resource.setrlimit(resource.RLIMIT_AS, (most, most))"
    )
    own = (
        ["--out", str(tmp_path / "out")]
        if command == "prune"
        else ["--evaluation", str(text_file), "--windows", "9"]
    )
    line = [command, "pocket", "--calibration", str(text_file), "--samples", "12", "--length", "256", *own]
    ran = run(code, line)
    if ran.returncode != 0:  # where it fits it is right
        assert (ran.returncode, ran.stderr.count("\n")) == (2, 1), ran.stderr[-3000:]
        assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("years", [-60, 60])
def test_a_clock_that_jumps_changes_nothing(
    years: int, text_file: Path, tmp_path: Path, tried: Callable[..., None]
) -> None:
    """At every look at it, by years more."""
    tried("clock jumps")
    code = (
        "import time, itertools; now = time.time; jumps = itertools.count()\n"
        f"time.time = lambda: max(0.0, now() + (next(jumps) % 2) * {years} * 365 * 86400)"
    )
    line = ["prune", "pocket", *filled(TEXTS, text_file), "--out", str(tmp_path / "out")]
    ran = run(code, line)
    assert (ran.returncode, ran.stderr) == (0, "")
    whole(tmp_path / "out")


def test_two_processes_make_the_same_copy_and_the_same_results(
    text_file: Path, tmp_path: Path, tried: Callable[..., None]
) -> None:
    from tests.support.gguf import tiny_gguf

    tried("two processes on one cache", 4)
    model = tiny_gguf(tmp_path / "model.gguf")
    line = ["compare", str(model), *filled(COMPARE, text_file), "--json", str(tmp_path / "rows.json")]
    environment = {**os.environ, "XDG_CACHE_HOME": str(tmp_path / "cache"), "OMP_NUM_THREADS": "1"}
    both = [
        subprocess.Popen(
            [sys.executable, "-m", "wanda_core", *line],
            cwd=ROOT, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
        )
        for _ in range(4)
    ]  # fmt: skip
    assert [(each.communicate(timeout=300)[1], each.returncode) for each in both] == [("", 0)] * 4
    assert len(json.loads((tmp_path / "rows.json").read_text())["rows"]) == 3
    assert len(list((tmp_path / "cache" / "wanda-lab" / "gguf").iterdir())) == 1
    assert partial(tmp_path) == []


def test_control_c_on_the_server_during_a_run(tmp_path: Path, tried: Callable[..., None]) -> None:
    """It ends soon, without a core and without a traceback."""
    import threading

    from tests.support.requests import call
    from tests.support.server import free_port, wait_for

    tried("Ctrl-C")
    port = free_port()
    with (tmp_path / "log").open("w+") as log:
        process = subprocess.Popen(
            [sys.executable, "app.py", "--port", str(port)],
            cwd=ROOT, stdout=log, stderr=log, env={**os.environ, "TMPDIR": str(tmp_path), "HF_HUB_OFFLINE": "1"},
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
        )  # fmt: skip
        try:
            address = f"http://127.0.0.1:{port}"
            wait_for(address, process)

            def ask() -> None:
                amounts = ["30", "40", "50", "60"]
                with suppress(OSError, HTTPException):  # the server ends
                    call(address, "measure", source="pocket", samples=64, length=256, amounts=amounts)

            threading.Thread(target=ask, daemon=True).start()
            time.sleep(8)
            process.send_signal(signal.SIGINT)
            code = process.wait(60)
        finally:
            process.kill()
    text = (tmp_path / "log").read_text()
    assert code in (0, 130, -signal.SIGINT), text[-3000:]
    assert "Traceback" not in text
    assert "terminate called" not in text


def test_another_user_has_a_folder_of_the_page_already(tmp_path: Path, tried: Callable[..., None]) -> None:
    """In a temporary folder that users share; here it is a file, which root cannot write into either."""
    tried("bad surroundings of the page")
    (tmp_path / f"wanda-lab-{os.getuid()}").write_text("")
    code = f"import tempfile; tempfile.tempdir = {str(tmp_path)!r}\nimport app; print(app._temporary())"
    ran = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert Path(ran.stdout.strip()).is_dir()
