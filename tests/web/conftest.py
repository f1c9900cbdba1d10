"""A browser for each process that tests pages."""

import asyncio
import shutil
from contextlib import contextmanager

import pytest

from tests.web.label.screen import DESK, PATIENCE

BROWSERS = ("chromium-headless-shell", "chromium", "chromium-browser", "google-chrome")
"""The first is Debian's Chromium without tabs and windows of its own: the same pages for half the CPU."""


def browser_path() -> str:
    """A Chromium of this machine; the test is skipped where there is none."""
    path = next(filter(None, map(shutil.which, BROWSERS)), None)
    return path or pytest.skip("no chromium on this machine")


@pytest.fixture(scope="session")
def chromium():
    """The browser, and the loop of its driver, which other tests of this process must not take for theirs."""
    path = browser_path()
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=path, args=["--no-sandbox"])
        loop = asyncio.get_running_loop()
        asyncio._set_running_loop(None)
        yield browser, loop
        asyncio._set_running_loop(loop)
        browser.close()


@contextmanager
def watched(chromium):
    """Gives what opens empty pages, each in a profile of its own; what they complain of fails the test."""
    browser, loop = chromium
    contexts, said = [], []

    def start(size=DESK, scheme="light", **options):
        context = browser.new_context(
            viewport={"width": size[0], "height": size[1]}, color_scheme=scheme, reduced_motion="reduce", **options
        )
        contexts.append(context)
        context.set_default_timeout(PATIENCE)
        page = context.new_page()
        page.on("pageerror", lambda error: said.append(str(error)))
        page.on("console", lambda line: said.append(line.text) if "Content Security" in line.text else None)
        return page

    asyncio._set_running_loop(loop)
    try:
        yield start
        for context in contexts:
            context.close()
    finally:
        asyncio._set_running_loop(None)
    assert said == []
