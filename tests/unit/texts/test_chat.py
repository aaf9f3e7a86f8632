"""Chat templates: the same text as transformers makes of them, and an end to those that have none."""

from __future__ import annotations

import json
from pathlib import Path
from time import monotonic

import pytest
from transformers import PreTrainedTokenizerFast

from tests.conftest import byte_tokenizer
from wanda_core import Refused, bounded_process
from wanda_core.texts import chat
from wanda_core.texts.chat import encode_chat, encode_prompt, render, turns_of
from wanda_core.texts.sources import Text, read_text
from wanda_core.texts.windows import encode

TEMPLATES = {
    "chatml": "{% for m in messages %}{{ '<|' + m['role'] + '|>' + m.content | trim + eos_token }}\n{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>{% endif %}",
    "blocks": """{%- set ns = namespace(seen=0) %}
    {% for m in messages %}
    {%- if loop.index0 > 5 %}{% break %}{% endif %}
    {%- set ns.seen = ns.seen + 1 %}
      {{ ns.seen }} {{ m | tojson }}
      {% generation %}{{ m.content }}{% endgeneration %}
    {% endfor %}
    """,
}
CONVERSATIONS = [
    [{"role": "user", "content": " Hi, café? "}, {"role": "assistant", "content": "<b>\nYes & no"}],
    [{"role": "system", "content": ""}],
]


@pytest.fixture
def tokenizer() -> PreTrainedTokenizerFast:
    made = byte_tokenizer()
    made.chat_template = TEMPLATES["chatml"]
    return made


@pytest.mark.parametrize("answer_next", [False, True])
@pytest.mark.parametrize("template", TEMPLATES)
def test_as_transformers_renders(
    tokenizer: PreTrainedTokenizerFast, template: str, answer_next: bool
) -> None:
    tokenizer.chat_template = TEMPLATES[template]
    expected = tokenizer.apply_chat_template(CONVERSATIONS, tokenize=False, add_generation_prompt=answer_next)
    assert render(tokenizer, CONVERSATIONS, answer_next=answer_next) == expected


def test_a_prompt_goes_through_the_template(tokenizer: PreTrainedTokenizerFast) -> None:
    messages = [{"role": "user", "content": "a fox"}]
    expected = tokenizer.apply_chat_template(messages, add_generation_prompt=True, return_dict=True)[
        "input_ids"
    ]
    assert encode_prompt(tokenizer, "a fox").tolist() == [expected]
    tokenizer.chat_template = None
    assert encode_prompt(tokenizer, "a fox").tolist() == [tokenizer("a fox")["input_ids"]]


def test_conversations_of_a_file_are_calibrated_on(
    tokenizer: PreTrainedTokenizerFast, tmp_path: Path
) -> None:
    file = tmp_path / "talks.jsonl"
    file.write_text("".join(json.dumps({"id": i, "messages": c}) + "\n" for i, c in enumerate(CONVERSATIONS)))
    text = read_text(str(file), "calibration")
    assert [list(conversation) for conversation in text.conversations] == CONVERSATIONS
    whole = "".join(tokenizer.apply_chat_template(CONVERSATIONS, tokenize=False))
    assert encode_chat(text, tokenizer).tolist() == encode(whole, tokenizer, special=False).tolist()


def test_what_was_evaluated_is_left_alone(tokenizer: PreTrainedTokenizerFast) -> None:
    # A byte is a token: what is behind is known without a tokenizer.
    paragraphs = [f"{number} " + "word " * 130 for number in range(9)]
    whole = "\n\n".join(paragraphs)
    after = len("\n\n".join(paragraphs[:4])) - 7
    rest = turns_of(whole[after:])
    expected = encode("".join(render(tokenizer, rest)), tokenizer, special=False)
    assert encode_chat(Text("t", whole, "t"), tokenizer, after).tolist() == expected.tolist()
    talks = tuple(({"role": "user", "content": f"{number} café"},) for number in range(5))
    text = Text("t", "\n\n".join(talk[0]["content"] for talk in talks), "t", talks)
    second = len("0 café\n\n1".encode())  # the second conversation was begun, so that it is left alone too
    expected = encode("".join(render(tokenizer, talks[2:])), tokenizer, special=False)
    assert encode_chat(text, tokenizer, second).tolist() == expected.tolist()


def test_plain_text_is_put_into_turns(tokenizer: PreTrainedTokenizerFast) -> None:
    paragraphs = [f"{number} " + "word " * 130 for number in range(9)] + ["short", "end"]
    conversations = turns_of("\n\n".join(paragraphs))
    assert [len(conversation) for conversation in conversations] == [4, 4, 2]
    said = [message for conversation in conversations for message in conversation]
    assert [message["role"] for message in said] == ["user", "assistant"] * 5
    assert "\n\n".join(message["content"] for message in said).split() == " ".join(paragraphs).split()
    assert said[-1]["content"] == "short\n\nend"
    encoded = encode_chat(Text("a", "\n\n".join(paragraphs), "a"), tokenizer)
    assert tokenizer.decode(encoded).count("<|assistant|>") == 5


HOSTILE = {
    "fails": ("{{ raise_exception('no system\nrole') }}", "fails: TemplateError: no system role"),
    "no template at all": ("{% for %}", "fails: TemplateSyntaxError"),
    "reaches for the machine": ("{{ ''.__class__.__mro__[1].__subclasses__() }}", "SecurityError"),
    "memory": ("{% set ns = namespace(a='x') %}{% for i in range(60) %}{% set ns.a = ns.a*9 %}{% endfor %}", "memory"),
    "never ends": ("{% for i in range(99999) %}{% for j in range(99999) %}{% endfor %}{% endfor %}", "does not end"),
    "says too much": ("{{ 'x' * 2000 }}", "makes too much of the text"),
}  # fmt: skip


@pytest.mark.parametrize("kind", HOSTILE)
def test_a_hostile_template_is_refused_in_time(
    kind: str, tokenizer: PreTrainedTokenizerFast, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(chat, "SECONDS", 2)
    monkeypatch.setattr(chat, "MOST_CHARACTERS", 1000)
    tokenizer.chat_template, reason = HOSTILE[kind]
    start = monotonic()
    with pytest.raises(Refused, match=reason) as refused:
        render(tokenizer, CONVERSATIONS)
    assert "\n" not in str(refused.value)
    assert monotonic() - start < 30


def test_a_template_sees_no_token_of_the_user(
    tokenizer: PreTrainedTokenizerFast, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[dict[str, str]] = []
    run = bounded_process.subprocess.run
    monkeypatch.setenv("HF_TOKEN", "secret")
    monkeypatch.setattr(
        bounded_process.subprocess, "run", lambda *a, **k: seen.append(k["env"]) or run(*a, **k)
    )
    render(tokenizer, CONVERSATIONS)
    assert "secret" not in str(seen)


def test_without_a_template_chat_is_refused() -> None:
    with pytest.raises(Refused, match="has no chat template: turn chat off"):
        encode_chat(Text("a", "some text", "a"), byte_tokenizer())
