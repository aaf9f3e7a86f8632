"""How the page answers while many visitors follow one run.

    python tests/benchmarks/watchers.py [--watchers 30] [--model pocket] [--button run] [--app app.py]

Every watcher presses the same button as a browser would, through the queue, and reads what is sent until the run is
over. Meanwhile `/config` is asked for every 50 ms, and its 50th and 95th percentile and maximum are printed, with the
bytes that were sent to the watchers. Without watchers first, for comparison.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import threading
import time
import uuid
from typing import Any

import httpx

from tests.support.server import free_port, wait_for


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--watchers", type=int, default=30)
    parser.add_argument("--model", default="pocket")
    parser.add_argument("--button", default="run", help="elem_id of the button to press")
    parser.add_argument("--app", default="app.py")
    options = parser.parse_args()
    port = free_port()
    address = f"http://127.0.0.1:{port}"
    process = subprocess.Popen([sys.executable, options.app, "--port", str(port)])
    try:
        wait_for(address, process)
        config = httpx.get(f"{address}/config", timeout=60).json()
        call = click_of(config, options.button, options.model)
        time.sleep(15)  # until the model is loaded that is loaded before anybody asks
        print(f"idle: {percentiles(asked(address, lambda spent: spent > 5))}")
        sent: list[int] = []
        threads = [
            threading.Thread(target=watch, args=(address, call, sent)) for _ in range(options.watchers)
        ]
        began = time.perf_counter()
        for thread in threads:
            thread.start()
        times = asked(address, lambda _: not any(thread.is_alive() for thread in threads))
        spent = time.perf_counter() - began
        print(
            f"{options.watchers} watchers, run of {spent:.1f} s: {percentiles(times)}; "
            f"{sum(sent) / 1e6:.1f} MB sent in {len(sent)} messages"
        )
    finally:
        process.terminate()
        process.wait(20)


def click_of(config: dict[str, Any], button: str, model: str) -> dict[str, Any]:
    """What a browser sends when the button is pressed on a fresh page on which only the model was chosen."""
    components = {component["id"]: component for component in config["components"]}
    (pressed,) = (c["id"] for c in config["components"] if c["props"].get("elem_id") == button)
    call = next(
        d
        for d in config["dependencies"]
        if [pressed, "click"] in d["targets"] and d["backend_fn"] and d["inputs"]
    )
    chosen = {"model": model}
    texts = {"calibration": "stories", "evaluation": "stories"} if model == "pocket" else {}
    data = []
    for component in call["inputs"]:
        props = components[component]["props"]
        data.append((chosen | texts).get(props.get("elem_id"), props.get("value")))
    return {"fn_index": call["id"], "data": data}


def watch(address: str, call: dict[str, Any], sent: list[int]) -> None:
    """Press the button and read until the run is over."""
    session = uuid.uuid4().hex[:12]
    body = call | {"session_hash": session}
    httpx.post(f"{address}/gradio_api/queue/join", json=body, timeout=600).raise_for_status()
    stream = f"{address}/gradio_api/queue/data?session_hash={session}"
    with httpx.stream("GET", stream, timeout=600) as lines:
        for line in lines.iter_lines():
            if line.startswith("data:"):
                sent.append(len(line))
                if json.loads(line[5:]).get("msg") in ("process_completed", "close_stream"):
                    return


def asked(address: str, over: Any) -> list[float]:
    """Seconds that `/config` took, asked for until it is over."""
    times: list[float] = []
    began = time.perf_counter()
    with httpx.Client(timeout=600) as client:
        while not over(time.perf_counter() - began):
            start = time.perf_counter()
            client.get(f"{address}/config").raise_for_status()
            times.append(time.perf_counter() - start)
            time.sleep(max(0.0, 0.05 - times[-1]))
    return times


def percentiles(times: list[float]) -> str:
    cuts = statistics.quantiles(times, n=20)
    return (
        f"/config p50 {1000 * statistics.median(times):.0f} ms, p95 {1000 * cuts[18]:.0f} ms, "
        f"max {1000 * max(times):.0f} ms ({len(times)} requests)"
    )


if __name__ == "__main__":
    main()
