"""Runs in a process of its own, without an import of this package: conversations through a model's chat template.

A template is a program that came with a model. jinja2's sandbox keeps it from files and attributes, and the limits set
here from memory and time without end.

Standard input: JSON, `{"template", "tokens", "conversations", "prompt", "seconds", "bytes"}`. Standard output: JSON,
`{"texts": [...]}` or `{"error": "..."}`.
"""

from __future__ import annotations

import json
import sys
from contextlib import suppress
from datetime import datetime
from typing import Any

import jinja2
from jinja2.ext import Extension
from jinja2.sandbox import ImmutableSandboxedEnvironment


class Generation(Extension):
    """`{% generation %}` marks what an assistant wrote, for training; here its body is all."""

    tags = {"generation"}  # noqa: RUF012

    def parse(self, parser: Any) -> Any:
        next(parser.stream)
        return parser.parse_statements(("name:endgeneration",), drop_needle=True)


def limit(seconds: int, most_bytes: int) -> None:
    """Let the system end this process beyond these limits, where it can (Windows cannot)."""
    with suppress(ImportError):
        import resource

        resource.setrlimit(resource.RLIMIT_CPU, (seconds, seconds))
        resource.setrlimit(resource.RLIMIT_AS, (most_bytes, most_bytes))


def render(task: dict[str, Any]) -> list[str]:
    def fail(message: str) -> None:
        raise jinja2.TemplateError(message)

    environment = ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=[Generation, "jinja2.ext.loopcontrols"]
    )
    environment.filters["tojson"] = lambda value, **how: json.dumps(value, **({"ensure_ascii": False} | how))
    environment.globals["raise_exception"] = fail
    environment.globals["strftime_now"] = lambda form: datetime.now().strftime(form)
    template = environment.from_string(task["template"])
    return [
        template.render(messages=messages, add_generation_prompt=task["prompt"], **task["tokens"])
        for messages in task["conversations"]
    ]


if __name__ == "__main__":
    task = json.loads(sys.stdin.buffer.read())
    limit(task["seconds"], task["bytes"])
    try:
        answer: dict[str, Any] = {"texts": render(task)}
    except MemoryError:
        answer = {"error": "it takes too much memory"}
    except Exception as error:  # whatever a template comes to
        answer = {"error": f"{type(error).__name__}: {error}"[:200]}
    sys.stdout.buffer.write(json.dumps(answer).encode())
