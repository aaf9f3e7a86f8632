"""How long a visitor waits, and what the server holds: start, first screen, default run, twenty clients at once.

    python tests/benchmarks/page.py [--starts 3]

The server has no network. Memory is the resident set of its process.
"""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from statistics import median
from time import perf_counter, sleep

sys.path.insert(0, str(Path(__file__).parents[2]))

from playwright.sync_api import sync_playwright

from tests.support.page import Visit, browser, chromium_path
from tests.support.requests import SMALL, result
from tests.support.server import OFFLINE, ROOT, free_port, served, server_memory

PACKAGES = ("gradio", "plotly", "wanda_core", "components", "torch", "transformers", "datasets", "pandas")
CLIENTS = 20
WRITTEN_DOWN = """() => new Promise(done => {
  const entries = {};
  for (const type of ["longtask", "largest-contentful-paint"])
    new PerformanceObserver(list => entries[type] = list.getEntries()).observe({type, buffered: true});
  setTimeout(() => done({
    painted: entries["largest-contentful-paint"].at(-1).startTime,
    tasks: entries.longtask.map(task => [task.startTime, task.duration]),
    arrived: performance.getEntriesByType("resource").find(each => each.name.includes("PlotlyPlot")).responseEnd,
    charts: document.querySelectorAll(".js-plotly-plot .main-svg").length,
  }), 500);
})"""


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--starts", type=int, default=3)
    options = parser.parse_args()
    imports()
    times = []
    for _ in range(options.starts):
        begin = perf_counter()
        with served():
            times.append(perf_counter() - begin)
    print(f"start to first answer: {', '.join(f'{t:.1f}' for t in times)} s, median {median(times):.1f} s")
    with served() as address:
        screen(address)
        memory(address)


def imports() -> None:
    """What importing the app loads, and how long each package takes by itself."""
    begin = perf_counter()
    run = subprocess.run(
        [sys.executable, "-X", "importtime", "-c", "import app"],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(OFFLINE)},
        capture_output=True,
        text=True,
        check=True,
    )
    total = perf_counter() - begin
    own: dict[str, int] = {}
    for line in run.stderr.splitlines():
        if found := re.fullmatch(r"import time:\s+(\d+) \|\s+\d+ \|\s+([\w.]+)", line):
            package = found[2].split(".")[0]
            own[package] = own.get(package, 0) + int(found[1])
    print(f"importing the app: {total:.1f} s with the interpreter; by package, without what it imports:")
    for package, spent in sorted(own.items(), key=lambda item: -item[1])[:8]:
        print(f"  {package:<14}{spent / 1e6:6.2f} s")
    late = [package for package in PACKAGES if package not in own]
    print(f"  not imported before the first screen: {', '.join(late) or 'none of those watched'}")


def screen(address: str) -> None:
    """Opening the page as a visitor does, and the default run from the click, in Chromium."""
    painted, drawn = zip(*(opened_alone(address) for _ in range(5)), strict=True)
    for what, times in {"verdict painted": painted, "charts drawn": drawn}.items():
        print(f"{what}: {', '.join(f'{t:.2f}' for t in times)} s, median {median(times):.2f} s after opening")
    with browser() as chromium:
        visit = Visit(chromium, address)
        begin = perf_counter()
        visit.run()
        visit.wait_for("Done in", seconds=120)
        print(f"default run: {perf_counter() - begin:.1f} s from the click")
        assert not visit.faults, visit.faults


def opened_alone(address: str) -> tuple[float, float]:
    """Seconds until the verdict is painted, and until the charts are drawn, in a browser that nothing inspects.

    An inspector that is attached from the start makes Chromium read Plotly's script several times over, 0.6 s that no
    visitor waits for; so it is attached afterwards and asks for what the browser itself has written down. Plotly's
    script is evaluated and the charts are drawn in the long tasks that follow its arrival.
    """
    port = free_port()
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile, sync_playwright() as playwright:
        command = [
            chromium_path(),
            "--headless=new",
            "--no-sandbox",
            "--disable-gpu",
            "--window-size=1280,900",
        ]
        command += [f"--remote-debugging-port={port}", f"--user-data-dir={profile}", address]
        process = subprocess.Popen(command, stderr=subprocess.DEVNULL)
        try:
            sleep(6)
            inspected = playwright.chromium.connect_over_cdp(f"http://127.0.0.1:{port}")
            pages = [page for context in inspected.contexts for page in context.pages]
            found = next(page for page in pages if page.url.startswith(address)).evaluate(WRITTEN_DOWN)
            inspected.close()
        finally:
            process.kill()
            process.wait(10)
    drawn = found["arrived"]
    for start, duration in found["tasks"]:
        if found["arrived"] - 100 <= start <= drawn + 300:
            drawn = start + duration
    assert found["charts"], "no chart was drawn"
    return found["painted"] / 1000, drawn / 1000


def memory(address: str) -> None:
    """Twenty clients with five settings between them."""

    def ask(client: int) -> None:
        result(address, "measure", **SMALL, methods=["wanda"], amounts=[str(40 + 10 * (client % 5))])

    ask(0)  # what is loaded once
    before = server_memory(address)
    begin = perf_counter()
    with ThreadPoolExecutor(CLIENTS) as pool:
        waiting = [pool.submit(ask, client) for client in range(CLIENTS)]
        highest = before
        while not all(each.done() for each in waiting):
            highest = max(highest, server_memory(address))
            sleep(0.05)
        for each in waiting:
            each.result()
    took = perf_counter() - begin
    sleep(2)
    after = server_memory(address)
    print(
        f"{CLIENTS} clients in {took:.1f} s; memory {before / 1e6:.0f} MB before, {highest / 1e6:.0f} MB at most, "
        f"{after / 1e6:.0f} MB afterwards"
    )


if __name__ == "__main__":
    main()
