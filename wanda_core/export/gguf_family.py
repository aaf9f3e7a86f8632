"""What a GGUF file says of a model that comes from a folder or the Hub: its shape and its tokenizer.

Only what a real llama.cpp was seen to compute as transformers does (`tests/benchmarks/llama_cpp.py`); all else is for
llama.cpp's own converter.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import numpy as np
from gguf import GGMLQuantizationType, GGUFWriter, TokenType
from torch import Tensor

from wanda_core.errors import Refused
from wanda_core.export.gguf_tensors import Entry, Places, entry, kind_of, stored
from wanda_core.export.gguf_types import CONVERTER
from wanda_core.models.language_model import LanguageModel
from wanda_core.models.named_sources import title_of
from wanda_core.pruning.result import Pruning

FAMILIES = ("llama", "qwen2", "qwen3")
"""By `model_type`, and so are they called in GGUF."""

QWEN3_HEAD = 128
"""Features of a head of every Qwen3, which transformers takes for granted when it loads a file."""

_WORDS = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|NUMBERS"
    r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
_BYTES = {"type": "ByteLevel", "add_prefix_space": False, "use_regex": True}


def _split(numbers: str) -> dict[str, Any]:
    pattern = {"Regex": _WORDS.replace("NUMBERS", numbers)}
    split = {"type": "Split", "pattern": pattern, "behavior": "Isolated", "invert": False}
    return {"type": "Sequence", "pretokenizers": [split, _BYTES | {"use_regex": False}]}


PRE: dict[str, dict[str, Any]] = {
    "gpt-2": _BYTES,
    "smollm": {"type": "Sequence", "pretokenizers": [{"type": "Digits", "individual_digits": True}, _BYTES]},
    "qwen2": _split(r"\p{N}"),
    "llama-bpe": _split(r"\p{N}{1,3}"),
}
"""How a text is cut before its pairs are merged, by llama.cpp's name for it (`tokenizer.ggml.pre`), as tokenizer.json
has it."""


def refuse_folder(model: LanguageModel) -> None:
    """Refuse a model whose shape or tokenizer this module does not know to the last detail.

    Raises:
        Refused: with the command that converts an exported folder.
    """
    why = _why_not_shape(model.network.config) or _why_not_tokenizer(model)
    if why:
        raise Refused(
            f"{title_of(model.source)} is not written as GGUF here ({why}): export a folder, and convert it with "
            f"`{CONVERTER}` of llama.cpp"
        )


def _why_not_shape(config: Any) -> str | None:
    if config.model_type not in FAMILIES:
        return f"its family is {config.model_type}; {', '.join(FAMILIES)} are"
    rope = getattr(config, "rope_parameters", None) or {}
    if rope.get("rope_type", "default") != "default" or rope.get("partial_rotary_factor", 1) != 1:
        return f"its positions are of the kind {rope.get('rope_type')}"
    biased = config.model_type != "qwen2" and getattr(config, "attention_bias", False)
    if biased or getattr(config, "mlp_bias", False):
        return "its layers have biases"
    if config.model_type == "qwen3" and config.head_dim != QWEN3_HEAD:
        return f"its heads have {config.head_dim} features; {QWEN3_HEAD} can be read back"
    if config.hidden_act != "silu":
        return f"its activation is {config.hidden_act}"
    if getattr(config, "use_sliding_window", False):
        return "its attention slides"
    return None


def _why_not_tokenizer(model: LanguageModel) -> str | None:
    backend = getattr(model.tokenizer, "backend_tokenizer", None)
    if backend is None:
        return "it has no tokenizer.json"
    content = json.loads(backend.to_str())
    made, pre = content["model"], _pre(content)
    plain = ("continuing_subword_prefix", "end_of_word_suffix", "dropout", "unk_token", "byte_fallback")
    if made["type"] != "BPE" or any(made.get(key) for key in plain):
        return f"its tokenizer is {made['type']}, or has parts of its own; byte-level BPE is"
    if pre is None or bool(made.get("ignore_merges")) != (pre == "llama-bpe"):
        return "its tokenizer cuts texts in a way that is not known here"
    normalizer = content.get("normalizer")
    if normalizer is not None and (normalizer["type"], pre) != ("NFC", "qwen2"):
        return "its tokenizer changes texts before it reads them"
    if any(token["lstrip"] or token["rstrip"] or token["single_word"] for token in content["added_tokens"]):
        return "its special tokens take spaces with them"
    if _starts(model) is None:
        return "its tokenizer adds more than one token at the start"
    if max([*made["vocab"].values(), *(token["id"] for token in content["added_tokens"])]) >= _vocabulary(
        model
    ):
        return "its tokenizer has more tokens than its embedding"
    return None


def _pre(content: dict[str, Any]) -> str | None:
    def plain(part: Any) -> Any:
        """Without what says nothing of where a text is cut."""
        if isinstance(part, dict):
            return {key: plain(value) for key, value in part.items() if key != "trim_offsets"}
        return [plain(each) for each in part] if isinstance(part, list) else part

    return next((name for name, form in PRE.items() if form == plain(content["pre_tokenizer"])), None)


def _starts(model: LanguageModel) -> bool | None:
    """Whether the tokenizer puts the token that begins a text before it; None where it adds anything else."""
    bare, whole = (model.tokenizer("a", add_special_tokens=special)["input_ids"] for special in (False, True))
    if whole == bare:
        return False
    return True if whole == [model.tokenizer.bos_token_id, *bare] else None


def _vocabulary(model: LanguageModel) -> int:
    return len(model.network.get_input_embeddings().get_parameter("weight"))


def add_settings(model: LanguageModel, writer: GGUFWriter) -> None:
    """Write shape and tokenizer of a model that `refuse_folder` lets pass."""
    config, tokenizer = model.network.config, model.tokenizer
    head = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
    writer.add_name(title_of(model.source))
    writer.add_block_count(config.num_hidden_layers)
    writer.add_context_length(config.max_position_embeddings)
    writer.add_embedding_length(config.hidden_size)
    writer.add_feed_forward_length(config.intermediate_size)
    writer.add_head_count(config.num_attention_heads)
    writer.add_head_count_kv(config.num_key_value_heads)
    writer.add_key_length(head)
    writer.add_value_length(head)
    writer.add_rope_dimension_count(head)
    writer.add_rope_freq_base(config.rope_parameters["rope_theta"])
    writer.add_layer_norm_rms_eps(config.rms_norm_eps)
    writer.add_vocab_size(_vocabulary(model))
    content = json.loads(tokenizer.backend_tokenizer.to_str())
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre(_pre(content) or "")
    tokens = [f"[PAD{place}]" for place in range(_vocabulary(model))]  # as llama.cpp's converter calls them
    kinds = [TokenType.UNUSED] * len(tokens)
    for token, place in content["model"]["vocab"].items():
        tokens[place], kinds[place] = token, TokenType.NORMAL
    for token in content["added_tokens"]:
        kind = TokenType.CONTROL if token["special"] else TokenType.USER_DEFINED
        tokens[token["id"]], kinds[token["id"]] = token["content"], kind
    writer.add_token_list(tokens)
    writer.add_token_types(kinds)
    writer.add_token_merges(
        [pair if isinstance(pair, str) else " ".join(pair) for pair in content["model"]["merges"]]
    )
    for name in ("bos", "eos", "pad", "unk"):
        place = getattr(tokenizer, f"{name}_token_id")
        if place is not None:
            getattr(writer, f"add_{name}_token_id")(place)
    writer.add_add_bos_token(bool(_starts(model)))
    writer.add_add_space_prefix(False)
    if isinstance(tokenizer.chat_template, str):
        writer.add_chat_template(tokenizer.chat_template)


def entries_of_network(model: LanguageModel, pruning: Pruning) -> Iterator[Entry]:
    """All weights of the model: pruned layers in their type, embeddings, head and layers that were not pruned in F16,
    norms and biases in F32; tied ones once."""
    places = Places(model, model.network.config.model_type)
    layers = {f"{layer.name}.weight": layer for layer in model.prunable.layers if layer.name in pruning.masks}
    others = {part.name: make() for part, make in pruning.other_weights(model.prunable)}
    seen = set()
    for name, weight in model.network.state_dict().items():
        if weight.data_ptr() in seen:
            continue
        seen.add(weight.data_ptr())
        if name not in places.names:
            raise Refused(f"{name} has no name in GGUF")
        kind = GGMLQuantizationType.F16 if weight.dim() > 1 else GGMLQuantizationType.F32
        if name in layers:
            kind = kind_of(layers[name], pruning.recipe.bits)

        values = others.get(name, weight)

        def laid(name: str = name, values: Tensor = values) -> np.ndarray:
            matrix = stored(pruning, layers[name]) if name in layers else values.float().cpu().numpy()
            return places.in_file(places.names[name], matrix, matrix.shape)

        yield entry(places.names[name], tuple(weight.shape), kind, laid)
