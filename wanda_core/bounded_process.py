"""What came with a model, run in a process of its own: bounded in time and memory, and without anybody's token."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

KEPT = ("PATH", "PYTHONPATH", "LD_LIBRARY_PATH", "SYSTEMROOT", "HOME", "LANG")
"""What of the environment the process sees: no token of anybody."""


class Failed(Exception):
    """There is no answer; the message says why."""


def in_child(script: Path, task: dict[str, Any], *, seconds: int, most_bytes: int) -> Any:
    """What `answer` of a script gives, which imports nothing of this package.

    Args:
        task: what it takes, as JSON.
        seconds: of computing.
        most_bytes: of address space.

    Raises:
        Failed: it takes longer, or more memory, or ends in an error.
    """
    command = [sys.executable, "-P", str(Path(__file__).with_name("bounded_child.py")), str(script)]
    environment = {name: os.environ[name] for name in KEPT if name in os.environ}
    try:
        ran = subprocess.run(
            command,
            input=json.dumps(task | {"seconds": seconds, "bytes": most_bytes}).encode(),
            capture_output=True,
            timeout=3 * seconds,  # of the clock: a busy machine gives a process less than its own seconds
            env=environment | {"TOKENIZERS_PARALLELISM": "false"},
            check=False,
        )
        found = json.loads(ran.stdout)
    except subprocess.TimeoutExpired:
        raise Failed(f"it does not end within {seconds} s") from None
    except OSError as error:
        raise Failed(f"no process for it can be started ({error})") from error
    except ValueError:
        endless = -ran.returncode in (9, 24)
        said = f"it does not end within {seconds} s" if endless else "it takes too much memory"
        raise Failed(said) from None
    if "error" in found:
        raise Failed(" ".join(found["error"].split()))
    return found["answer"]
