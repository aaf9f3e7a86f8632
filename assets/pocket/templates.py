"""The text side of the story grammar: files in sections, templates, capitals and articles."""

import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path


def sections(path: Path) -> Iterator[tuple[list[str], str]]:
    """The sections of a file: the words of the head line ("::" or "==" first) and the lines below it."""
    text = re.sub(r"^#.*\n", "", path.read_text(encoding="utf-8"), flags=re.MULTILINE)
    for head, body in re.findall(r"^((?:::|==) .+)\n((?:(?!::|==).*\n?)*)", text, flags=re.MULTILINE):
        yield head.split(), body.strip()


@cache
def parse(template: str) -> tuple[str | tuple, ...]:
    """Cut a template into literals (str), slots `("slot", key)` and choices `("choice", [parsed, ...])`."""
    parts: list[str | tuple] = []
    at = 0
    while at < len(template):
        if template[at] == "{":
            end = template.index("}", at)
            parts.append(("slot", template[at + 1 : end]))
            at = end + 1
        elif template[at] == "[":
            depth, start, options = 0, at + 1, []
            for end in range(at, len(template)):
                mark = template[end]
                depth += (mark == "[") - (mark == "]")
                if depth == 0 or (depth == 1 and mark == "|"):
                    options.append(parse(template[start:end]))
                    start = end + 1
                if depth == 0:
                    break
            parts.append(("choice", options))
            at = end + 1
        else:
            literal = re.match(r"[^{\[]+", template[at:]).group()
            parts.append(literal)
            at += len(literal)
    return tuple(parts)


def polish(text: str) -> str:
    """Choose "a" or "an"; set capitals at the start of sentences and speeches."""
    text = re.sub(r"\b([Aa])~ (?=[aeiou]|honest)", r"\1n ", text).replace("~", "")
    starts = r'(\^"?|(?<=[.!?]) "?|(?<=\.") "?|(?<=[,:]) ")([a-z])'
    return re.sub(starts, lambda match: match.group(1) + match.group(2).upper(), text).replace("^", "")


def plural(fruit: str) -> str:
    """The plural of a fruit of the table."""
    return fruit[:-1] + "ies" if fruit.endswith("y") else fruit + ("es" if fruit.endswith("ch") else "s")
