"""What `behaviour.py` runs: models, texts and command lines, with names relative to the folder that holds them."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

SCHEDULES = ("layer", "block", "dense")
AMOUNTS = (
    "--sparsity 0.5",
    "--sparsity 0.5 --group output",
    "--sparsity 0.7 --group layer",
    "--sparsity 0.6 --group input",
    "--pattern 2:4",
    "--pattern 4:8",
    "--sparsity 0.5 --allocation owl",
    "--sparsity 0.5 --allocation 0=0.3,1=0.6",
)
WIDTHS: dict[str, dict[str, Any]] = {
    # Weights stored transposed.
    "gpt2": {"n_embd": 64, "n_inner": 96, "n_layer": 3, "n_head": 4, "n_positions": 512},
    # Two kinds of attention mask, the window shorter than those of the calibration.
    "gemma3_text": {
        "hidden_size": 64,
        "intermediate_size": 96,
        "num_hidden_layers": 3,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "head_dim": 16,
        "sliding_window": 8,
        "layer_types": ["sliding_attention", "full_attention", "sliding_attention"],
        "max_position_embeddings": 512,
    },
    # Learned positions and biases.
    "opt": {
        "hidden_size": 64,
        "word_embed_proj_dim": 64,
        "ffn_dim": 96,
        "num_hidden_layers": 3,
        "num_attention_heads": 4,
        "max_position_embeddings": 512,
        "dropout": 0.0,
    },
    # A parameter holds the weights of several experts.
    "mixtral": {
        "hidden_size": 64,
        "intermediate_size": 96,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "num_local_experts": 4,
        "num_experts_per_tok": 1,
        "max_position_embeddings": 512,
    },
}
RANDOM_MODELS = {name.removesuffix("_text"): name for name in WIDTHS}
POCKET_TEXTS = (
    "--calibration calibration.txt --samples 20 --length 128"  # two micro-batches, the second smaller
)
POCKET_EVALUATION = (
    "--evaluation evaluation.txt --windows 4 --eval-length 128 --json rows.json --csv rows.csv"
)
WRONG = (
    *(
        f"prune pocket {POCKET_TEXTS} --out out {wrong}"
        for wrong in (
            "--sparsity 1.5",
            "--sparsity nan",
            "--sparsity half",
            "--pattern 4:2",
            "--pattern 2:5",
            "--pattern 2:4 --sparsity 0.6",
            "--pattern 2:4 --group layer",
            "--pattern 2:4 --allocation owl",
            "--group row",
            "--method sparsegpt --group output",
            "--method best",
            "--schedule never",
            "--allocation fair",
            "--allocation 9=0.3",
            "--allocation 0=0.3,0=0.4",
            "--samples 0",
            "--samples 4000",
            "--length 1",
            "--length 1024",
            "--seed -1",
            "--device tpu",
            "--dtype int8",
            "--revision main",
            "--calibration none.txt",
            "--calibration empty.txt",
            "--out opt",
            "--unknown",
        )
    ),
    *(
        f"compare pocket {POCKET_TEXTS} {POCKET_EVALUATION} {wrong}"
        for wrong in (
            "--sparsities 0.5,most",
            "--sparsities 2",
            "--patterns 2-4",
            "--windows 0",
            "--windows 99999",
            "--eval-length 1",
            "--eval-length 1024",
            "--json opt",
            "--patterns 2:5,2:4",  # a point fails, the others are measured
        )
    ),
    "prune pocket",
    "prune no-such-folder/ --calibration calibration.txt --out out",
    "prune calibration.txt --calibration calibration.txt --out out",
    "prune none.gguf --calibration calibration.txt --out out",
    "compare pocket --calibration calibration.txt --evaluation evaluation.txt --resume",
    "latency",
    "latency pocket --shapes 64x64",
    "latency --shapes 64",
    "latency --shapes 64x64 --tokens 0",
)


def prepare(pocket: Path, models: list[str], ggufs: dict[str, Path], data: Path) -> None:
    """Put texts and models into the current folder."""
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer, GgufConfig

    for text in ("calibration.txt", "evaluation.txt"):
        shutil.copy(pocket / text, text)
    Path("empty.txt").write_text(" \n")
    Path("opt").mkdir()  # there also where the model of that name is not asked for: a folder that is taken
    Path("opt", "mine.txt").write_text("keep me")
    tokenizer = AutoTokenizer.from_pretrained(pocket)
    for name in (name for name in models if name in RANDOM_MODELS):
        torch.manual_seed(0)
        config = AutoConfig.for_model(
            RANDOM_MODELS[name], vocab_size=len(tokenizer), **WIDTHS[RANDOM_MODELS[name]]
        )
        network = AutoModelForCausalLM.from_config(config).requires_grad_(False)
        for parameter, weight in network.named_parameters():
            # As initialised, inputs hardly differ in size, and Wanda would prune as magnitude does.
            if weight.dim() == 1 and "norm" in parameter:
                weight.mul_(torch.rand_like(weight) * 2 + 0.1)
        network.save_pretrained(name)
        tokenizer.save_pretrained(name)
    for name, path in ggufs.items():
        # Once, instead of by each command: reading a GGUF file takes twenty seconds.
        network = AutoModelForCausalLM.from_pretrained(
            path.parent,
            gguf_file=path.name,
            quantization_config=GgufConfig(dequantize=True),
            dtype=torch.float32,
        )
        network.save_pretrained(name)
        AutoTokenizer.from_pretrained(path.parent, gguf_file=path.name).save_pretrained(name)
        Path(path.name).symlink_to(path)
        Path("wikitext2.txt").write_text(data.read_text(encoding="utf-8")[:50_000], encoding="utf-8")


def command_lines(models: list[str], ggufs: dict[str, Path], methods: list[str]) -> list[str]:
    """All that is run; ` && ` between those of which the second goes on from what the first wrote."""
    lines = []
    if "pocket" in models:
        lines += [*of_pocket(methods), *WRONG]
    for name in (name for name in models if name in RANDOM_MODELS):
        lines += of_random(name)
    for name, path in ggufs.items():
        lines += of_gguf(name, path, methods)
    return lines


def of_pocket(methods: list[str]) -> list[str]:
    prune = f"prune pocket {POCKET_TEXTS} --out out"
    compare = f"compare pocket {POCKET_TEXTS} {POCKET_EVALUATION}"
    several = "--methods magnitude,wanda,ria,random,sparsegpt,wanda+admm --sparsities 0.5,0.7 --patterns 2:4"
    lines = [
        f"{prune} --method {method} {amount} --schedule {schedule}"
        for method in methods
        for amount in AMOUNTS
        for schedule in (SCHEDULES[:1] if is_admm_again(method) else SCHEDULES)
    ]
    lines += [
        f"{prune} --method {method} {amount} --packed"
        for method in methods
        for amount in ("--sparsity 0.5", "--pattern 2:4")
    ]
    lines += [f"{prune} --method {method} --dtype bfloat16" for method in methods]
    lines += [f"{prune} --method {method} --seed 3" for method in ("wanda", "random")]
    lines += [f"{prune} --allocation 0=0.3,model.layers.2.mlp.down_proj=0.7", f"{prune} --sparsity 0"]
    lines += [f"{compare} {several} --schedule {schedule}" for schedule in SCHEDULES]
    lines += [
        f"{compare} --calibration evaluation.txt --allocation owl",  # calibrated after what is evaluated
        f"{compare} --methods wanda+admm --allocation 0=0.3 --seed 3",
        f"{compare} --methods magnitude,random && {compare} --methods random,wanda --resume",
        f"{compare} --methods magnitude && {compare} --methods wanda --resume --length 64",
        "latency --shapes 64x96 --tokens 1,4 --json rows.json --csv rows.csv",
    ]
    return lines


def of_random(name: str) -> list[str]:
    prune = f"prune {name} {POCKET_TEXTS} --out out"
    lines = [
        f"{prune} --method {method} {amount} --schedule {schedule}"
        for method in (
            "magnitude",
            "wanda",
            "sparsegpt",
            "wanda+admm",
        )  # no statistics, norms, two uses of Gram matrices
        for amount in ("--sparsity 0.5", "--pattern 2:4", "--sparsity 0.5 --allocation owl")
        for schedule in SCHEDULES
    ]
    lines += [f"{prune} --method {method} --packed" for method in ("wanda", "sparsegpt", "wanda+admm")]
    lines += [f"{prune} --pattern 2:4 --packed"]
    lines += [
        f"compare {name} {POCKET_TEXTS} {POCKET_EVALUATION} --methods wanda,sparsegpt --schedule {schedule}"
        for schedule in SCHEDULES
    ]
    return lines


def is_admm_again(method: str) -> bool:
    """ADMM is slow, and the same under every score: what depends on more than the mask is run with one of them."""
    return method.endswith("+admm") and method != "wanda+admm"


def of_gguf(name: str, path: Path, methods: list[str]) -> list[str]:
    """Few windows, and of the slow methods one schedule: eight minutes for 135 million parameters."""
    texts = "--calibration wikitext2.txt --samples 2 --length 64"
    evaluation = "--evaluation wikitext2.txt --windows 2 --eval-length 64 --json rows.json"
    lines = [
        f"prune {name} {texts} --out out --method {method} {amount} --schedule {schedule}"
        for method in methods
        for amount in (("--pattern 2:4",) if is_admm_again(method) else ("--sparsity 0.5", "--pattern 2:4"))
        for schedule in (SCHEDULES[:1] if method == "sparsegpt" or method.endswith("+admm") else SCHEDULES)
    ]
    lines += [
        f"prune {name} {texts} --out out --pattern 2:4 --packed",
        f"prune {name} {texts} --out out --allocation owl",
        f"prune {path.name} {texts} --out out",
    ]
    lines += [
        f"compare {name} {texts} {evaluation} --methods magnitude,wanda,ria --patterns 2:4 --sparsities 0.5 "
        f"--schedule {schedule}"
        for schedule in SCHEDULES
    ]
    return lines
