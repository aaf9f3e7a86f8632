"""Make the recorded texts of the Text view: `python -m assets.recorded.record_texts NAME MODEL TEXT`.

NAME is `third`, `half` or `two-four`: what was removed. MODEL is SmolLM2-135M-Instruct as a folder or GGUF file, TEXT a
UTF-8 file of the WikiText-2 test split.
"""

from __future__ import annotations

import argparse
import json
import threading
from pathlib import Path
from typing import Any

from components.assets import ASSETS
from components.jobs.job import Progress
from components.text.job import Texts, Write
from components.workspace.setup import Setup
from wanda_core.method.recipe import Recipe

NAME = "SmolLM2-135M-Instruct"


PROMPT = "Why is the sky blue? Explain it to a child."


METHODS = ("magnitude", "wanda", "sparsegpt")


AMOUNTS = {"third": {"sparsity": 0.3}, "half": {"sparsity": 0.5}, "two-four": {"pattern": "2:4"}}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("name", choices=AMOUNTS)
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
    recipes = tuple(Recipe(method=method, **AMOUNTS[options.name]) for method in METHODS)
    job = Write(setup, recipes, PROMPT, new_tokens=80, temperature=0.0, top_p=1.0, seed=0, pack=False)
    texts = []

    def keep(event: Any) -> None:
        if isinstance(event, Progress):
            print(f"{event.share:.0%} {event.doing}", flush=True)
        elif isinstance(event, Texts):
            texts.append(event)

    job.compute(keep, threading.Event())
    last = texts[-1]
    last.protocol |= {"source": NAME, "calibration": "WikiText-2 (test)"}
    content = json.dumps(vars(last), ensure_ascii=False, indent=1, allow_nan=False) + "\n"
    (ASSETS / "recorded" / f"texts-{options.name}.json").write_text(content, encoding="utf-8")


if __name__ == "__main__":
    main()
