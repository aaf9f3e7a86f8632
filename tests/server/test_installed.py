"""What `pip install .` leaves in another folder, with the checkout out of sight."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import urllib.request
from pathlib import Path

import pytest

from tests.support.server import ROOT, served

pytestmark = pytest.mark.long
PARTS = ["pyproject.toml", "setup.py", "README.md", "LICENSE", "requirements.txt", "app.py"]
FOLDERS = ["wanda_core", "components", "assets"]


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a wheel's packages. What they need is this environment's, so that no network is."""
    work = tmp_path_factory.mktemp("wheel")
    (work / "source").mkdir()
    for name in PARTS:
        shutil.copy(ROOT / name, work / "source")
    for name in FOLDERS:
        shutil.copytree(ROOT / name, work / "source" / name, ignore=shutil.ignore_patterns("__pycache__"))
    pip = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check"]
    build = [*pip, "wheel", "--no-deps", "--no-build-isolation", "--wheel-dir", work, work / "source"]
    subprocess.run(build, check=True)
    (wheel,) = work.glob("wanda_lab-*.whl")
    subprocess.run([*pip, "install", "--no-deps", "--target", work / "site", wheel], check=True)
    return work / "site"


def run(installed: Path, folder: Path, *command: str) -> str:
    done = subprocess.run(
        command,
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(installed)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_help_needs_neither_torch_nor_the_page(installed: Path, tmp_path: Path) -> None:
    asked = run(installed, tmp_path, str(installed / "bin" / "wanda-lab"), "--help")
    assert all(command in asked for command in ("prune", "compare", "latency", "wanda-lab app"))
    code = (
        "import sys, app; sys.argv = ['wanda-lab', '--help']\n"
        "try: app.command()\nexcept SystemExit: pass\n"
        "print([name for name in ('torch', 'transformers', 'gradio', 'components') if name in sys.modules])"
    )
    assert run(installed, tmp_path, sys.executable, "-c", code).splitlines()[-1] == "[]"


def test_the_command_line_finds_the_pocket_model_and_needs_no_page(installed: Path, tmp_path: Path) -> None:
    text = installed / "wanda_lab_assets" / "pocket" / "calibration.txt"
    arguments = [
        "prune",
        "pocket",
        "--calibration",
        str(text),
        "--samples",
        "2",
        "--length",
        "32",
        "--out",
        "out",
    ]
    code = (
        "import sys, app, wanda_core; sys.argv[0] = 'wanda-lab'\n"
        "assert app.command() == 0\n"
        "print(wanda_core.__file__, [name for name in ('gradio', 'components') if name in sys.modules])"
    )
    said = run(installed, tmp_path, sys.executable, "-c", code, *arguments).splitlines()[-1]
    assert said == f"{installed / 'wanda_core' / '__init__.py'} []"
    assert (tmp_path / "out" / "model.safetensors").is_file()


def test_the_page_finds_its_recorded_runs_and_its_style_sheet(installed: Path, tmp_path: Path) -> None:
    with served(
        command=[str(installed / "bin" / "wanda-lab"), "app"], folder=tmp_path, PYTHONPATH=str(installed)
    ) as address:
        config = json.loads(urllib.request.urlopen(f"{address}/config", timeout=20).read())
    assert (ROOT / "assets" / "style.css").read_text(encoding="utf-8")[:200] in config["css"]
    assert "SmolLM2-135M" in json.dumps(config["components"])
