"""The model card of an export: what was done, what it cost, and what it is not good for."""

from __future__ import annotations

import re
from collections.abc import Sequence
from html import escape
from pathlib import Path
from typing import Any

import pandas as pd
from huggingface_hub import ModelCard, ModelCardData, model_info

from wanda_core.export.kinds import Kind
from wanda_core.method.bits import BLOCK, TYPES
from wanda_core.method.methods import METHODS
from wanda_core.method.recipe import name_suffix
from wanda_core.method.updates import NONE
from wanda_core.models.language_model import LanguageModel
from wanda_core.models.named_sources import POCKET, smollm2_file, title_of
from wanda_core.models.prunable_layers import ExpertLayer
from wanda_core.pruning.result import Pruning

MOST_CARD = 1_000_000
"""Bytes of a source's card that is read."""
LICENSE = re.compile(r"[\w. +()-]{1,100}")


def fine_tune(kind: Kind) -> str:
    """Ten lines that fine-tune an export and keep its zeros. Tests run them."""
    return f"""
import torch
from {kind.imported}
from wanda_core import load_masks, find_prunable_layers

model, masks = {kind.loaded}, load_masks(FOLDER + "/masks.safetensors")
for layer in (layer for layer in find_prunable_layers(model).layers if layer.name in masks):
    mask, keep = masks[layer.name].unpack(), torch.ones_like(layer.parameter, dtype=torch.bool)
    keep[getattr(layer, "expert", ...)] = mask.t() if layer.transposed else mask  # one expert, or all of the weight
    layer.parameter.data *= keep
    layer.parameter.register_hook(lambda gradient, keep=keep: gradient * keep)
optimizer = torch.optim.AdamW(model.parameters(), lr=1e-5)  # zero gradients and zero weights: zeros stay zero
"""


LEAST_FOR_KERNELS = 0.2
"""Sparsity from which MACKO's kernels gain, as its authors say."""
WITHOUT_ZEROS = """
import macko_spmv  # compiles its kernels when it is first imported
import torch
from transformers import AutoModelForCausalLM
from wanda_core import find_prunable_layers

def product(layer, compressed):
    bias = layer.module.bias
    def forward(inputs):
        rows = [macko_spmv.multiply(compressed, row) for row in inputs.flatten(0, -2)]
        outputs = torch.stack(rows).view(*inputs.shape[:-1], -1)
        return outputs if bias is None else outputs + bias
    return forward

model = AutoModelForCausalLM.from_pretrained(FOLDER, dtype=torch.float16, device_map=DEVICE)
for layer in find_prunable_layers(model).layers:
    layer.module.forward = product(layer, macko_spmv.compress(layer.weight.contiguous()))
    layer.module.weight = None  # the dense copy
"""
"""Lets a folder's model compute through MACKO's kernels. A test runs it, with a product of its own in their place."""


def model_card(
    model: LanguageModel,
    pruning: Pruning,
    calibration: dict[str, Any],
    rows: Sequence[dict[str, Any]],
    protocol: dict[str, Any] | None,
    kind: Kind,
    notes: Sequence[str] = (),
    alone: str = "",
) -> ModelCard:
    """The card of a pruned model.

    Args:
        rows: of `rows.COLUMNS`, measured on this model; those of other recipes are shown beside its own.
        protocol: how the rows were measured; None where there are none.
        kind: what the export holds of the weights.
        notes: sentences on how they were written.
        alone: the name of the one file that the export is; else it is a folder.
    """
    recipe = pruning.recipe
    amount = recipe.pattern if recipe.parsed_pattern.structured else f"{recipe.sparsity:.0%}"
    amount += name_suffix(recipe.as_dict())
    source = shown_source(model)
    data = ModelCardData(
        base_model=source if _of_the_hub(model) else None,
        license=source_license(model),
        # The Hub shows `from_pretrained` on the pages of models that are said to be of transformers.
        library_name="transformers" if kind.plain else None,
        pipeline_tag="text-generation" if kind.plain else None,
        tags=["pruning", "sparsity", recipe.method],
    )
    seed, shown = calibration.get("seed"), _words(source)
    parts = [
        f"---\n{data.to_yaml()}\n---\n\n# {shown.rsplit('/', 1)[-1]}, pruned: {recipe.method} {amount}",
        f"{shown}{f' at commit {model.revision}' if model.revision else ''}, pruned with "
        f"Wanda Lab by `{recipe.method}`: {pruning.sparsity:.2%} of the weights of "
        f"its {len(pruning.masks)} pruned layers are zero. Embeddings and output head are dense. {_trained(pruning)}",
        "## What it costs\n\n" + _perplexities(rows, protocol) + _layers(pruning),
        "## How it was made\n\n"
        f"Calibrated on {calibration.get('samples', '?')} windows of {calibration.get('length', '?')} tokens of "
        f"{_words(calibration.get('text', 'a text that was not recorded'))}, seed {seed}. {_records(alone)}"
        + _ordered(pruning, alone)
        + _rounded(pruning, kind),
        "## Limits\n\n" + " ".join([_limits(pruning, kind), *notes]),
    ]
    if kind.run:
        parts.append("## Run it\n\n" + kind.run.replace("FILE", alone or "model.gguf"))
    if not alone:
        parts.append(f"## Fine-tune and keep the zeros\n\n{_where(kind)}\n\n```python{fine_tune(kind)}```")
    enough = pruning.sparsity >= LEAST_FOR_KERNELS
    if kind.plain and enough and not any(isinstance(layer, ExpertLayer) for layer in model.prunable.layers):
        parts.append(f"## Run it without its zeros\n\n{_packed_runs()}\n\n```python{WITHOUT_ZEROS}```")
    return ModelCard("\n\n".join(parts) + "\n")


def source_license(model: LanguageModel) -> str | None:
    """The licence that the source states; None where it states none, or the Hub does not answer."""
    named = {"pocket": POCKET, "smollm2": smollm2_file()}
    folder = named.get(model.source) or Path(model.source)
    try:
        if folder.suffix == ".gguf":
            found = _gguf_license(folder)
        elif folder.is_dir():
            card = folder / "README.md"
            readable = card.is_file() and card.stat().st_size < MOST_CARD
            found = ModelCard.load(card).data.license if readable else None
        else:
            data = model_info(model.source, revision=model.revision, timeout=20).card_data
            found = data.license if data else None
    except Exception:  # a card from elsewhere may hold anything, and no licence is worth a finished pruning
        return None
    return found if isinstance(found, str) and LICENSE.fullmatch(found) else None


def _gguf_license(file: Path) -> str | None:
    from gguf import GGUFReader

    field = GGUFReader(file).get_field("general.license")
    return str(field.contents()) if field else None


def _of_the_hub(model: LanguageModel) -> bool:
    return model.revision is not None


def shown_source(model: LanguageModel) -> str:
    """The source without the path of the machine it was made on."""
    return model.source if _of_the_hub(model) else title_of(model.source)


def _words(name: str) -> str:
    """A name in one line, as text: a card may hold HTML."""
    return escape(" ".join(name.split()), quote=False)


def _perplexities(rows: Sequence[dict[str, Any]], protocol: dict[str, Any] | None) -> str:
    measured = [row for row in rows if row["perplexity"] is not None]
    if not measured or protocol is None:
        return "Perplexity was not measured for this export.\n\n"
    lines = ["| | sparsity | perplexity | 95% interval |", "| --- | --- | --- | --- |"]
    for row in measured:
        pattern = "" if row["pattern"] in (None, "unstructured") else f" {row['pattern']}"
        name = row["method"] + pattern + name_suffix(row)
        low, high = row["perplexity_low"], row["perplexity_high"]
        interval = f"{low:.4g} to {high:.4g}" if low is not None else "one window"
        lines.append(f"| {name} | {row['sparsity_reached']:.1%} | {row['perplexity']:.4g} | {interval} |")
    return "\n".join(lines) + (
        f"\n\nOn the first {protocol['windows']} windows of {protocol['eval_length']} tokens of "
        f"{_words(protocol['evaluation'])}, without overlap, every token but a window's first predicted from those "
        f"before it. {protocol['device']}, {protocol['dtype']}, torch {protocol['torch']}, "
        f"transformers {protocol['transformers']}, {protocol['date']}.\n\n"
    )


def _layers(pruning: Pruning) -> str:
    """Sparsity and output error by kind of layer, over the blocks."""
    reports = pd.DataFrame([vars(report) | {"sparsity": report.sparsity} for report in pruning.reports])
    if reports.empty:
        return ""
    lines = ["| layers | sparsity | mean output error | largest |", "| --- | --- | --- | --- |"]
    for kind, group in reports.groupby("kind", sort=False):
        share = group["pruned"].sum() / group["weights"].sum()
        lines.append(f"| {kind} | {share:.1%} | {group['error'].mean():.1%} | {group['error'].max():.1%} |")
    return "\n".join(lines) + (
        "\n\nOutput error: how far a layer's output moved on a sample of its own calibration inputs, of its norm."
        + _uncalled(pruning)
    )


def _uncalled(pruning: Pruning) -> str:
    """The layers that calibration never reached."""
    if not pruning.uncalled:
        return ""
    names = ", ".join(f"`{name}`" for name in pruning.uncalled)
    return f"\n\nLeft dense and not counted, as the forward never called them: {names}."


def _trained(pruning: Pruning) -> str:
    """Whether the kept weights were trained, and what that did."""
    if not pruning.trained:
        return "Nothing is retrained."
    if whole := pruning.recovered_model:
        return (
            "Its kept weights and norms were then trained on the calibration text, all together towards the next token "
            "and the dense model's probabilities, in float32, the zeros kept: the perplexity on windows held out went "
            f"from {whole.before:.4g} to {whole.after:.4g}." + (f" {whole.note}." if whole.note else "")
        )
    before, after = (
        sum(getattr(report, at) for report in pruning.recovered) / len(pruning.recovered)
        for at in ("before", "after")
    )
    left = [str(report.block) for report in pruning.recovered if report.note]
    return (
        "Its kept weights and the norms of its blocks were then trained on the calibration text, block by block "
        "against the dense model's output, in float32, the zeros kept: the mean error of a block's output on "
        f"windows held out went from {before:.4f} to {after:.4f}, squared and by the token's squared norm."
        + (f" Left as pruned, as their loss turned NaN: blocks {', '.join(left)}." if left else "")
    )


def _records(alone: str) -> str:
    """Where the export says how it was made."""
    if alone:
        return "The file's setting `wanda_lab.pruning` has the whole recipe, versions and seeds, as JSON."
    return (
        "`recipe.json` has the whole recipe, versions and seeds; `calibration.safetensors` the very tokens; "
        "`masks.safetensors` a bit for every weight."
    )


def _ordered(pruning: Pruning, alone: str) -> str:
    """What an order of the channels means for whoever compares weights with the source's."""
    if pruning.order is None:
        return ""
    said = (
        f" The channels are in another order than the source's, under which {pruning.recipe.pattern} keeps more of "
        "Wanda's scores: the stream's, each MLP's, and the values' inside each key-value head. It is folded into all "
        "weights."
    )
    if alone:
        return said
    return (
        f"{said} `order.safetensors` says which of the source's channels lies in each place, for masks, too."
    )


def _rounded(pruning: Pruning, kind: Kind) -> str:
    """What rounding did to the kept weights."""
    if pruning.recipe.bits == 16:
        return ""
    said = (
        f" Then the kept weights were rounded as GGUF's {TYPES[pruning.recipe.bits]} does, in blocks of {BLOCK} that "
        "share a scale; zeros stayed zero."
    )
    return (
        said if kind.by_bits else f"{said} The files here hold these values in the model's dtype, no smaller."
    )


def _packed_runs() -> str:
    """What gains from the zeros where a model writes token after token."""
    return (
        "On a CPU `prune --packed` writes a folder that `wanda_core.load_packed` computes with. On an NVIDIA consumer "
        "GPU, in float16, MACKO's kernels (arXiv 2511.13061; `pip install git+https://github.com/vlejd/macko_spmv`) "
        "skip zeros that lie anywhere: its authors report 66.5 tokens a second dense and 98.6 with half of the weights "
        "pruned by Wanda, Llama-2-7B, one sequence at a time. Not measured here, and not tuned for server GPUs. It "
        "multiplies one token at a time, so a long prompt is read more slowly than by the dense model. `FOLDER` is the "
        'folder with this card, `DEVICE` is `"cuda"`.'
    )


def _where(kind: Kind) -> str:
    """What the names in the example stand for."""
    folder = "`FOLDER` is the folder with this card"
    return f"{folder}, `SOURCE` the dense model." if not kind.write else f"{folder}."


def _limits(pruning: Pruning, kind: Kind) -> str:
    common = (
        "Pruning costs quality: see the table, and measure on your own text before you rely on it. The language and "
        "subject of the calibration text matter. Whatever the source model gets wrong, this one does, too."
    )
    changed = ""
    if not kind.write and (METHODS[pruning.recipe.method].update != NONE or pruning.trained):
        changes = " and ".join(
            [f"`{pruning.recipe.method}`"] * (METHODS[pruning.recipe.method].update != NONE)
            + ["recovery"] * pruning.trained
        )
        changed = f" {changes} also changed the kept weights: the masks do not have their new values."
    return f"{common} {kind.limits}{changed}"
