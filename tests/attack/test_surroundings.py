"""Disks and memory that run out, clocks that jump, others on the same cache: nothing that looks complete is left, and
each is one line."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from http.client import HTTPException
from pathlib import Path

import pytest

from tests.attack.processes import COMPARE, TEXTS, filled, partial, run, whole
from tests.support.server import ROOT

pytestmark = pytest.mark.long


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
