"""All pages in a real browser: readable in both themes, usable by keyboard, no wider than the window."""

import json
import shutil
from types import SimpleNamespace

import numpy as np
import pytest

from tests.web.conftest import watched
from tests.web.label import axe
from tests.web.label.screen import DESK, TABLET
from tests.wsi.viewer.marking import make_marking
from tests.wsi.viewer.serving import served
from wsss_mm.cli.rooms import application
from wsss_mm.cli.viewing import make_viewer
from wsss_mm.files import write_text
from wsss_mm.findings.document import Cell, Document, Facts, Gallery, Heading, PageTable, Shot, Signature, Text
from wsss_mm.findings.html import render_html
from wsss_mm.gates.page import write_page
from wsss_mm.places import COHORT_FINDINGS_PAGE
from wsss_mm.web import written
from wsss_mm.wsi.viewer.openseadragon import archive_path

pytestmark = pytest.mark.slow

RUN = "a" * 32
SHOT = Shot(np.full((40, 60, 3), 200, np.uint8), "A field", (200, 30, 30))
FINDINGS = (
    Text("Another stain than those of the training.", "alarm"),
    Facts([("Patient", "p1")]),
    Heading("Areas"),
    PageTable(
        ["Class", "mm²"],
        [[Cell("Tumour", (200, 30, 30)), Cell("1.2")], [Cell("s1", link="x.html"), Cell("-")]],
        [0.5, 0.5],
    ),
    Text("Of tissue alone.", "small"),
    Gallery([SHOT, SHOT], 2),
    Signature(),
)
PAGES = {
    "start": "/start/",
    "slides": "/view/",
    "slide": "/view/slides/s1/",
    "gates": "/gates/",
    "runs": "/runs/",
    "findings": "/findings/",
    "labelling": "/label/",
    "nothing": "/nothing/",
}


@pytest.fixture(scope="module")
def made(tmp_path_factory, project_root):
    """A project with something in every room but the reports of runs, and its application's port."""
    if not archive_path().is_file():
        pytest.skip("OpenSeadragon is not installed: make setup")
    folder = tmp_path_factory.mktemp("rooms")
    make_marking(folder, confidence=True)
    shutil.copytree(project_root / "tests/formats/v1/reports", folder / "reports")
    report = folder / "reports/gates/cohort.json"
    content = json.loads(report.read_text())
    content["checks"][0] |= {"passed": False, "unexpected": 1, "examples": ["site"], "remedy": "add the column"}
    content["passed"] = False
    report.write_text(json.dumps(content))
    write_page(folder)
    document = Document("Tissues on slide s1", "Research use only", FINDINGS)
    write_text(folder / "findings" / COHORT_FINDINGS_PAGE, render_html(document))
    row = {"id": RUN, "name": "first", "stage": "evaluate", "status": "finished", "started": "2026-01-02 03:04 UTC"}
    patch = pytest.MonkeyPatch()
    patch.chdir(folder)
    patch.setattr(written, "_has_store", lambda: True)
    patch.setattr(written, "_runs", lambda: [row | {"miou": "0.512", "valid": ""}])

    def view():
        return make_viewer(folder / "results", [folder])[0]

    with application("start", ["ann", "ben"], results=folder / "results", view=view) as app, served(app) as port:
        yield SimpleNamespace(folder=folder, port=port)
    patch.undo()


@pytest.fixture
def look(chromium, made):
    """Opens a page; what it complains of fails the test."""
    with watched(chromium) as start:
        yield start


@pytest.mark.parametrize(
    ("size", "scheme"),
    [(DESK, "light"), (DESK, "dark"), (TABLET, "dark")],
    ids=["desk, light", "desk, dark", "tablet, dark"],
)
def test_nothing_serious_on_any_page(look, made, size, scheme):
    page, found, wide = look(size, scheme), {}, {}
    for name, path in PAGES.items():
        page.goto(f"http://127.0.0.1:{made.port}{path}")
        if axe.AXE.archive.is_file():
            found[name] = axe.serious(page)
        wide[name] = page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
        ground = page.evaluate("getComputedStyle(document.body).backgroundColor")
        assert (ground == "rgb(18, 20, 23)") == (scheme == "dark"), name
        page.keyboard.press("Tab")
        outline = page.evaluate("getComputedStyle(document.activeElement).outlineStyle")
        assert outline != "none", name
    assert found == {name: [] for name in found}
    assert {name: width for name, width in wide.items() if width > 0} == {}


def test_dark_is_remembered_from_page_to_page(look, made):
    page = look()
    dark = "document.documentElement.dataset.theme === 'dark'"
    page.goto(f"http://127.0.0.1:{made.port}/start/")
    page.click("#theme")
    assert page.evaluate(dark)
    for path in PAGES.values():
        page.goto(f"http://127.0.0.1:{made.port}{path}")
        assert page.evaluate(dark), path
        assert page.get_attribute("#theme", "aria-pressed") == "true"
    page.click("#theme")
    assert page.evaluate("document.documentElement.dataset.theme") == "light"


def test_the_rooms_are_reached_by_keyboard(look, made):
    page = look()
    page.goto(f"http://127.0.0.1:{made.port}/")
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.className") == "skip-link"
    for _ in range(4):
        page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.textContent") == "Gates"
    page.keyboard.press("Enter")
    page.wait_for_url("**/gates/")
    assert page.get_attribute('[href="/gates/"]', "aria-current") == "page"
