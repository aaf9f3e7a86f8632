"""Make the recorded texts of the Text view: `python -m assets.recorded.record_texts MODEL TEXT`.

MODEL is SmolLM2-135M-Instruct as a folder or GGUF file, TEXT a UTF-8 file of the WikiText-2 test split.
"""

from __future__ import annotations

import argparse
import json
import threading
from pathlib import Path
from typing import Any

from components.engine import Progress
from components.job import Setup
from components.text import RECORDED
from components.writing import Texts, Write
from wanda_core.recipe import Recipe

NAME = "SmolLM2-135M-Instruct"
PROMPT = "Why is the sky blue? Explain it to a child."
RECIPES = (
    Recipe(method="magnitude", sparsity=0.3),
    Recipe(method="wanda", sparsity=0.3),
    Recipe(method="wanda", sparsity=0.5),
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model")
    parser.add_argument("text", type=Path)
    options = parser.parse_args()
    text = options.text.read_text(encoding="utf-8")
    setup = Setup(
        source=options.model,
        calibration="own",
        evaluation="own",
        own_text=text,
        samples=16,
        length=512,
        windows=1,
        eval_length=512,
        seed=0,
    )
    job = Write(setup, RECIPES, PROMPT, new_tokens=80, temperature=0.0, top_p=1.0, seed=0, pack=False)
    texts = []

    def keep(event: Any) -> None:
        if isinstance(event, Progress):
            print(f"{event.share:.0%} {event.doing}", flush=True)
        elif isinstance(event, Texts):
            texts.append(event)

    job.compute(keep, threading.Event())
    last = texts[-1]
    last.protocol |= {"source": NAME, "calibration": "WikiText-2 (test)"}
    RECORDED.write_text(
        json.dumps(vars(last), ensure_ascii=False, indent=1, allow_nan=False) + "\n", encoding="utf-8"
    )


if __name__ == "__main__":
    main()
