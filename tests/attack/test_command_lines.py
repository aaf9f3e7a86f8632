"""Command lines that cannot be carried out: one line on standard error, exit code 2, and nothing new on the disk."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.support.server import ROOT
from wanda_core.__main__ import main

PRUNE = [
    "prune",
    "{model}",
    "--calibration",
    "{text}",
    "--samples",
    "2",
    "--length",
    "16",
    "--out",
    "{folder}/out",
]
COMPARE = [
    "compare", "{model}", "--calibration", "{text}", "--samples", "2", "--length", "16", "--evaluation", "{text}",
    "--windows", "2", "--eval-length", "16", "--json", "{folder}/rows.json",
]  # fmt: skip
LATENCY = ["latency", "--shapes", "32x32", "--tokens", "1"]
LONG = "x" * 5000
NAME = "n" * 250

BAD: dict[str, list[str]] = {
    "nothing": [],
    "no such command": ["explode"],
    "no source": ["prune"],
    "a source of 5,000 letters": ["prune", LONG, *PRUNE[2:]],
    "a source with a name too long": ["prune", f"a/{NAME}{NAME}", *PRUNE[2:]],
    "a source with NUL": ["prune", "a\0b", *PRUNE[2:]],
    "an empty source": ["prune", "", *PRUNE[2:]],
    "a source of dots": ["prune", "../..", *PRUNE[2:]],
    "a source of half a character": ["prune", "a\udc80/b", *PRUNE[2:]],
    "a source of markup": ["prune", "<img src=x>", *PRUNE[2:]],
    "a source that is a device": ["prune", "/dev/zero", *PRUNE[2:]],
    "a GGUF file that is a device": ["prune", "/dev/null/x.gguf", *PRUNE[2:]],
    "a GGUF file of 5,000 letters": ["prune", f"{LONG}.gguf", *PRUNE[2:]],
    "a GGUF file with NUL": ["prune", "a\0.gguf", *PRUNE[2:]],
    "a revision of pocket": ["prune", "pocket", *PRUNE[2:], "--revision", "main"],
    "a revision of a folder": [*PRUNE, "--revision", "main"],
    "a revision of a GGUF file": ["prune", "x.gguf", *PRUNE[2:], "--revision", "main"],
    "--out with NUL": [*PRUNE[:-1], "{folder}/a\0b"],
    "--out of 256 letters": [*PRUNE[:-1], "{folder}/" + "o" * 256],
    "--out below a name of 256 letters": [*PRUNE[:-1], "{folder}/" + "o" * 256 + "/out"],
    "--out of 5,000 letters": [*PRUNE[:-1], "{folder}/" + LONG],
    "--out of 200 emoji": [*PRUNE[:-1], "{folder}/" + "\U0001f98a" * 200],
    "--out below a file": [*PRUNE[:-1], "{text}/out"],
    "--out that is a file": [*PRUNE[:-1], "{text}"],
    "--out in use": [*PRUNE[:-1], "{model}"],
    "--out below a device": [*PRUNE[:-1], "/dev/null/out"],
    "--out in /proc": [*PRUNE[:-1], "/proc/out"],
    "--out empty": [*PRUNE[:-1], ""],
    "--out that is a circle": [*PRUNE[:-1], "{circle}"],
    "sparsity NaN": [*PRUNE, "--sparsity", "nan"],
    "sparsity of 400 digits": [*PRUNE, "--sparsity", "9" * 400],
    "sparsity infinite": [*PRUNE, "--sparsity", "inf"],
    "samples of 5,000 digits": [*PRUNE, "--samples", "9" * 5000],
    "samples of 400 digits": [*PRUNE, "--samples", "9" * 400],
    "length of 400 digits": [*PRUNE, "--length", "9" * 400],
    "a seed of 400 digits": [*PRUNE, "--seed", "9" * 400],
    "a pattern of 400 digits": [*PRUNE, "--pattern", "1:" + "9" * 400],
    "a pattern of nothing": [*PRUNE, "--pattern", ":"],
    "an allocation of a million": [*PRUNE, "--allocation", "0=0.1," * 20_000],
    "an allocation of NaN": [*PRUNE, "--allocation", "0=nan"],
    "an allocation of 5,000 digits": [*PRUNE, "--allocation", "9" * 5000 + "=0.5"],
    "linear of NaN": [*PRUNE, "--allocation", "linear:nan"],
    "a method of markup": [*PRUNE, "--method", "<b>"],
    "a method with line breaks": [*PRUNE, "--method", "a\nb\nc"],
    "a device of nonsense": [*PRUNE, "--device", "cuda:-1"],
    "a dtype of nonsense": [*PRUNE, "--dtype", "__class__"],
    "a text of 5,000 letters": [*PRUNE, "--calibration", LONG],
    "a text with NUL": [*PRUNE, "--calibration", "a\0b.txt"],
    "a text that is a folder": [*PRUNE, "--calibration", "{model}"],
    "a text that is a device": [*PRUNE, "--calibration", "/dev/zero"],
    "a text that is a program": [*PRUNE, "--calibration", sys.executable],
    "chat without a template": [*PRUNE, "--chat"],
    "a push to nowhere": [*PRUNE, "--push-to-hub", "../../x"],
    "methods that name nothing": [*COMPARE, "--methods", ","],
    "sparsities that name nothing": [*COMPARE, "--sparsities", " , "],
    "patterns that name nothing": [*COMPARE, "--patterns", ""],
    "sparsities of words": [*COMPARE, "--sparsities", "0.5,half"],
    "a sparsity of infinity": [*COMPARE, "--sparsities", "inf"],
    "results to a device": [*COMPARE[:-1], "/dev/full"],
    "results to a pipe": [*COMPARE[:-1], "{pipe}"],
    "results to a folder": [*COMPARE[:-1], "{folder}"],
    "results with NUL": [*COMPARE[:-1], "{folder}/a\0"],
    "results of 256 letters": [*COMPARE[:-1], "{folder}/" + "r" * 256],
    "results below a file": [*COMPARE[:-1], "{text}/rows.json"],
    "results through a link to a device": [*COMPARE[:-1], "{device}"],
    "results through a circle": [*COMPARE[:-1], "{circle}"],
    "a table to a device": [*COMPARE, "--csv", "/dev/null"],
    "a table of 256 letters": [*COMPARE, "--csv", "{folder}/" + "c" * 256],
    "a report to a device": [*COMPARE, "--report", "/dev/null"],
    "a report with NUL": [*COMPARE, "--report", "a\0.html"],
    "shapes of nothing": ["latency", "--shapes", ","],
    "shapes of 5,000 digits": ["latency", "--shapes", "9" * 5000 + "x1"],
    "shapes below zero": ["latency", "--shapes=-1x-1"],
    "shapes in other digits": ["latency", "--shapes", "²x³"],
    "tokens in other digits": [*LATENCY, "--tokens", "²"],
    "tokens of nothing": [*LATENCY, "--tokens", ","],
    "tokens of 5,000 digits": [*LATENCY, "--tokens", "9" * 5000],
    "latencies to a device": [*LATENCY, "--json", "/dev/null"],
    "latencies of 256 letters": [*LATENCY, "--csv", "{folder}/" + "c" * 256],
    "a source and shapes": ["latency", "pocket", "--shapes", "1x1"],
    "a revision of shapes": [*LATENCY, "--revision", "main"],
}

RESUMED: dict[str, Any] = {
    "nested deeply": "[" * 100_000,
    "nested deeply in a row": '{"schema": 2, "protocol": {}, "rows": ' + '[{"a":' * 20_000,
    "empty": "",
    "not UTF-8": b"\xff\xfe",
    "a perplexity of words": {"perplexity": "12"},
    "a sparsity that is a list": {"sparsity": [0.5]},
    "a method that is an object": {"method": {"a": 1}},
    "an integer of 400 digits": {"perplexity": 10**400},
    "a schema of the future": '{"schema": 99}',
    "a row too few": '{"schema": 2, "protocol": {}, "rows": [{}]}',
}


@pytest.fixture(scope="module")
def places(llama_folder: Path, text_file: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """What the command lines name, and a folder for what they write."""
    folder = tmp_path_factory.mktemp("lines")
    (folder / "circle").symlink_to(folder / "circle")
    (folder / "device").symlink_to("/dev/null")
    os.mkfifo(folder / "pipe")
    return {"model": str(llama_folder), "text": str(text_file), "folder": str(folder)} | {
        name: str(folder / name) for name in ("circle", "device", "pipe")
    }


def named(line: list[str], places: dict[str, str]) -> list[str]:
    for name, place in places.items():
        line = [part.replace(f"{{{name}}}", place) for part in line]
    return line


def there(folder: str) -> dict[str, float]:
    return {str(entry): entry.lstat().st_mtime_ns for entry in Path(folder).rglob("*")}


def fails(line: list[str], folder: str, capfd: pytest.CaptureFixture[str]) -> str:
    before = there(folder)
    capfd.readouterr()
    assert main(line) == 2
    printed = capfd.readouterr()
    assert printed.err.startswith("wanda_core: ")
    assert printed.err.endswith("\n")
    assert printed.err.count("\n") == 1, printed.err
    assert len(printed.err) < 1000
    assert "Traceback" not in printed.err
    assert there(folder) == before
    return printed.err


@pytest.mark.parametrize("kind", BAD)
def test_a_bad_command_line_is_one_line(
    kind: str,
    places: dict[str, str],
    capfd: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    tried: Callable[..., None],
) -> None:
    tried("bad command lines")
    monkeypatch.chdir(places["folder"])
    fails(named(BAD[kind], places), places["folder"], capfd)


@pytest.mark.parametrize("kind", RESUMED)
def test_what_cannot_be_resumed_is_one_line_and_stays(
    kind: str,
    places: dict[str, str],
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
    tried: Callable[..., None],
) -> None:
    tried("bad command lines")
    file, content = tmp_path / "rows.json", RESUMED[kind]
    line = [*named(COMPARE[:-1], places), str(file), "--methods", "magnitude", "--resume"]
    if isinstance(content, dict):
        assert main(line) == 0
        written = json.loads(file.read_text())
        written["rows"][1] |= content
        content = json.dumps(written)
    data = content if isinstance(content, bytes) else content.encode()
    file.write_bytes(data)
    fails(line, str(tmp_path), capfd)
    assert file.read_bytes() == data


def test_results_go_through_a_link_that_stays(
    places: dict[str, str], tmp_path: Path, tried: Callable[..., None]
) -> None:
    tried("odd places for results")
    (tmp_path / "real.json").write_text("old")
    (tmp_path / "link.json").symlink_to(tmp_path / "real.json")
    assert main([*named(COMPARE[:-1], places), str(tmp_path / "link.json"), "--methods", "magnitude"]) == 0
    assert (tmp_path / "link.json").is_symlink()
    assert len(json.loads((tmp_path / "real.json").read_text())["rows"]) == 2


@pytest.mark.parametrize("letters", [229, 255])
def test_names_as_long_as_the_file_system_takes_are_written(
    letters: int, places: dict[str, str], tmp_path: Path, tried: Callable[..., None]
) -> None:
    """The stage has a name of its own beside it."""
    tried("odd places for results", 2)
    assert main([*named(PRUNE[:-1], places), str(tmp_path / ("o" * letters))]) == 0
    assert (
        main([*named(COMPARE[:-1], places), str(tmp_path / ("r" * letters)), "--methods", "magnitude"]) == 0
    )
    assert sorted(len(entry.name) for entry in tmp_path.iterdir()) == [letters, letters]


def run(line: list[str], code: str = "", **how: Any) -> subprocess.CompletedProcess[str]:
    program = f"{code}\nimport sys; from wanda_core.__main__ import main; sys.exit(main(sys.argv[1:]))"
    return subprocess.run(
        [sys.executable, "-c", program, *line],
        capture_output=True,
        text=True,
        timeout=200,
        check=False,
        **how,
    )


@pytest.mark.long
def test_a_reader_that_is_gone_is_no_traceback(
    places: dict[str, str], tmp_path: Path, tried: Callable[..., None]
) -> None:
    tried("bad surroundings of the command line")
    line = [*named(PRUNE[:-1], places), str(tmp_path / "out")]
    closed = "import os\nreading, writing = os.pipe(); os.close(reading); os.dup2(writing, 1)"
    ran = run(line, closed, cwd=ROOT)
    assert "Traceback" not in ran.stderr
    assert (tmp_path / "out" / "model.safetensors").is_file()


@pytest.mark.long
def test_without_a_home_and_with_odd_places(
    places: dict[str, str], tmp_path: Path, tried: Callable[..., None]
) -> None:
    """No HOME that can be written to, and no folder for temporary files of one's own."""
    tried("bad surroundings of the command line")
    bare = {"PATH": os.environ["PATH"], "HOME": "/proc/none", "OMP_NUM_THREADS": "1"}
    ran = run([*named(PRUNE[:-1], places), str(tmp_path / "out")], cwd=ROOT, env=bare)
    assert (ran.returncode, ran.stderr) == (0, "")


@pytest.mark.long
@pytest.mark.parametrize("fault", ["no folder for the cache", "a damaged cache", "a full disk"])
def test_kernels_are_compiled_without_their_cache(
    fault: str, tmp_path: Path, tried: Callable[..., None]
) -> None:
    tried("bad surroundings of the command line")
    for folder in ("wanda_core", "assets"):
        shutil.copytree(ROOT / folder, tmp_path / folder, ignore=shutil.ignore_patterns("__pycache__"))
    line = [*LATENCY, "--device", "cpu"]
    environment = {**os.environ, "PYTHONPATH": "", "OMP_NUM_THREADS": "1"}
    code = ""
    if fault == "a damaged cache":
        environment["NUMBA_CACHE_DIR"] = str(tmp_path / "cache")
        assert run(line, cwd=tmp_path, env=environment).returncode == 0
        files = [file for file in (tmp_path / "cache").rglob("*.nb*") if file.is_file()]
        assert len(files) > 4
        for number, file in enumerate(files):
            file.write_bytes(b"" if number % 2 else file.read_bytes()[:100] + b"\xff" * 50)
    elif fault == "a full disk":  # no file longer than a few hundred bytes
        code = "import resource, signal; signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        code += "resource.setrlimit(resource.RLIMIT_FSIZE, (300, 300))"
        environment["NUMBA_CACHE_DIR"] = str(tmp_path / "cache")
    else:  # no place is good: as in a package folder of another user's, without a home
        code = "import numba.core.caching as caching\n"
        code += "caching.CacheImpl._locator_classes = []\n"
    ran = run(line, code, cwd=tmp_path, env=environment)
    assert (ran.returncode, ran.stderr) == (0, ""), ran.stderr[-2000:]
    assert "dense numba" in ran.stdout
