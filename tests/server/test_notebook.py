"""The notebook runs from top to bottom, without a network."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

from tests.support.server import OFFLINE, ROOT


@pytest.mark.long
def test_the_notebook_runs_from_top_to_bottom() -> None:
    notebook = json.loads((ROOT / "assets" / "lab.ipynb").read_text(encoding="utf-8"))
    cells = ["".join(cell["source"]) for cell in notebook["cells"] if cell["cell_type"] == "code"]
    assert not any(cell.get("outputs") for cell in notebook["cells"])  # nothing recorded that nobody measured
    code = (
        "\n".join(cells)
        + "\nassert len(rows) == 5 and rows.perplexity.notna().all() and 'masks.safetensors' in holds['holds']"
    )
    path = os.pathsep.join([str(OFFLINE), str(ROOT), os.environ.get("PYTHONPATH", "")])
    ran = subprocess.run(
        [sys.executable, "-c", code],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": path},
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr[-2000:]
    assert "Wanda 50%" in ran.stdout
