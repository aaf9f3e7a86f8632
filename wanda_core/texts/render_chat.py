"""Runs in a process of its own (see `bounded_child`): conversations through a model's chat template.

A template is a program that came with a model. jinja2's sandbox keeps it from files and attributes, that process from
memory and time without end.
"""

from __future__ import annotations

import json
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


def answer(task: dict[str, Any]) -> list[str]:
    """The texts of `conversations` through `template`, with the special `tokens`; `prompt`: ready for an answer."""

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
