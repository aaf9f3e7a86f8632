"""The kinds of export: what is written of the weights, how it is loaded, and what its card must say.

To add a kind, write a module with its two functions and put an entry into `KINDS`.
"""

from __future__ import annotations

from dataclasses import dataclass

from wanda_core.errors import Refused


@dataclass(frozen=True)
class Kind:
    """One form of a pruned model's weights."""

    label: str
    """What it is, in a few words."""
    imported: str
    """What loads it in Python, after `from`; with `loaded`, an expression where FOLDER is the export and SOURCE the
    dense model."""
    loaded: str
    limits: str
    """What the card says of this form."""
    write: str | None
    """Writes the configuration and the weights, `module:function` of model, pruning, folder and stop event; None:
    the weights are not part of it."""
    read: str | None
    """Reads the model back, `module:function` of folder, dtype and stop event; None: there is nothing to read, or
    `write` has done so."""
    plain: bool = False
    """Plain transformers loads it."""
    run: str = ""
    """How it is run, in Markdown, where nothing in Python is needed for that; FILE is the file with the weights."""
    notes: str | None = None
    """What the card says of how the weights were written, `module:function` of model and bits, a list of sentences."""
    by_bits: bool = False
    """Another file for each number of bits; else the rounded values are in the model's dtype."""


KINDS: dict[str, Kind] = {
    "folder": Kind(
        label="Model folder: loads anywhere, zeros stored as zeros",
        imported="transformers import AutoModelForCausalLM",
        loaded="AutoModelForCausalLM.from_pretrained(FOLDER)",
        limits="The zeros are stored as zeros, so that the folder loads anywhere: it is as large as the dense model, "
        "and not faster by itself.",
        write="wanda_core.export.plain_weights:write",
        read="wanda_core.export.plain_weights:read",
        plain=True,
    ),
    "packed": Kind(
        label="Packed: without the zeros, for wanda_core.load_packed",
        imported="wanda_core import load_packed",
        loaded="load_packed(FOLDER)",
        limits="`packed.safetensors` holds the weights without their zeros; plain transformers does not read it, "
        "`wanda_core.load_packed(FOLDER)` does, to the bit.",
        write="wanda_core.export.packed_file:write",
        read="wanda_core.export.packed_file:load_packed",
    ),
    "gguf": Kind(
        label="GGUF file, for llama.cpp",
        imported="wanda_core import load",
        loaded='load(FOLDER + "/model.gguf").network.requires_grad_()',
        limits="llama.cpp has no sparse format: it stores the zeros and multiplies by them, so that this file is as "
        "large and as fast as the dense model's in the same type, and no faster. The zeros are exact in it (they would "
        "not be in Q4_1, Q5_1 or the K-quants: do not requantise it to these), and a compressed copy is smaller for "
        "them. A pruned weight gains speed only in kernels that skip it, for which the folder is: MACKO's on consumer "
        "GPUs, `wanda_core.load_packed` on a CPU.",
        write="wanda_core.export.gguf_file:write",
        read=None,
        run='```bash\nllama-cli -m FILE -p "Once upon a time" -n 64\nllama-server -m FILE\n```\n\nAlso '
        '`llama_cpp.Llama(model_path="FILE")` of the package llama-cpp-python, LM Studio, and Ollama with the line '
        "`FROM ./FILE` in a Modelfile.",
        notes="wanda_core.export.gguf_file:written_notes",
        by_bits=True,
    ),
    "masks": Kind(
        label="Masks alone: one bit for every weight, no weights",
        imported="transformers import AutoModelForCausalLM",
        loaded="AutoModelForCausalLM.from_pretrained(SOURCE)",
        limits="These are masks alone: the dense model's weights are not in here.",
        write=None,
        read=None,
    ),
}


def kind_named(name: str) -> Kind:
    """The kind of that name.

    Raises:
        Refused: no such kind.
    """
    if name not in KINDS:
        raise Refused(f"no kind of export `{name[:40]}`: choose from {', '.join(KINDS)}")
    return KINDS[name]
