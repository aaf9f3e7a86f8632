"""Texts in the form that a chat model was trained on: its own chat template, around conversations or plain text."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate
from pathlib import Path
from typing import TYPE_CHECKING

from torch import Tensor

from wanda_core.bounded_process import Failed, in_child
from wanda_core.errors import Refused
from wanda_core.texts.windows import encode, ends

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

    from wanda_core.texts.sources import Text

Conversation = Sequence[dict[str, str]]
"""Messages, each with `role` and `content`."""

SECONDS = 10
"""That a template may take for all conversations."""

MOST_BYTES = 2**30
"""Memory of the process that runs a template."""

MOST_CHARACTERS = 50_000_000
"""Of everything that a template gives back."""

TURN = 600
"""Characters from which a paragraph of plain text ends a turn."""

TURNS = 4
"""Turns of one conversation made of plain text."""


def encode_chat(text: Text, tokenizer: PreTrainedTokenizerBase, after: int = 0) -> Tensor:
    """The text's conversations, or the text put into turns, through the chat template: int64, shape (tokens,).

    Args:
        after: leave alone what the text's first so many tokens come from, as they are without a template.

    Raises:
        Refused: there is no chat template, or it fails or does not end.
    """
    start = _end_of(text.text, tokenizer, after) if after else 0
    plain = not text.conversations
    conversations = turns_of(text.text[start:]) if plain else _behind(text.conversations, start)
    return encode("".join(render(tokenizer, conversations)), tokenizer, special=False)


def _behind(conversations: Sequence[Conversation], start: int) -> list[Conversation]:
    """Those that begin behind so many characters of the text, which joins all messages with blank lines."""
    lengths = [sum(len(message["content"]) + 2 for message in each) for each in conversations]
    begins = accumulate(lengths[:-1], initial=0)
    return [each for each, begin in zip(conversations, begins, strict=True) if begin >= start]


def _end_of(text: str, tokenizer: PreTrainedTokenizerBase, tokens: int) -> int:
    """Characters of the text that its first tokens come from."""
    if not tokenizer.is_fast:
        raise Refused("with {chat} and this tokenizer, give a calibration text other than the evaluation's")
    found = ends(text, tokenizer)
    return found[tokens - 1] if tokens <= len(found) else len(text)


def encode_prompt(tokenizer: PreTrainedTokenizerBase, prompt: str) -> Tensor:
    """A prompt as the model expects it: through its chat template where it has one, as it stands otherwise.

    Returns:
        int64 (1, tokens).

    Raises:
        Refused: it is empty, or the chat template does not take it.
    """
    if not prompt.strip():
        raise Refused("the prompt is empty: type a few words")
    if tokenizer.chat_template:
        (whole,) = render(tokenizer, [[{"role": "user", "content": prompt}]], answer_next=True)
        ids = encode(whole, tokenizer, special=False)
    else:
        ids = encode(prompt, tokenizer)
    if not len(ids):
        raise Refused("the prompt holds no tokens: type a few words")
    return ids[None]


def turns_of(text: str) -> list[Conversation]:
    """Plain text as conversations: paragraphs in turn from user and assistant, `TURNS` of at least `TURN` characters
    each to a conversation, so that the template's own tokens stand as often as in use."""
    turns: list[str] = []
    gathered: list[str] = []
    for paragraph in (part.strip() for part in text.split("\n\n")):
        if paragraph:
            gathered.append(paragraph)
        if sum(map(len, gathered)) >= TURN:
            turns.append("\n\n".join(gathered))
            gathered = []
    if gathered:
        turns.append("\n\n".join(gathered))
    roles = ("user", "assistant")
    messages = [{"role": roles[number % 2], "content": turn} for number, turn in enumerate(turns)]
    return [messages[start : start + TURNS] for start in range(0, len(messages), TURNS)]


def render(
    tokenizer: PreTrainedTokenizerBase, conversations: Sequence[Conversation], *, answer_next: bool = False
) -> list[str]:
    """Each conversation through the tokenizer's chat template, in a process of its own with bounded time and memory.

    Args:
        answer_next: end with what comes before an assistant's answer.

    Raises:
        Refused: there is no template, or it fails, does not end, or gives back too much.
    """
    template = tokenizer.chat_template
    if isinstance(template, dict):
        template = template.get("default")
    if not template:
        raise Refused("this model has no chat template: turn {chat} off")
    task = {
        "template": template,
        "tokens": {name: str(token) for name, token in tokenizer.special_tokens_map.items()},
        "conversations": conversations,
        "prompt": answer_next,
    }
    script = Path(__file__).with_name("render_chat.py")
    try:
        texts: list[str] = in_child(script, task, seconds=SECONDS, most_bytes=MOST_BYTES)
    except Failed as failure:
        raise Refused(f"the model's chat template fails: {failure}") from failure
    if sum(map(len, texts)) > MOST_CHARACTERS:
        raise Refused(
            "the model's chat template makes too much of the text: use another model or a shorter text"
        )
    return texts
