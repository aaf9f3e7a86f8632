"""How much memory this process takes."""

from __future__ import annotations

import gc
from pathlib import Path

from wanda_core.machine import give_back


def resident(what: str = "VmRSS") -> int:
    """Bytes in memory; of `VmHWM` the most since `forget_peak`."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(1024 * int(line.split()[1]) for line in lines if line.startswith(what))


def forget_peak() -> None:
    gc.collect()
    give_back()
    Path("/proc/self/clear_refs").write_text("5")
