"""A model of 1.1B parameters, stored in bfloat16, pruned, measured and exported from its file; and in memory.

    python tests/benchmarks/streaming.py [--folder /tmp] [--methods wanda,sparsegpt]

The random Llama (2.2 GB) is made in the folder, which must be on a disk, and deleted afterwards; so are the exports.
Each run is a process of its own: `cold` starts with the file dropped from the page cache and takes the memory for
1.2 GB, as in a container of that size (free memory is counted so; the kernel does not enforce it); `streamed` and
`memory` (float32, no limit) start with the file in the cache, and their times are compared. Anonymous memory is that of
the whole process, libraries too; the file's pages, which the kernel takes back when it needs them, are not in it.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from time import perf_counter
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[2]))

import torch
from torch import Tensor
from transformers import LlamaConfig, LlamaForCausalLM

from tests.support.models import byte_tokenizer
from wanda_core import Recipe, Refused, load, machine, perplexity
from wanda_core.export.folder import save_pruned
from wanda_core.pruning.memory_needed import walk_bytes
from wanda_core.pruning.prune_model import prune

LIMIT = 1_200_000_000
"""Bytes of memory that a cold run takes itself to have."""

MICRO_BATCH, SAMPLES, LENGTH = 1, 4, 64
RECIPES = {"wanda": Recipe(sparsity=0.5), "sparsegpt": Recipe(method="sparsegpt", pattern="2:4")}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--folder", type=Path, default=Path(tempfile.gettempdir()))
    parser.add_argument("--methods", default="wanda,sparsegpt")
    parser.add_argument("--run", nargs=3, metavar=("HOW", "METHOD", "MODEL"))
    options = parser.parse_args()
    if options.run:
        how, method, model = options.run
        try:
            print(json.dumps(run(how, method, Path(model))))
        except Refused as error:
            print(json.dumps({"phases": {}, "refused": str(error)}))
        return
    print(f"{torch.get_num_threads()} threads, load of the machine before {os.getloadavg()[0]:.1f}")
    with tempfile.TemporaryDirectory(dir=options.folder) as folder:
        model = Path(folder) / "model"
        make(model)
        stored = sum(file.stat().st_size for file in model.glob("*.safetensors"))
        print(f"{stored / 1e9:.2f} GB on disk; {SAMPLES} x {LENGTH} tokens, 8 windows of {LENGTH}\n")
        print(f"{'':>30}{'seconds':>9}{'peak GB':>9}{'foretold':>9}{'read GB':>9}")
        for method in options.methods.split(","):
            rows = {how: told(how, method, model) for how in ("cold", "streamed", "memory")}
            same = len({row["digest"] for row in rows.values() if "digest" in row}) == 1
            spent = {how: sum(x["seconds"] for x in row["phases"].values()) for how, row in rows.items()}
            print(
                f"{method}: masks, values and perplexity {'the same' if same else 'DIFFER'}; "
                f"streamed takes {spent['streamed'] / spent['memory']:.2f} times as long\n",
                flush=True,
            )


def told(how: str, method: str, model: Path) -> dict[str, Any]:
    row = child(how, method, model)
    if "refused" in row:
        print(f"{method:>10}{how:>9} refused: {row['refused']}", flush=True)
    for phase, figures in row["phases"].items():
        foretold = f"{figures['foretold'] / 1e9:.2f}" if "foretold" in figures else ""
        print(
            f"{method:>10}{how:>9} {phase:<10}{figures['seconds']:9.1f}{figures['peak'] / 1e9:9.2f}"
            f"{foretold:>9}{figures['read'] / 1e9:9.2f}",
            flush=True,
        )
    return row


def make(folder: Path) -> None:
    config = LlamaConfig(
        vocab_size=32000,
        hidden_size=2048,
        intermediate_size=5632,
        num_hidden_layers=22,
        num_attention_heads=32,
        num_key_value_heads=4,
        max_position_embeddings=2048,
        dtype=torch.bfloat16,
    )
    torch.manual_seed(0)
    torch.set_default_dtype(torch.bfloat16)
    LlamaForCausalLM(config).save_pretrained(folder)
    torch.set_default_dtype(torch.float32)
    byte_tokenizer().save_pretrained(folder)


def child(how: str, method: str, model: Path) -> dict[str, Any]:
    for file in model.glob("*.safetensors"):
        with file.open("rb") as stream:
            if how == "cold":
                os.fsync(stream.fileno())
                os.posix_fadvise(stream.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
            else:
                while stream.read(2**24):
                    pass
    command = [sys.executable, __file__, "--run", how, method, str(model)]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def run(how: str, method: str, folder: Path) -> dict[str, Any]:
    """All phases in this process."""
    generator = torch.Generator().manual_seed(0)
    tokens = torch.randint(32000, (SAMPLES, LENGTH), generator=generator)
    windows = torch.randint(32000, (8, LENGTH), generator=generator)
    phases: dict[str, dict[str, float]] = {}
    with _Watched(LIMIT if how == "cold" else None) as watched:
        with watched.phase(phases, "load"):
            model = load(str(folder), dtype="float32", stream=how != "memory")
        assert (model.prunable.stream is None) == (how == "memory")
        recipe = RECIPES[method]
        gram = method == "sparsegpt"
        foretold = watched.now() + walk_bytes(
            model.prunable, SAMPLES, LENGTH, MICRO_BATCH, recipe.schedule, gram
        )
        with watched.phase(phases, "prune"):
            pruning = prune(model.prunable, tokens, recipe, micro_batch=MICRO_BATCH)
        phases["prune"]["foretold"] = foretold + pruning.nbytes
        with watched.phase(phases, "evaluate"), pruning.applied(model.prunable):
            measured = perplexity(model.network, windows)
        out = folder.parent / "out"
        with watched.phase(phases, "export"):
            save_pruned(model, pruning, tokens, {"text": "random"}, out)
        shutil.rmtree(out)
    digest = hashlib.sha256(repr(measured.window_losses).encode())
    for layer in model.prunable.layers:
        digest.update(pruning.masks[layer.name].bits.tobytes())
        if layer.name in pruning.changed:
            digest.update(_bytes(pruning.changed.get(layer.name)))
    return {"phases": phases, "digest": digest.hexdigest()}


def _bytes(values: Tensor) -> memoryview:
    return memoryview(values.contiguous().numpy()).cast("B")


class _Watched:
    """Watches this process's anonymous memory; and lets free memory be counted within a limit."""

    def __init__(self, limit: int | None) -> None:
        self._limit = limit
        self._peak = 0
        self._over = threading.Event()

    def __enter__(self) -> _Watched:
        if self._limit is not None:
            self._group = Path(tempfile.mkdtemp())
            (self._group / "memory.max").write_text(str(self._limit))
            (self._group / "memory.stat").write_text("inactive_file 0\n")
            self._current = (self._group / "memory.current").open("w+")
            machine.CGROUP = self._group
        self._look()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()
        if self._limit is not None:
            shutil.rmtree(self._group)

    def now(self) -> int:
        lines = Path("/proc/self/status").read_text().splitlines()
        return next(1024 * int(line.split()[1]) for line in lines if line.startswith("RssAnon"))

    def _look(self) -> None:
        anonymous = self.now()
        self._peak = max(self._peak, anonymous)
        if self._limit is not None:
            self._current.seek(0)
            self._current.write(f"{anonymous:<20}")
            self._current.flush()

    def _watch(self) -> None:
        while not self._over.wait(0.005):
            self._look()

    @contextmanager
    def phase(self, phases: dict[str, dict[str, float]], name: str) -> Iterator[None]:
        self._peak, read, start = self.now(), _read(), perf_counter()
        yield
        phases[name] = {"seconds": perf_counter() - start, "peak": self._peak, "read": _read() - read}


def _read() -> int:
    """Bytes that this process has had read from disks."""
    lines = Path("/proc/self/io").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("read_bytes"))


if __name__ == "__main__":
    main()
