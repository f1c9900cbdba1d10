"""What a test sees of the labelling page, and does there as a reader would.

The page says by `aria-busy` whether a part of it is not yet what it will be in a moment; tests look when it is.
"""

import json
import time
from pathlib import Path

from wsss_mm.labelling.journal import Answer, Place, read_journals
from wsss_mm.vocabulary import get_vocabulary

DESK, TABLET = (1280, 720), (820, 1180)
PATIENCE = 60_000  # ms
CODES = get_vocabulary("luad_normal").codes
SAVED = "document.getElementById('saved').textContent === '✓ Saved'"


def until(page, expression):
    """Wait for an expression of the page to be true; gives its value.

    The page itself looks: its policy evaluates no text, and so does not let Playwright wait.
    """
    found = page.evaluate(f"""() => new Promise((resolve) => {{
      const end = performance.now() + {PATIENCE};
      const look = async () => {{
        const value = await ({expression});
        if (value || performance.now() > end) resolve(value);
        else setTimeout(look, 10);
      }};
      look();
    }})""")
    assert found, expression
    return found


def waiting(page, is_there):
    """Wait for something that the test itself notes of the page."""
    end = time.monotonic() + PATIENCE / 1000
    while not is_there():
        assert time.monotonic() < end
        page.wait_for_timeout(5)  # Playwright tells of events meanwhile


def settled(page, part="stage"):
    """Wait until a part of the page, by its id, is what it will be."""
    until(page, f"document.getElementById('{part}').getAttribute('aria-busy') === 'false'")


def on_screen(page):
    """Wait until keys are of the patch that is painted; gives its name, None where there is nothing left."""
    stage = "document.getElementById('stage')"
    return until(page, f"{stage}.getAttribute('aria-busy') === 'false' && [{stage}.dataset.patch ?? null]")[0]


def loaded_ahead(page, count):
    """Wait until the next patches are in the browser, so that it can go on without the server."""
    until(page, f"Number(document.getElementById('stage').dataset.ahead) >= {count}")


def saved(page):
    """Wait until the server has said that all is on disk."""
    until(page, SAVED)


def toast(page, text):
    """Wait until the page says something in passing."""
    until(page, f"document.getElementById('toast').textContent.startsWith({json.dumps(text)})")


def truth(patch_id):
    """Which classes a made-up patch holds: one or two of them, by its name."""
    number = sum(map(ord, patch_id))
    return {CODES[number % 3], CODES[(number // 3) % 3]}


def label(page, count):
    """Answer so many patches from the truth, by keyboard alone; gives their names."""
    said = []
    for _ in range(count):
        name = on_screen(page)
        for code in sorted(truth(name)):
            page.keyboard.press(str(CODES.index(code) + 1))
        page.keyboard.press("Enter")
        said.append(name)
    return said


def answers(folder: Path, reader: str = "ann") -> dict[Place, Answer]:
    """What counts of a reader's journal, by place."""
    return {answer.place: answer for answer in read_journals(folder).answers(reader)}


def entries(folder: Path, reader: str = "ann") -> list[dict]:
    """The lines of a journal, without its first; none where there is no journal yet."""
    path = folder / f"{reader}.jsonl"
    lines = path.read_text().splitlines() if path.exists() else []
    return [entry for entry in map(json.loads, lines) if "kind" in entry]


def name_of(entry: dict) -> str:
    """The name of the patch that an entry is about."""
    return f"{entry['slide']}-{entry['x']}-{entry['y']}"


def intercept(page, pattern, handle):
    """Route requests, and see that none slips past: Chromium lets some through for a moment after `route` returns."""
    page.route(pattern, handle)
    heard = []
    page.route("**/icon.svg?intercepted", lambda route: (heard.append(route), route.fulfill(status=204)))
    while not heard:
        page.evaluate("fetch('./static/icon.svg?intercepted').then(() => null)")
    page.unroute("**/icon.svg?intercepted")


def without_connection(page):
    """Cut the browser off, and see that it is: for a moment after Playwright says so, requests still arrive."""
    page.context.set_offline(True)
    until(page, "fetch('./static/icon.svg', { cache: 'no-store' }).then(() => false, () => true)")


class Failing:
    """Requests that the server fails at (500) until a test lets them through; the page's pauses are short meanwhile.

    Every so many-th request of `lost` finds no server at all.
    """

    def __init__(self, page, pattern, lost=0):
        self._page, self._pattern, self._lost, self.count = page, pattern, lost, 0
        page.evaluate(
            "() => { const wait = setTimeout; window.setTimeout = (act, ms) => wait(act, Math.min(ms, 20)); }"
        )
        intercept(page, pattern, self._fail)

    def _fail(self, route):
        self.count += 1
        if self._lost and self.count % self._lost == 0:
            route.abort()
        else:
            route.fulfill(status=500, json={"error": "internal server error"})

    def stopped(self, count):
        """Whether so many came, and no other within many pauses."""
        self._page.wait_for_timeout(600)
        return self.count == count

    def end(self):
        """Fail no more."""
        self._page.unroute(self._pattern)


class Held:
    """Requests whose answers wait until a test lets them go."""

    def __init__(self, page, pattern):
        self._page, self._routes, self._is_open = page, [], False
        intercept(page, pattern, lambda route: route.continue_() if self._is_open else self._routes.append(route))

    def wait(self, count=1):
        """Wait until so many are held."""
        waiting(self._page, lambda: len(self._routes) >= count)

    def release(self):
        """Let all go, and hold no more."""
        self._is_open = True
        for route in self._routes:
            route.continue_()
        self._routes = []


class Early:
    """A key that is pressed now and reaches the page later, as where the page is busy in between."""

    def __init__(self, page, key, code=None):
        self._page = page
        page.evaluate(
            "([key, code]) => { window.early = new KeyboardEvent('keydown', {key, code, bubbles: true}); }",
            [key, code or f"Key{key.upper()}"],
        )

    def arrive(self):
        """The page hears of it."""
        self._page.evaluate("() => { document.body.dispatchEvent(window.early); }")
