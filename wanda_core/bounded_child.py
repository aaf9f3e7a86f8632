"""Runs in a process of its own, without an import of this package: one script's `answer`, with bounded time and memory.

What came with a model (a chat template, a tokenizer) may loop for ever or take all memory, and a library in Rust that
finds no memory ends its process.

Argument: the script. Standard input: JSON, what `answer` takes, with `seconds` and `bytes`. Standard output: JSON,
`{"answer": ...}` or `{"error": "..."}`.
"""

from __future__ import annotations

import importlib.util
import json
import sys
from contextlib import suppress
from typing import Any


def limit(seconds: int, most_bytes: int) -> None:
    """Let the system end this process beyond these limits, where it can (Windows cannot)."""
    with suppress(ImportError):
        import resource

        resource.setrlimit(resource.RLIMIT_CPU, (seconds, seconds))
        resource.setrlimit(resource.RLIMIT_AS, (most_bytes, most_bytes))
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def run(script: str, task: dict[str, Any]) -> dict[str, Any]:
    limit(task["seconds"], task["bytes"])
    spec = importlib.util.spec_from_file_location("task", script)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
        return {"answer": module.answer(task)}
    except MemoryError:
        return {"error": "it takes too much memory"}
    except BaseException as error:  # whatever it comes to, a panic of Rust among it
        return {"error": f"{type(error).__name__}: {error}"[:200]}


if __name__ == "__main__":
    result = json.dumps(run(sys.argv[1], json.loads(sys.stdin.buffer.read())))
    sys.stdout.buffer.write(result.encode())
