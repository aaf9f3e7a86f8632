"""Rows of a table or dataset as one text, and as conversations where they hold any."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import chain, islice
from typing import Any

from wanda_core.errors import Refused

Messages = tuple[dict[str, str], ...]
"""One conversation: messages with `role` and `content`."""

ACCEPTED = (
    "a .txt, .md, .jsonl, .csv or .parquet file (FILE#COLUMN), wikitext2, c4, pydoc, stories, or a dataset of the Hub "
    "as owner/name[:config][@split][#column]"
)


def refuse(message: str) -> Refused:
    """One line, also where the message quotes what others wrote."""
    return Refused(" ".join(message.split()))


@dataclass(frozen=True)
class Joined:
    """What rows come to."""

    text: str
    conversations: tuple[Messages, ...] = ()


def join_rows(
    rows: Iterable[dict[str, Any]],
    name: str,
    column: str | None = None,
    characters: int | None = None,
    most: int | None = None,
) -> Joined:
    """The text column's rows with a blank line between them, as GPTQ, SparseGPT and Wanda join WikiText-2.

    Args:
        name: of the table, for messages.
        column: to be read; None: `text`, else `messages`, else the only one with strings.
        characters: read up to the row that brings the text to so many; None: all.
        most: refuse a longer text.
    """
    remaining = iter(rows)
    head = list(islice(remaining, 100))
    if not head:
        return Joined("")
    column = _column(head, name, column)
    texts: list[str] = []
    conversations: list[Messages] = []
    length = 0
    for number, row in enumerate(chain(head, remaining), start=1):
        value = row.get(column)
        if value is None:
            continue
        if isinstance(value, list):
            conversations.append(_messages(value, f"{name}: row {number:,} of the column `{column}`"))
            value = "\n\n".join(message["content"] for message in conversations[-1])
        if not isinstance(value, str):
            raise refuse(
                f"{name}: row {number:,} of the column `{column}` is not text: repair it, or name the column `text`"
            )
        length += len(value) + (2 if texts else 0)
        texts.append(value)
        if most is not None and length > most:
            raise refuse(f"{name} holds more than {most:,} characters: give a part of it")
        if characters is not None and length >= characters:
            break
    return Joined("\n\n".join(texts), tuple(conversations))


def _column(rows: list[dict[str, Any]], name: str, wanted: str | None) -> str:
    """By values: a streamed CSV does not know its columns' types."""
    columns = list(dict.fromkeys(column for row in rows for column in row))
    listed = ", ".join(columns)[:300]
    if wanted is not None:
        if wanted not in columns:
            raise refuse(f"{name} has no column `{wanted}`, only {listed}")
        return wanted
    kinds = {column: {type(row.get(column)) for row in rows} - {type(None)} for column in columns}
    strings = [column for column in columns if kinds[column] == {str}]
    if "text" in strings:
        return "text"
    if kinds.get("messages") == {list}:
        return "messages"
    if len(strings) != 1:
        raise refuse(f"{name} has no column `text` or `messages`, but {listed}: name one as #COLUMN")
    return strings[0]


def _messages(value: list[Any], where: str) -> Messages:
    """One conversation, checked; `content` may be a list of parts, of which those of text count."""
    messages = []
    for message in value:
        role = message.get("role") if isinstance(message, dict) else None
        content = message.get("content") if isinstance(message, dict) else None
        if isinstance(content, list):
            content = "".join(str(part.get("text") or "") for part in content if isinstance(part, dict))
        if not isinstance(role, str) or not isinstance(content, str):
            raise refuse(f"{where} is no list of messages with `role` and `content` as text: repair it")
        messages.append({"role": role, "content": content})
    return tuple(messages)
