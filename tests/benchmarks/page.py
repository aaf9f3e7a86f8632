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
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
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
BUILD = """
from app import VIEWS
from components import lab
from components.workspace.defaults import offered_sources
lab.build(offered_sources([]), VIEWS)
"""
HELLO = """
import sys
import gradio
with gradio.Blocks() as page:
    gradio.Markdown("hello")
page.launch(server_port=int(sys.argv[1]), quiet=True)
"""
WRITTEN_DOWN = """() => new Promise(done => {
  const entries = {};
  for (const type of ["longtask", "largest-contentful-paint"])
    new PerformanceObserver(list => entries[type] = list.getEntries()).observe({type, buffered: true});
  setTimeout(() => done({
    paints: entries["largest-contentful-paint"].map(paint => paint.startTime),
    worked: Math.max(0, ...(entries.longtask ?? []).map(task => task.startTime + task.duration)),
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
    """What building the page imports, and how long each package takes by itself."""
    begin = perf_counter()
    run = subprocess.run(
        [sys.executable, "-X", "importtime", "-c", BUILD],
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
    print(f"building the page: {total:.1f} s with the interpreter; by package, without what it imports:")
    for package, spent in sorted(own.items(), key=lambda item: -item[1])[:8]:
        print(f"  {package:<14}{spent / 1e6:6.2f} s")
    late = [package for package in PACKAGES if package not in own]
    print(f"  not imported before the first screen: {', '.join(late) or 'none of those watched'}")


def screen(address: str) -> None:
    """Opening the page as a visitor does, and the default run from the click, in Chromium."""
    with hello() as bare:
        opened_alone(address)  # the server's first visitor: it compresses what it keeps
        times = [(opened_alone(address), opened_alone(bare)) for _ in range(5)]
    named = {"panel painted": [lab[0] for lab, _ in times], "verdict painted": [lab[1] for lab, _ in times]}
    named |= {
        "charts drawn": [lab[2] for lab, _ in times],
        "a page of one word": [bare[1] for _, bare in times],
    }
    for what, each in named.items():
        print(f"{what}: {', '.join(f'{t:.2f}' for t in each)} s, median {median(each):.2f} s after opening")
    with browser() as chromium:
        visit = Visit(chromium, address)
        begin = perf_counter()
        visit.run()
        visit.wait_for("Done in", seconds=120)
        print(f"default run: {perf_counter() - begin:.1f} s from the click")
        assert not visit.faults, visit.faults


@contextmanager
def hello() -> Iterator[str]:
    """The floor: a page of Gradio's with one word."""
    port = free_port()
    process = subprocess.Popen(
        [sys.executable, "-c", HELLO, str(port)], env={**os.environ, "GRADIO_ANALYTICS_ENABLED": "False"}
    )
    try:
        sleep(6)
        yield f"http://127.0.0.1:{port}"
    finally:
        process.kill()
        process.wait(10)


def opened_alone(address: str) -> tuple[float, float, float]:
    """Seconds until the panel is painted, until the verdict is, and until the browser has nothing to do, all charts
    drawn, in a browser that nothing inspects and that has kept no file.

    An inspector that is attached from the start makes Chromium read Plotly's script several times over, 0.6 s that no
    visitor waits for; so it is attached afterwards and asks for what the browser itself has written down. The first
    large paint is of Gradio's mark while scripts load, the second of the panel, the largest of the verdict.
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
    paints = found["paints"]
    return paints[min(1, len(paints) - 1)] / 1000, paints[-1] / 1000, found["worked"] / 1000


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
