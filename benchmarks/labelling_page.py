"""How quick the labelling page is with 50,000 candidates, in a real browser: rows of a table, medians and 95 %.

* From a key to the next patch on the screen, for a reader who answers every `--pace` seconds; beside it, the time that
  the same browser takes from a key to a change of one letter in an empty page, which no page can be quicker than.
* Time of a frame while the sheet of all candidates scrolls, and what it costs in CPU time, which is what it would take
  on a machine that nobody else uses; beside it, that of an empty page that scrolls as far.
* Memory of the page (JavaScript's heap after a collection) after the first tenth of the answers, and after all.

Targets: median below 100 ms, 95 % below 250 ms; 30 frames a second; memory flat.

    python -m benchmarks.labelling_page
"""

import argparse
import logging
import os
import shutil
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from tests.web.label.project import make_project, running
from tests.web.label.screen import on_screen, saved, settled

logger = logging.getLogger("benchmarks.labelling_page")

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
        if number + 1 in (max(answers // 10, 1), answers):
            saved(page)
            heap.append(_heap(page))
    on_screen(page)
    took = page.evaluate("performance.getEntriesByName('wsss:key-to-patch').map((entry) => entry.duration)")
    return np.array(took), np.array(empty.evaluate("window.took")), heap


def _row(what: str, own: npt.NDArray[Any], bound: npt.NDArray[Any]) -> str:
    middle, most = np.median(own), np.percentile(own, 95)
    return f"| {what} | {middle:.1f} | {most:.1f} | {np.median(bound):.1f} | {middle / np.median(bound):.2f} |"


def main() -> None:
    """Measure and print a table."""
    from playwright.sync_api import sync_playwright

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--candidates", type=int, default=50_000)
    parser.add_argument("--answers", type=int, default=100)
    parser.add_argument("--pace", type=float, default=0.25, help="s that the reader looks at a patch")
    parser.add_argument("--seconds", type=float, default=5.0, help="of scrolling")
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    found = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    if found is None:
        raise SystemExit("no chromium on this machine")
    before = os.getloadavg()[0]
    with tempfile.TemporaryDirectory() as place, sync_playwright() as driver:
        make_project(Path(place), candidates=arguments.candidates)
        browser = driver.chromium.launch(executable_path=found, args=["--no-sandbox"])
        with running(Path(place), "--reader", "ann", "--no-features") as (_, port):
            page, empty = (browser.new_context(viewport={"width": 1280, "height": 720}).new_page() for _ in range(2))
            page.goto(f"http://127.0.0.1:{port}/")
            page.wait_for_selector("html[data-ready]")
            empty.set_content(_EMPTY)
            keys, bound, heap = _keys(page, empty, arguments.answers, arguments.pace)
            page.keyboard.press("t")
            settled(page, "sheet")
            (frames, spent), (plain, least) = (_scrolled(one, arguments.seconds) for one in (page, empty))
            scrolled = _heap(page)
        browser.close()
    logger.info("%d candidates, load %.1f before and %.1f after", arguments.candidates, before, os.getloadavg()[0])
    logger.info("| | median, ms | 95 %%, ms | empty page, ms | ratio |\n|---|---|---|---|---|")
    logger.info(_row("key to next patch", keys, bound))
    logger.info(_row("frame while the sheet scrolls", frames, plain))
    logger.info("%.0f frames a second; an empty page %.0f", 1000 / frames.mean(), 1000 / plain.mean())
    logger.info("CPU time of a frame, ms: %.1f; of an empty page %.1f; 33 is all there is at 30 a second", spent, least)
    said = ("after a tenth of the answers", "after all", "after scrolling")
    logger.info(
        "memory, MiB: %s", ", ".join(f"{v:.1f} {text}" for text, v in zip(said, [*heap, scrolled], strict=True))
    )


if __name__ == "__main__":
    main()
