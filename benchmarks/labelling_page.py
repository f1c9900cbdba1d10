"""How quick the labelling page is with 50,000 candidates, in a real browser.

* From a key to the next patch on the screen, for a reader who answers every `--pace` seconds; beside it, the time that
  the same browser takes from a key to a change of one letter in an empty page, which no page can be quicker than.
* Frames while the sheet of all candidates scrolls, and what one costs in CPU time, which is what it would take on a
  machine that nobody else uses; beside it, that of an empty page that scrolls as far.
* Memory of the page (JavaScript's heap after a collection) after each fifth of the answers.

    python -m benchmarks.labelling_page
"""

import shutil
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from benchmarks.command import Missing, Option, run
from benchmarks.rows import FEWEST_RUNS, Measurement
from tests.web.label.project import make_project, running
from tests.web.label.screen import on_screen, saved, settled

OPTIONS = {
    "candidates": Option(50_000, 200, "of the project"),
    "answers": Option(100, 10, "that the reader gives"),
    "pace": Option(0.25, 0.1, "s that the reader looks at a patch"),
    "seconds": Option(5.0, 1.0, "of scrolling, each of the repeats"),
}
_EMPTY = """<!doctype html><title>Empty</title>
<div id="sheet" style="height: 600px; overflow: auto"><div style="height: 1000000px"></div></div><p id="said">a</p>"""
_KEY = """() => {
  window.took = [];
  document.addEventListener('keydown', (event) => {
    document.getElementById('said').textContent = event.key + window.took.length;
    requestAnimationFrame(() => {
      const channel = new MessageChannel();
      channel.port1.onmessage = () => window.took.push(performance.now() - event.timeStamp);
      channel.port2.postMessage(null);
    });
  });
}"""
_SCROLL = """(seconds) => new Promise((resolve) => {
  const sheet = document.getElementById('sheet');
  const frames = [];
  const begun = performance.now();
  const step = (now) => {
    frames.push(now);
    sheet.scrollTop += 60;
    if (performance.now() - begun < 1000 * seconds) requestAnimationFrame(step);
    else resolve(frames.slice(1).map((at, index) => at - frames[index]));
  };
  requestAnimationFrame(step);
})"""


def _heap(page: Any) -> float:
    """MiB that are in use after a collection."""
    session = page.context.new_cdp_session(page)
    session.send("HeapProfiler.collectGarbage")
    used = session.send("Runtime.getHeapUsage")["usedSize"]
    session.detach()
    return used / 2**20


def _scrolled(page: Any, seconds: float) -> tuple[npt.NDArray[Any], float]:
    """Times of frames, ms, and what each costs the page's thread in CPU time, ms."""
    session = page.context.new_cdp_session(page)
    session.send("Performance.enable", {"timeDomain": "threadTicks"})

    def cost() -> float:
        told = session.send("Performance.getMetrics")["metrics"]
        return {item["name"]: item["value"] for item in told}["TaskDuration"]

    before = cost()
    frames = np.array(page.evaluate(_SCROLL, seconds))
    spent = 1000 * (cost() - before) / len(frames)
    session.detach()
    return frames, spent


def _keys(page: Any, empty: Any, answers: int, pace: float) -> tuple[npt.NDArray[Any], npt.NDArray[Any], list[float]]:
    """Times of the page and of an empty one, ms, in turn; and the page's memory."""
    empty.evaluate(_KEY)
    heap = []
    for number in range(answers):
        on_screen(page)
        page.keyboard.press("1")
        time.sleep(pace)
        page.keyboard.press("Enter")
        empty.keyboard.press("a")
        if (number + 1) % (answers // FEWEST_RUNS) == 0:
            saved(page)
            heap.append(_heap(page))
    on_screen(page)
    took = page.evaluate("performance.getEntriesByName('wsss:key-to-patch').map((entry) => entry.duration)")
    return np.array(took), np.array(empty.evaluate("window.took")), heap


@contextmanager
def pages(candidates: int) -> Iterator[tuple[Any, Any]]:
    """The labelling page of a project, and an empty one, in a browser.

    Raises:
        Missing: there is no browser, or nothing that drives one.
    """
    try:
        from playwright.sync_api import sync_playwright
    except ImportError:
        raise Missing("no playwright in this environment; pip install playwright") from None
    found = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    if found is None:
        raise Missing("no chromium on this machine")
    with tempfile.TemporaryDirectory() as place, sync_playwright() as driver:
        make_project(Path(place), candidates=candidates)
        browser = driver.chromium.launch(executable_path=found, args=["--no-sandbox"])
        with running(Path(place), "--reader", "ann", "--no-features") as (_, port):
            page, empty = (browser.new_context(viewport={"width": 1280, "height": 720}).new_page() for _ in range(2))
            page.goto(f"http://127.0.0.1:{port}/")
            page.wait_for_selector("html[data-ready]")
            empty.set_content(_EMPTY)
            yield page, empty
        browser.close()


def measure(arguments) -> Iterator[Measurement]:
    with pages(arguments.candidates) as (page, empty):
        keys, bound, heap = _keys(page, empty, arguments.answers, arguments.pace)
        page.keyboard.press("t")
        settled(page, "sheet")
        scrolled = [[_scrolled(one, arguments.seconds) for one in (page, empty)] for _ in range(arguments.repeats)]
    of = f"{arguments.candidates:,} candidates"
    late = [float(np.percentile(part, 95)) for part in np.array_split(keys, FEWEST_RUNS)]
    yield Measurement(f"key to the next patch, {of}, wall", keys.tolist(), "ms", at_most=100)
    yield Measurement(f"key to the next patch, {of}, wall, 95 % of each fifth", late, "ms", at_most=250)
    count = min(len(keys), len(bound))
    own, over = keys[:count].tolist(), bound[:count].tolist()
    yield Measurement(f"key to the next patch, {of}, wall", own, "ms", over=over, over_what="a letter of an empty page")
    rates = [1000 / frames.mean() for (frames, _), _ in scrolled]
    yield Measurement(f"frames while the sheet scrolls, {of}", rates, "a second", at_least=30)
    (own, plain) = ([costs[index][1] for costs in scrolled] for index in (0, 1))
    yield Measurement(
        f"a frame while the sheet scrolls, {of}, CPU", own, "ms", over=plain, over_what="a frame of an empty page"
    )
    yield Measurement(
        f"memory after each fifth of {arguments.answers} answers", heap, "MiB",
        over=heap[:1] * len(heap), over_what="memory after the first",
    )  # fmt: skip


if __name__ == "__main__":
    sys.exit(run(measure, OPTIONS))
