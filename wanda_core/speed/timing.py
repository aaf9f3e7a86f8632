"""Timed calls as rows: interleaved rounds, medians with quartiles, ratios to dense."""

from __future__ import annotations

import csv
import io
import json
import statistics
import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from time import perf_counter
from typing import Any

import torch

from wanda_core.atomic_write import write_whole
from wanda_core.errors import check_stop


def save_json(file: Path, measured_by: Row, rows: Sequence[Row]) -> None:
    """Write `{"protocol", "rows"}`."""
    write_whole(
        file, json.dumps({"protocol": measured_by, "rows": list(rows)}, indent=1, allow_nan=False) + "\n"
    )


def save_csv(file: Path, rows: Sequence[Row]) -> None:
    """Write the rows as CSV with a header line."""
    text = io.StringIO()
    writer = csv.DictWriter(text, COLUMNS, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    write_whole(file, text.getvalue())


COLUMNS = (
    "part",
    "shape",
    "layers",
    "tokens",
    "kernel",
    "milliseconds",
    "low",
    "high",
    "tokens_per_second",
    "times_dense",
    "times_own_dense",
    "bytes",
    "bound",
    "gigabytes_per_second",
    "gigaflops_per_second",
    "error",
)
"""`part`: `layer`, `prefill` or `decode`. `shape`: OUTxIN of a layer. `layers`: how many of that shape the model has.
`milliseconds`: median of a call (`layer`), of all of a prompt (`prefill`), of one token (`decode`); `low` and `high`:
its quartiles. `times_dense`: how many times as fast as torch's dense product; `times_own_dense`: as a dense kernel of
the same build as the packed ones. `bytes`: of the weights that are read; `bound`: how many times as fast as dense it
would be, were reading them all there is to it. `gigabytes_per_second`: of the weights read; `gigaflops_per_second`: of
the dense product's multiplications and additions, of which 2:4 leaves out half; see `peaks` for the most there is."""


Row = dict[str, Any]


OnProgress = Callable[[float, str], None]

GRAPH = ", graph"
"""At the end of a kernel's name: its calls are replayed as one CUDA graph."""
ROUNDS = 15


SECONDS = 1.5
"""Of measuring one shape at one number of tokens; three rounds at least."""


def interleaved(
    calls: Mapping[str, Callable[[], Any]], device: torch.device, stop: threading.Event | None
) -> dict[str, list[float]]:
    """Seconds of every call in every round, after one round that does not count."""
    times: dict[str, list[float]] = {name: [] for name in calls}
    began = perf_counter()
    for index in range(ROUNDS + 1):
        for name, call in calls.items():
            check_stop(stop)
            spent = seconds_of(call, device)
            if index:
                times[name].append(spent)
        if index >= 3 and perf_counter() - began > SECONDS:
            break
    return times


def seconds_of(call: Callable[[], Any], device: torch.device) -> float:
    """Time of one call; on CUDA between two events on the device."""
    if device.type != "cuda":
        start = perf_counter()
        call()
        return perf_counter() - start
    began, ended = (torch.cuda.Event(enable_timing=True) for _ in range(2))
    stream = torch.cuda.current_stream(device)
    torch.cuda.synchronize(device)
    began.record(stream)
    call()
    ended.record(stream)
    ended.synchronize()
    return began.elapsed_time(ended) / 1000


def graphed(call: Callable[[], Any], device: torch.device) -> Callable[[], Any]:
    """The same work as one CUDA graph: what it takes on the device, without the Python and the launches of each call.

    Raises:
        RuntimeError: the work cannot be captured.
    """
    with torch.cuda.device(device):
        here, aside = torch.cuda.current_stream(device), torch.cuda.Stream(device)
        aside.wait_stream(here)
        with torch.cuda.stream(aside):
            call()  # what is set up in a first call cannot be captured
        here.wait_stream(aside)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            call()
    return graph.replay


def new_row(**known: Any) -> Row:
    return dict.fromkeys(COLUMNS) | known


def timing(seconds: Sequence[float], tokens: int) -> Row:
    low, median, high = statistics.quantiles(seconds, n=4, method="inclusive")
    return {
        "milliseconds": 1000 * median,
        "low": 1000 * low,
        "high": 1000 * high,
        "tokens_per_second": tokens / median,
    }


def fill_in_ratios(rows: list[Row]) -> None:
    """Fill in how many times as fast as dense each row is; the dense one is first. A graph's is to the dense graph."""
    own = next((row for row in rows if row["kernel"] == "dense numba"), None)
    dense = {row["kernel"]: row.get("milliseconds") for row in rows}
    for row in rows:
        if row.get("milliseconds") is None:
            continue
        base = dense.get("dense" + GRAPH * row["kernel"].endswith(GRAPH))
        row["times_dense"] = base and base / row["milliseconds"]
        if own is not None and own.get("milliseconds") is not None:
            row["times_own_dense"] = own["milliseconds"] / row["milliseconds"]
