"""Model folders that mean harm: what is done to a good one, and what is said of it."""

from __future__ import annotations

import json
import os
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file

from tests.support.models import tiny

SECRET = "only-for-my-eyes-8b1f"
"""In a file outside of the folder; no message may hold it."""

Change = Callable[[Path], object]


def edit(name: str, **changes: object) -> Change:
    """Other values in a JSON file of the folder, which is made where there is none."""

    def change(folder: Path) -> None:
        file = folder / name
        content = json.loads(file.read_text()) if file.exists() else {}
        file.write_text(json.dumps(content | changes))

    return change


def write(name: str, content: bytes | str) -> Change:
    data = content.encode() if isinstance(content, str) else content
    return lambda folder: (folder / name).write_bytes(data)


def link(name: str, target: str) -> Change:
    """A link in place of a file; `SECRET`: to a file outside of the folder."""

    def change(folder: Path) -> None:
        (folder / name).unlink(missing_ok=True)
        secret = folder.parent / "secret"
        secret.write_text(SECRET)
        (folder / name).symlink_to(secret if target == SECRET else target)

    return change


def pipe(name: str) -> Change:
    def change(folder: Path) -> None:
        (folder / name).unlink(missing_ok=True)
        os.mkfifo(folder / name)

    return change


def sparse(name: str, size: int) -> Change:
    """A file of that size that takes no room on the disk."""

    def change(folder: Path) -> None:
        with (folder / name).open("r+b" if (folder / name).exists() else "wb") as stream:
            stream.truncate(size)

    return change


def cut(name: str, share: float) -> Change:
    return lambda folder: os.truncate(folder / name, int((folder / name).stat().st_size * share))


def tokenizer(**parts: Any) -> Change:
    return edit("tokenizer.json", **parts)


def split(expression: str) -> dict[str, Any]:
    return {"type": "Split", "pattern": {"Regex": expression}, "behavior": "Isolated", "invert": False}


def growing(letter: str) -> dict[str, Any]:
    step = {"type": "Replace", "pattern": {"String": letter}, "content": letter * 20}
    return {"type": "Sequence", "normalizers": [step] * 12}


def long_token(folder: Path) -> None:
    content = json.loads((folder / "tokenizer.json").read_text())
    content["added_tokens"].append(content["added_tokens"][0] | {"id": 257, "content": "ab" * 20_000_000})
    (folder / "tokenizer.json").write_text(json.dumps(content))


def many_tokens(folder: Path) -> None:
    content = json.loads((folder / "tokenizer.json").read_text())
    like = content["added_tokens"][0]
    content["added_tokens"] += [
        like | {"id": 300 + i, "content": f"{i * 7919 % 100_003:06d}" * 100} for i in range(20_000)
    ]
    (folder / "tokenizer.json").write_text(json.dumps(content))


def safetensors(said: object, data: bytes = b"", length: int | None = None) -> Change:
    """A safetensors file whose header says this, and is said to be so long."""
    text = said if isinstance(said, bytes) else json.dumps(said).encode()
    said_length = len(text) if length is None else length
    return write("model.safetensors", struct.pack("<Q", said_length) + text + data)


def entry(shape: list[int], end: int, start: int = 0, dtype: str = "F32") -> dict[str, Any]:
    return {"dtype": dtype, "shape": shape, "data_offsets": [start, end]}


def index(content: object) -> Change:
    """Shards, and an index in place of theirs."""

    def change(folder: Path) -> None:
        tiny("llama").save_pretrained(folder, max_shard_size="20KB")
        (folder / "model.safetensors").unlink(missing_ok=True)
        text = content if isinstance(content, str) else json.dumps(content)
        (folder / "model.safetensors.index.json").write_text(text)

    return change


def weight(name: str, value: float) -> Change:
    def change(folder: Path) -> None:
        weights = load_file(folder / "model.safetensors")
        weights[name].fill_(value)
        save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})

    return change


def other_names(folder: Path) -> None:
    weights = load_file(folder / "model.safetensors")
    renamed = {f"<img src=x onerror=alert(1)>{name}": tensor for name, tensor in weights.items()}
    save_file(renamed, folder / "model.safetensors", metadata={"format": "pt"})


def config(**changes: object) -> Change:
    return edit("config.json", **changes)


def template(text: str) -> Change:
    return write("chat_template.jinja", text)


NESTED = "[" * 100_000
CODE = "needs code of its own"
UNREADABLE = "cannot be loaded|lacks weights|is damaged"
NO_TOKENIZER = "the tokenizer of .* cannot be loaded|cannot take this text"
TEMPLATE = "chat template fails|makes too much of the text"

HOSTILE: dict[str, tuple[Change, str]] = {
    # Configurations.
    "a billion layers": (config(num_hidden_layers=10**9), "layers, at most"),
    "a billion layers, another name": (config(n_layer=10**9), "layers, at most"),
    "a billion layers of a decoder": (
        config(
            model_type="bart", architectures=["BartForCausalLM"], is_decoder=True, decoder_layers=10**9, encoder_layers=1  # noqa: E501
        ),
        "layers, at most",
    ),
    "layers in a part": (config(text_config={"num_layers": 10**12}), "layers, at most"),
    "layers beyond digits": (config(num_hidden_layers=10**4000), "layers, at most"),
    "a billion labels": (config(num_labels=10**9), "labels, at most"),
    "infinitely many layers": (write("config.json", '{"model_type": "gemma3_text", "num_hidden_layers": Infinity}'), "layers, at most"),  # noqa: E501
    "a list of a billion kinds": (config(model_type="gemma3_text", architectures=["Gemma3ForCausalLM"], num_hidden_layers=10**9), "layers, at most"),  # noqa: E501
    "a vocabulary of trillions": (config(vocab_size=10**13), UNREADABLE),
    "a vocabulary below zero": (config(vocab_size=-5), UNREADABLE),
    "as wide as a galaxy": (config(hidden_size=2**40), UNREADABLE),
    "a head more than there is": (config(num_attention_heads=10**9), UNREADABLE),
    "a mask of all positions": (
        write("config.json", json.dumps({
            "model_type": "gpt_neo", "architectures": ["GPTNeoForCausalLM"], "hidden_size": 32, "num_heads": 4,
            "num_layers": 1, "attention_types": [[["global"], 1]], "max_position_embeddings": 10**6, "vocab_size": 1,
        })),
        "needs about|lacks weights",
    ),
    "a million experts": (
        config(model_type="mixtral", architectures=["MixtralForCausalLM"], num_local_experts=10**6), UNREADABLE,
    ),
    "a kernel": (config(attn_implementation="owner/kernel"), CODE),
    "a kernel for experts": (config(_experts_implementation="owner/kernel"), CODE),
    "a hidden kernel": (config(_attn_implementation_internal="owner/kernel"), CODE),
    "a kernel in a part": (config(sub=[{"x_implementation": {"y": "owner/kernel"}}]), CODE),
    "code of its own": (config(model_type="evil", auto_map={"AutoConfig": "evil.Config"}), CODE),
    "code of another's repo": (config(model_type="evil", auto_map={"AutoConfig": "o/r--evil.Config"}), CODE),
    "quantised by who knows what": (config(quantization_config={"quant_method": "evil"}), "is quantised"),
    "a deep configuration": (write("config.json", NESTED), "cannot be loaded"),
    "a deep part": (write("config.json", '{"a":' * 900 + "1" + "}" * 900), UNREADABLE + "|not a causal"),
    "a configuration of gigabytes": (sparse("config.json", 3 * 10**9), "config.json has 3.0 GB"),
    "a list for a configuration": (write("config.json", "[1, 2]"), "cannot be loaded"),
    "a pipe for a configuration": (pipe("config.json"), "is no plain file|no config.json"),
    "NaN in a configuration": (write("config.json", '{"model_type": "llama", "rms_norm_eps": NaN, "hidden_size": NaN}'), UNREADABLE),  # noqa: E501
    "half a character": (write("config.json", '{"model_type": "\\ud83e"}'), "cannot be loaded"),
    # Weights.
    "a header of gigabytes": (safetensors({}, length=2**33), "header is longer"),
    "a header longer than its file": (safetensors({}, length=2**20), "is damaged"),
    "a header that ends never": (safetensors({}, length=2**64 - 1), "is damaged"),
    "a header of braces": (safetensors(b"{" * 1_000_000), "is damaged"),
    "a tensor of exabytes": (safetensors({"a": entry([2**30, 2**30], 4)}, bytes(4)), "is damaged"),
    "a shape that overflows": (safetensors({"a": entry([2**62, 8], 0)}), "is damaged"),
    "a shape below zero": (safetensors({"a": entry([-1], 4)}, bytes(4)), "is damaged"),
    "a tensor beyond the end": (safetensors({"a": entry([1], 10**12, 10**12 - 4)}, bytes(4)), "is damaged"),
    "two tensors in one place": (
        safetensors({"a": entry([1], 4), "b": entry([1], 4)}, bytes(4)), "is damaged",
    ),
    "a kind of number that there is not": (safetensors({"a": entry([1], 4, dtype="F33")}, bytes(4)), "is damaged"),
    "no tensors": (safetensors({}), "lacks weights"),
    "names of markup": (other_names, "lacks weights"),
    "weights of noise": (write("model.safetensors", os.urandom(5000)), "is damaged"),
    "weights cut in the length": (cut("model.safetensors", 0.00001), "is damaged"),
    "weights cut in the header": (cut("model.safetensors", 0.01), "is damaged"),
    "weights cut in the middle": (cut("model.safetensors", 0.5), "is damaged"),
    "weights cut at the end": (cut("model.safetensors", 0.99999), "is damaged"),
    "weights longer than they say": (sparse("model.safetensors", 10**10), "is damaged"),
    "zeros without end": (link("model.safetensors", "/dev/zero"), "no plain file"),
    "a link to a secret": (link("model.safetensors", SECRET), "is damaged"),
    "a link in a circle": (link("model.safetensors", "model.safetensors"), "no plain file|holds no weights"),
    "a pipe for weights": (pipe("model.safetensors"), "no plain file"),
    "pickle alone": (lambda f: (f / "model.safetensors").rename(f / "pytorch_model.bin"), "pickle only"),
    "an index that leaves the folder": (index({"weight_map": {"a": "../../secret.safetensors"}}), "is not safe"),
    "an index of a whole path": (index({"weight_map": {"a": "/etc/x.safetensors"}}), "is not safe"),
    "an index of pickles": (index({"weight_map": {"a": "evil.bin"}}), "is not safe"),
    "an index of nothing there": (index({"weight_map": {"a": "absent.safetensors"}}), UNREADABLE),
    "a deep index": (index(NESTED), "is damaged"),
    "an index that is a list": (index([1]), "is damaged"),
    "NaN in a weight": (weight("model.layers.1.mlp.up_proj.weight", torch.nan), "hold NaN"),
    "NaN in the embedding": (weight("model.embed_tokens.weight", torch.nan), "NaN|infinit|not finite"),
    "an infinite norm": (weight("model.layers.0.input_layernorm.weight", torch.inf), "holds NaN|infinit"),
    # Tokenizers.
    "a tokenizer of gigabytes": (sparse("tokenizer.json", 5 * 10**9), "tokenizer.json has 5.0 GB"),
    "a deep tokenizer": (write("tokenizer.json", NESTED), NO_TOKENIZER),
    "a tokenizer that multiplies": (tokenizer(normalizer=growing("a")), NO_TOKENIZER),
    "one that multiplies a rare letter": (tokenizer(normalizer=growing("q")), "times as long"),
    "one that multiplies what it writes": (
        tokenizer(decoder={"type": "Sequence", "decoders": growing("q")["normalizers"]}), "times as long",
    ),
    "one that writes by expressions": (
        tokenizer(decoder={"type": "Replace", "pattern": {"Regex": "(a+)+b"}, "content": ""}), "by expressions",
    ),
    "an expression that backtracks": (tokenizer(pre_tokenizer=split("(a+)+b")), NO_TOKENIZER),
    "one that backtracks on a rare letter": (tokenizer(pre_tokenizer=split("(?:q*q*q*q*[zm])")), NO_TOKENIZER),
    "one that backtracks in a normaliser": (
        tokenizer(normalizer={"type": "Replace", "pattern": {"Regex": "(a|a)*[bm]"}, "content": ""}), NO_TOKENIZER,
    ),
    "an expression that is none": (tokenizer(pre_tokenizer=split("(((")), NO_TOKENIZER),
    "a token of megabytes": (long_token, NO_TOKENIZER),
    "thousands of long tokens": (many_tokens, NO_TOKENIZER),
    "a token that is not in the model": (
        tokenizer(model={"type": "BPE", "vocab": {"a": 10**6}, "merges": []}), NO_TOKENIZER + "|outside the model",
    ),
    "a pipe for a tokenizer": (pipe("tokenizer.json"), "no plain file"),
    "a tokenizer's link to a secret": (link("tokenizer.json", SECRET), NO_TOKENIZER),
    "a tokenizer's code": (
        edit("tokenizer_config.json", tokenizer_class="Evil", auto_map={"AutoTokenizer": ["evil.Evil", None]}),
        f"{CODE}|{NO_TOKENIZER}",
    ),
    "a tokenizer's settings of gigabytes": (sparse("tokenizer_config.json", 10**9), "tokenizer_config.json has 1.0 GB"),
    # Chat templates.
    "a template that loops": (template("{% for i in range(99999) %}{% for j in range(99999) %}{% endfor %}{% endfor %}"), TEMPLATE),  # noqa: E501
    "a template that doubles": (
        template("{% set n = namespace(a='x') %}{% for i in range(60) %}{% set n.a = n.a + n.a %}{% endfor %}{{ n.a }}"),  # noqa: E501
        TEMPLATE,
    ),
    "a template without end": (template("{% for i in range(99999) %}{{ 'x' * 9999 }}{% endfor %}"), TEMPLATE),
    "a template that calls itself": (template("{% macro a() %}{{ a() }}{% endmacro %}{{ a() }}"), TEMPLATE),
    "a template that reaches for files": (template("{% include '/etc/passwd' %}"), TEMPLATE),
    "a template that reaches for classes": (template("{{ ''.__class__.__mro__[1].__subclasses__() }}"), TEMPLATE),
    "a template that reaches for globals": (template("{{ cycler.__init__.__globals__.os.popen('id').read() }}"), TEMPLATE),  # noqa: E501
    "a template that is none": (template("{% for %}"), TEMPLATE),
    "a template of a power": (template("{{ 9 ** (9 ** 9) }}"), TEMPLATE),
    "a template of megabytes": (sparse("chat_template.jinja", 10**9), "chat_template.jinja has 1.0 GB"),
}  # fmt: skip
"""By name: the change, and what the refusal says."""

HARMLESS: dict[str, Change] = {
    "pickle beside safetensors": write("pytorch_model.bin", b"cos\nsystem\n(S'touch ran'\ntR."),
    "code beside a model": write("modeling_llama.py", "raise SystemExit('ran')"),
    "code for a kind that is known": config(auto_map={"AutoModelForCausalLM": "evil.Evil"}),
    "an adapter of another model": edit("adapter_config.json", base_model_name_or_path="owner/other", peft_type="LORA"),
    "hostile settings for writing": edit(
        "generation_config.json", num_beams=10**6, cache_implementation="static", top_k="many",
        prompt_lookup_num_tokens=10**9, stop_strings=["a"] * 9, max_length=10**12, custom_generate="owner/evil",
    ),
    "settings for writing of gigabytes that are none": write("generation_config.json", "{}" + " " * 4_000_000),
    "a card of broken YAML": write("README.md", "---\nlicense: [mit\n: }\n---\n"),
    "a card that makes objects": write("README.md", "---\nlicense: !!python/object/apply:os.system ['touch ran']\n---\n"),  # noqa: E501
    "a card of gigabytes": sparse("README.md", 3 * 10**9),
    "a card that multiplies": write(
        "README.md", "---\na: &a [x,x,x,x,x,x,x,x,x]\n" + "".join(
            f"{chr(98 + i)}: &{chr(98 + i)} [{','.join([f'*{chr(97 + i)}'] * 9)}]\n" for i in range(9)
        ) + "license: mit\n---\n",
    ),
    "a licence of markup": write("README.md", "---\nlicense: '<img src=x onerror=alert(1)>'\n---\n"),
    "a template that stays unused": edit("tokenizer_config.json", chat_template=None),
}  # fmt: skip
"""What is to be passed over: the model is pruned and exported as if it were not there."""
