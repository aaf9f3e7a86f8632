"""The command line where something is wrong: arguments, files, memory, and Ctrl-C."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from tests.support.models import tiny
from tests.support.server import ROOT
from tests.unit.cli.conftest import fails


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["--sparsity", "1.5"], "--sparsity must lie between 0 and 1"),
        (["--sparsity", "-0.1"], "--sparsity must lie between 0 and 1"),
        (["--sparsity", "nan"], "--sparsity must lie between 0 and 1"),
        (["--sparsity", "half\nof it"], "invalid float value"),
        (["--pattern", "4:2"], "--pattern must be"),
        (["--pattern", "2:4", "--sparsity", "0.6"], "--pattern 2:4 fixes the sparsity at 0.5"),
        (["--pattern", "2:5"], "does not divide the 32 inputs of model.layers.0.self_attn.q_proj"),
        (["--pattern", "1:32"], "does not divide the 48 inputs of model.layers.0.mlp.down_proj"),
        (["--pattern", "2:4", "--group", "layer"], "--group does not apply to 2:4"),
        (["--group", "row"], "--group must be one of"),
        (["--method", "best"], "no method `best`"),
        (["--schedule", "never"], "--schedule must be one of"),
        (["--allocation", "fair"], "allocation"),
        (["--recover", "all"], "--recover must be one of none, blocks, model"),
        (["--recover", "blocks", "--samples", "1"], "--recover blocks holds windows out of its training"),
        (["--order"], "--order needs an N:M --pattern, such as 2:4: without one"),
        (["--samples", "0"], "--samples must be"),
        (["--samples", "-1"], "--samples must be"),
        (["--length", "1"], "--length must be"),
        (["--seed", "-1"], "--seed must be"),
        (["--samples", "4000"], "4,000 windows of 32 need 128,000"),
        (["--length", "512"], "reads at most 256 tokens at a time"),
        (["--device", "tpu"], "--device must be"),
        (["--dtype", "int8"], "--dtype must be"),
        (["--revision", "main"], "--revision applies to a Hub id"),
        (["--calibration", "none.txt"], "none.txt"),
        (["--unknown"], "unrecognized arguments"),
        (["--out", "/dev/null/out"], "/dev/null is not a folder"),
        (["--bits", "5"], "--bits must be one of 16, 8, 4"),
        (["--out", "out.gguf", "--packed"], "--packed writes a folder: give --out DIR"),
        (["--out", "out.gguf", "--push-to-hub", "a/b"], "--push-to-hub uploads a folder: give --out DIR"),
    ],
)  # fmt: skip
def test_bad_arguments(
    arguments: list[str],
    reason: str,
    prune_into: list[str],
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
) -> None:
    assert reason in fails([*prune_into, *arguments], capfd, tmp_path)


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["--sparsities", "0.5,most"], "--sparsities takes numbers"),
        (["--sparsities", "2"], "--sparsities must lie between 0 and 1"),
        (["--patterns", "2-4"], "--patterns must be"),
        (["--windows", "0"], "--windows must be"),
        (["--eval-length", "0"], "--eval-length must be"),
        (["--windows", "999"], "999 windows of 32 need 31,968"),
        (["--eval-length", "300"], "at a time, not 300: lower --eval-length"),
        (["--json", "/"], "/ is a folder"),
        (["--csv", "no/such/folder.csv"], "is no folder"),
    ],
)
def test_bad_arguments_of_compare(
    arguments: list[str],
    reason: str,
    compare_into: list[str],
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
) -> None:
    assert reason in fails([*compare_into, *arguments], capfd, tmp_path)


def test_resume_needs_a_file(
    compare_into: list[str], tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    assert "--resume needs --json" in fails([*compare_into[:-2], "--resume"], capfd, tmp_path)


@pytest.mark.parametrize("content", ["", " \n\n ", "only a few words"])
def test_empty_or_short_text(
    content: str, prune_into: list[str], tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    text = tmp_path / "short.txt"
    text.write_text(content)
    error = fails([*prune_into, "--calibration", str(text)], capfd, tmp_path)
    assert "holds no text" in error or "the text has 16 tokens, 4 windows of 32 need 128" in error


def _damaged(folder: Path, kind: str) -> None:
    if kind == "weights":
        network = tiny("llama")
        network.model.layers[1].mlp.up_proj.weight[0, 0] = torch.nan
        network.save_pretrained(folder)
    elif kind == "activations":
        network = tiny("llama")
        network.model.layers[1].input_layernorm.weight[3] = torch.inf
        network.save_pretrained(folder)
    elif kind == "file":
        file = folder / "model.safetensors"
        file.write_bytes(file.read_bytes()[:5000])
    else:
        (folder / "model.safetensors").unlink()


@pytest.mark.parametrize(
    ("kind", "reason"),
    [
        ("weights", "the weights of model.layers.1.mlp.up_proj hold NaN"),
        ("activations", "the input of model.layers.1.self_attn.q_proj holds NaN"),
        ("file", "model.safetensors is damaged"),
        ("no file", "holds no weights"),
    ],
)
def test_damaged_models(
    kind: str,
    reason: str,
    prune_into: list[str],
    llama_folder: Path,
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
) -> None:
    folder = Path(shutil.copytree(llama_folder, tmp_path / "model"))
    _damaged(folder, kind)
    assert reason in fails(["prune", str(folder), *prune_into[2:]], capfd, tmp_path)


def test_out_of_memory_before_the_first_forward(
    prune_into: list[str], tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("wanda_core.pruning.memory_needed.free_bytes", lambda _: 1000)
    error = fails(prune_into, capfd, tmp_path)
    assert "pruning with 4 windows of 32 tokens under --schedule layer needs" in error


def test_a_folder_in_use(prune_into: list[str], tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "mine.txt").write_text("keep me")
    assert "exists already" in fails(prune_into, capfd, tmp_path)


def test_help_needs_no_torch() -> None:
    code = (
        "import sys; from wanda_core.__main__ import main\ntry: main(['--help'])\nexcept SystemExit: pass\n"
    )
    code += "assert 'torch' not in sys.modules and 'transformers' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True, capture_output=True)


def test_control_c_is_heard_where_python_drops_it(prune_into: list[str], tmp_path: Path) -> None:
    """An interrupt in a finaliser raises nothing; the work ends all the same, at the next layer."""
    code = """
import signal, sys, wanda_core.pruning.parked_forward as walk
from wanda_core.__main__ import main

class Dropping:
    def __del__(self):
        signal.raise_signal(signal.SIGINT)

forward = walk.ParkedForward.run
def run(self):
    dropping = Dropping()
    del dropping
    print("going on", flush=True)
    return forward(self)
walk.ParkedForward.run = run
sys.exit(main(sys.argv[1:]))
"""
    ran = subprocess.run(
        [sys.executable, "-c", code, *prune_into],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )
    assert ran.stdout == "going on\n"
    assert ran.stderr.splitlines()[-1] == "wanda_core: stopped"
    assert ran.returncode == 2
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("command", ["prune", pytest.param("compare", marks=pytest.mark.long)])
def test_control_c_leaves_nothing(command: str, llama_folder: Path, tmp_path: Path) -> None:
    """A real process, interrupted in the middle of its work on a text that takes it minutes."""
    text = tmp_path / "long.txt"
    text.write_text("all work and no play makes a dull boy " * 15_000)
    out = (
        ["--out", str(tmp_path / "out")]
        if command == "prune"
        else ["--evaluation", "pydoc", "--windows", "1"]
    )
    arguments = [
        command, str(llama_folder), "--calibration", str(text), "--samples", "2000", "--length", "256", *out
    ]  # fmt: skip
    if command == "compare":
        arguments += ["--eval-length", "32"]
    trace = "import sys, wanda_core.pruning.parked_forward as walk; from wanda_core.__main__ import main\n"
    trace += "forward = walk.ParkedForward.run\n"
    trace += "def run(self):\n    print('walking', flush=True)\n    return forward(self)\n"
    trace += "walk.ParkedForward.run = run\nsys.exit(main(sys.argv[1:]))"
    process = subprocess.Popen(
        [sys.executable, "-c", trace, *arguments],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "HF_HUB_OFFLINE": "1"},
        # Tests that run in a shell's background would hand on that Ctrl-C is ignored.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "walking\n"
    time.sleep(1)
    process.send_signal(signal.SIGINT)
    _, error = process.communicate(timeout=300)
    assert (process.returncode, error) == (2, "wanda_core: stopped\n")
    assert [file.name for file in tmp_path.iterdir()] == ["long.txt"]
