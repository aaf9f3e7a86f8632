"""Make the recorded sweeps that fill the view How far: `python -m assets.recorded.record_sweep NAME MODEL TEXT`.

NAME is `amounts` (methods at 10 to 80%, 2:4 and 4:8), `windows` (1 to 16 calibration windows, two seeds), `texts`
(calibrated on other texts) or `claims` (what the paper's claims need); see `record` for MODEL and TEXT. Every point is
written as soon as it is there: a script that was stopped goes on where it was.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from assets.recorded.record import NAME, SHAPE, texts_of
from components.assets import ASSETS
from components.display.names import point as named
from wanda_core.atomic_write import write_whole
from wanda_core.experiments import paper_claims
from wanda_core.experiments.points import Calibration
from wanda_core.experiments.protocol import protocol as measured_by
from wanda_core.experiments.rows import load_json, to_json
from wanda_core.experiments.sweep import Axes, sweep
from wanda_core.models.load import load
from wanda_core.texts.sources import read_text
from wanda_core.texts.windows import calibration_windows, encode, evaluation_windows

SAMPLES, LENGTH = SHAPE


WIKITEXT = "WikiText-2 (test)"


SWEEPS = {
    "amounts": Axes(
        methods=("magnitude", "wanda", "ria", "random", "sparsegpt", "wanda+admm"),
        sparsities=(0.1, 0.3, 0.5, 0.6, 0.7, 0.8),
        patterns=("4:8", "2:4"),
        samples=(SAMPLES,),
        texts=(WIKITEXT,),
    ),
    "windows": Axes(
        methods=("wanda",), sparsities=(0.5,), samples=(1, 4, 16), seeds=(0, 1), texts=(WIKITEXT,)
    ),
    "texts": Axes(
        methods=("wanda",),
        sparsities=(0.5,),
        samples=(SAMPLES,),
        texts=(WIKITEXT, "Python documentation", "Stories", "Random tokens"),
    ),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("name", choices=[*SWEEPS, "claims"])
    parser.add_argument("model")
    parser.add_argument("text", type=Path)
    options = parser.parse_args()
    model = load(options.model)
    if options.name == "claims":
        points = paper_claims.points(Calibration(SAMPLES, WIKITEXT))
    else:
        points = SWEEPS[options.name].points()
    ids = encode(options.text.read_text(encoding="utf-8"), model.tokenizer)
    windows = evaluation_windows(ids, *SHAPE)

    def draw(asked: Calibration) -> Tensor:
        if asked.text == "Random tokens":
            generator = torch.Generator().manual_seed(asked.seed)
            return torch.randint(len(model.tokenizer), (asked.samples, LENGTH), generator=generator)
        others = {"Python documentation": "pydoc", "Stories": str(ASSETS / "pocket" / "calibration.txt")}
        if asked.text == WIKITEXT:
            return calibration_windows(ids, asked.samples, LENGTH, asked.seed, windows.numel())
        other = read_text(others[asked.text], "calibration")
        tokens = encode(other.text, model.tokenizer)
        return calibration_windows(tokens, asked.samples, LENGTH, asked.seed)

    first = max((p.calibration for p in points if p.calibration), key=lambda c: c.samples)
    protocol = measured_by(model, draw(first), windows, texts_of(windows)) | {"source": NAME}
    file = Path(__file__).with_name(f"sweep-{options.name}.json")
    several = len({point.calibration for point in points if point.calibration}) > 1
    known = [row for other in file.parent.glob("sweep-*.json") for row in _measured_alike(other, protocol)]
    if several and options.name != "claims":  # masks are compared, and not recorded
        known = [row for row in known if row["method"] == "dense"]
    rows = []
    for measured in sweep(model, windows, points, draw, known=known):
        rows.append(measured.row)
        print(named(measured.row), measured.row["samples"], measured.row["perplexity"], flush=True)
        write_whole(file, to_json(protocol, rows))


def _measured_alike(file: Path, protocol: dict[str, Any]) -> list[dict[str, Any]]:
    """The rows of a recorded sweep under the same protocol, but for the day and the windows, which rows name."""
    then, rows = load_json(file)
    own = ("date", "samples", "calibration_sha256", "micro_batch")
    alike = all(then[key] == protocol[key] for key in protocol if key not in own)
    return rows if alike else []


if __name__ == "__main__":
    main()
