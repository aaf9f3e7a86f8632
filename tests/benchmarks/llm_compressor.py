"""llm-compressor's Wanda and SparseGPT beside ours: same model, tokens and machine, in one table.

    python tests/benchmarks/llm_compressor.py FOLDER TEXT --theirs PYTHON [--samples 16] [--length 512] [--windows 16]

PYTHON is the interpreter of a virtual environment that holds `llmcompressor`, which needs another transformers. Both
sides take turns as processes of their own and get the same token windows from a file; perplexity is ours for both.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path
from time import perf_counter

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT))

METHODS = ("wanda", "sparsegpt")
POINTS = ("50%", "2:4")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder")
    parser.add_argument("text")
    parser.add_argument("--theirs", metavar="PYTHON")
    parser.add_argument("--samples", type=int, default=16)
    parser.add_argument("--length", type=int, default=512)
    parser.add_argument("--windows", type=int, default=16)
    parser.add_argument("--side", choices=["ours", "theirs"], help=argparse.SUPPRESS)
    parser.add_argument("--point", nargs=3, metavar=("METHOD", "POINT", "OUT"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.side == "theirs":
        theirs(options.folder, Path(options.text), *options.point)
    elif options.side == "ours":
        ours(options.folder, Path(options.text), *options.point)
    else:
        table(options)


def table(options: argparse.Namespace) -> None:
    """One line for each method, point and side."""
    import torch
    from safetensors.torch import load_file, save_file

    from wanda_core import perplexity
    from wanda_core.experiments.experiment import Experiment, ExperimentSettings

    experiment = Experiment.prepare(
        ExperimentSettings(
            source=options.folder,
            calibration=options.text,
            evaluation=options.text,
            samples=options.samples,
            length=options.length,
            windows=options.windows,
            eval_length=options.length,
        )
    )
    model, tokens, windows = experiment.model, experiment.tokens, experiment.windows
    assert windows is not None
    print(
        f"{options.folder}, {options.samples} x {options.length} calibration tokens, {options.windows} evaluation "
        f"windows, {torch.get_num_threads()} threads; dense {perplexity(model.network, windows).value:.2f}"
    )
    print(f"{'':<16}{'side':<18}{'perplexity':>12}{'seconds':>10}{'sparsity':>10}")
    with tempfile.TemporaryDirectory() as scratch:
        file, out = Path(scratch) / "tokens.safetensors", Path(scratch) / "weights.safetensors"
        save_file({"tokens": tokens}, file)
        for method in METHODS:
            for point in POINTS:
                for side, python in (("ours", sys.executable), ("theirs", options.theirs)):
                    command = [python, __file__, options.folder, str(file), "--side", side]
                    run = subprocess.run(
                        [*command, "--point", method, point, str(out)],
                        check=True,
                        stdout=subprocess.PIPE,
                        text=True,
                    )
                    said = json.loads(run.stdout.splitlines()[-1])
                    weights = load_file(out)
                    for layer in model.prunable.layers:
                        layer.point_at(weights[layer.name])
                    zeros = sum(int((weight == 0).sum()) for weight in weights.values())
                    share = zeros / sum(weight.numel() for weight in weights.values())
                    value = perplexity(model.network, windows).value
                    model.prunable.restore()
                    print(
                        f"{method + ' ' + point:<16}{said['version']:<18}{value:>12.2f}{said['seconds']:>10.1f}"
                        f"{share:>10.4f}",
                        flush=True,
                    )


def ours(folder: str, file: Path, method: str, point: str, out: str) -> None:
    from safetensors.torch import load_file, save_file

    from wanda_core import Recipe, load
    from wanda_core.pruning.prune_model import prune

    model = load(folder)
    how = {"pattern": point} if ":" in point else {"sparsity": float(point.rstrip("%")) / 100}
    recipe = Recipe(method=method, **how)
    start = perf_counter()
    pruning = prune(model.prunable, load_file(file)["tokens"], recipe)
    seconds = perf_counter() - start
    save_file({layer.name: pruning.weight(layer).contiguous() for layer in model.prunable.layers}, out)
    print(json.dumps({"seconds": seconds, "version": "Wanda Lab"}))


def theirs(folder: str, file: Path, method: str, point: str, out: str) -> None:
    """Runs under the other interpreter; imports nothing of ours."""
    import llmcompressor
    import torch
    from datasets import Dataset
    from llmcompressor import oneshot
    from llmcompressor.modifiers.pruning import SparseGPTModifier, WandaPruningModifier
    from safetensors.torch import load_file, save_file
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    tokens = load_file(file)["tokens"]
    data = Dataset.from_dict(
        {"input_ids": tokens.tolist(), "attention_mask": torch.ones_like(tokens).tolist()}
    )
    kind = {"wanda": WandaPruningModifier, "sparsegpt": SparseGPTModifier}[method]
    structure = point if ":" in point else "0:0"
    sparsity = 0.5 if ":" in point else float(point.rstrip("%")) / 100
    modifier = kind(sparsity=sparsity, mask_structure=structure, targets=["Linear"], ignore=["re:.*lm_head"])
    start = perf_counter()
    oneshot(
        model=model,
        dataset=data,
        recipe=[modifier],
        num_calibration_samples=len(tokens),
        max_seq_length=tokens.shape[1],
    )
    seconds = perf_counter() - start
    linear = {
        name: module.weight.detach().contiguous()
        for name, module in model.named_modules()
        if isinstance(module, torch.nn.Linear) and "lm_head" not in name
    }
    save_file(linear, out)
    print(json.dumps({"seconds": seconds, "version": f"llmcompressor {llmcompressor.__version__}"[:17]}))


if __name__ == "__main__":
    main()
