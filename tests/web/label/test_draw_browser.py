"""Drawing in a real browser: outlines, brush and regions, by mouse, keys and fingers; the server killed half-way."""

import json
import signal
from contextlib import closing, contextmanager

import numpy as np
import pytest
import shapely

from tests.web.label import axe
from tests.web.label.project import SIDE, make_project, read_cohort, running
from tests.web.label.screen import DESK, TABLET, Failing, on_screen, settled, until
from tests.wsi.viewer.serving import served
from wsss_mm.labelling.candidates import read_candidates
from wsss_mm.slides.roi import read_annotations, read_region
from wsss_mm.vocabulary import get_vocabulary
from wsss_mm.web.label.doors import Doors
from wsss_mm.web.label.server import make_app
from wsss_mm.web.label.session import Options, Session
from wsss_mm.wsi.viewer.openseadragon import archive_path

pytestmark = pytest.mark.slow

CLASSES = get_vocabulary("lung").classes
SEGMENTED = 1
"""The slide, of two, that has outlines to take over."""


@pytest.fixture(autouse=True)
def openseadragon():
    if not archive_path().is_file():
        pytest.skip("OpenSeadragon is not installed: wsss-mm view --setup")


@pytest.fixture
def browse(browse):
    """Opens the view as a reader."""

    def start(port, *arguments, **options):
        page = browse(port, *arguments, **options)
        enter(page)
        return page

    return start


@pytest.fixture
def project(tmp_path):
    make_project(tmp_path, slides=2)
    folder = tmp_path / f"results/slides/s{SEGMENTED}"
    folder.mkdir(parents=True)
    ring = [[300, 300], [700, 300], [700, 600], [300, 600], [300, 300]]
    feature = {
        "type": "Feature",
        "geometry": {"type": "Polygon", "coordinates": [ring]},
        "properties": {"classification": {"name": CLASSES[1].name, "color": list(CLASSES[1].color)}},
    }
    (folder / "segmentation.geojson").write_text(json.dumps({"type": "FeatureCollection", "features": [feature]}))
    (folder / "summary.json").write_text("{}")
    return tmp_path


@contextmanager
def drawing(folder):
    """Serve the page of a project, in this process."""
    session = Session(
        read_candidates(folder / "data/candidates"),
        read_cohort(folder),
        get_vocabulary("lung"),
        ["ann"],
        journals=folder / "labels",
        options=Options(features=False, root=folder),
    )
    with closing(session), served(make_app(session, Doors(["ann"], folder / "server", guarded=False))) as port:
        yield port


def enter(page, slide="s0"):
    """Open the view on a slide, the whole of it in sight."""
    page.wait_for_selector("html[data-ready]")
    on_screen(page)  # or the view would open again on the patch that comes
    page.keyboard.press("h")
    settled(page, "draw-stage")
    open_slide(page, slide)


def open_slide(page, slide):
    page.select_option("#draw-slide", index=int(slide[1:]))
    settled(page, "draw-stage")
    page.click("#draw-whole")
    settled(page, "draw-stage")


def saved(page):
    """Wait until strokes are areas, and all is on disk."""
    settled(page, "draw-stage")
    until(page, "document.getElementById('draw-saved').textContent === '✓ Saved'")


def spot(page, x, y):
    """Where a place of the slide is on the screen, when all of it is shown."""
    box = page.locator("#draw-canvas").bounding_box()
    scale = min(box["width"], box["height"]) / SIDE
    return (
        box["x"] + box["width"] / 2 + (x - SIDE / 2) * scale,
        box["y"] + box["height"] / 2 + (y - SIDE / 2) * scale,
    )


def outline(page, corners):
    page.keyboard.press("a")
    for corner in corners:
        page.mouse.click(*spot(page, *corner))
    page.keyboard.press("Enter")


def stroke(page, points):
    page.mouse.move(*spot(page, *points[0]))
    page.mouse.down()
    for point in points[1:]:
        page.mouse.move(*spot(page, *point), steps=6)
    page.mouse.up()


def masks(folder, slide="s0"):
    return read_annotations(folder / f"labels/masks/{slide}.geojson")


def count(page):
    return page.locator("#draw-areas li").count()


def await_count(page, wanted):
    until(page, f"document.querySelectorAll('#draw-areas li').length === {wanted}")


FIRST = [(100, 100), (500, 120), (480, 420), (120, 400)]
SECOND = [(600, 600), (900, 620), (880, 920)]


def near(area, corners, share=0.03):
    wanted = shapely.Polygon(corners)
    return area.symmetric_difference(wanted).area < share * wanted.area


def test_two_masks_and_a_region_outlive_a_killed_server(project, browse):
    with running(project, "--reader", "ann", "bob", "--no-features") as (process, port):
        page = browse(port)
        page.keyboard.press("1")
        outline(page, FIRST)
        saved(page)
        assert [item.name for item in masks(project)] == [CLASSES[0].name]
        process.send_signal(signal.SIGKILL)
        process.wait()
        page.keyboard.press("2")
        outline(page, SECOND)
        until(page, "!document.getElementById('draw-lost').hidden")
        page.keyboard.press("0")
        outline(page, [(50, 50), (950, 50), (950, 950), (50, 950)])
        assert count(page) == 3
        assert len(masks(project)) == 1

    with running(project, "--reader", "ann", "bob", "--no-features", port=port):
        saved(page)
        assert [item.name for item in masks(project)] == [CLASSES[0].name, CLASSES[1].name]
        assert near(masks(project)[0].geometry, FIRST)
        assert near(masks(project)[1].geometry, SECOND)
        assert near(
            read_region(project / "labels/regions/s0.geojson").geometry, [(50, 50), (950, 50), (950, 950), (50, 950)]
        )
        before = (project / "labels/masks/s0.geojson").read_bytes()
        page.reload()
        enter(page)
        assert count(page) == 3
        other = browse(port, "bob")
        assert count(other) == 3

        # both draw: the one who has not seen the other's edit overwrites nothing of it
        assert (project / "labels/masks/s0.geojson").read_bytes() == before
        other.keyboard.press("3")
        outline(other, [(700, 100), (900, 100), (900, 300)])
        saved(other)
        page.keyboard.press("2")
        outline(page, [(700, 350), (900, 350), (900, 550)])
        until(page, "document.querySelectorAll('#draw-areas li').length === 5")
        saved(page)
        assert [item.name for item in masks(project)] == [CLASSES[number].name for number in (0, 1, 2, 1)]


def test_a_closed_browser_keeps_what_was_not_saved(project, browse):
    with running(project, "--reader", "ann", "--no-features") as (process, port):
        page = browse(port)
        outline(page, FIRST)
        saved(page)
        process.send_signal(signal.SIGKILL)
        process.wait()
        outline(page, SECOND)
        until(page, "!document.getElementById('draw-lost').hidden")
        context = page.context
        page.close()  # and the browser's storage stays
    with running(project, "--reader", "ann", "--no-features", port=port):
        page = context.new_page()
        page.goto(f"http://127.0.0.1:{port}/")
        enter(page)
        saved(page)
        assert len(masks(project)) == 2


def test_a_server_that_fails_again_and_again_is_asked_once_more_by_change_or_reader(project, browse):
    with drawing(project) as port:
        page = browse(port)
        failing = Failing(page, "**/api/draw/*")
        outline(page, FIRST)
        page.wait_for_selector("#draw-again:visible")
        assert failing.stopped(5)
        assert "the server failed 5 times at saving" in page.text_content("#draw-lost")
        outline(page, SECOND)
        until(page, "document.getElementById('draw-trouble').textContent.includes('failed 6 times')")
        page.click("#draw-again")
        until(page, "document.getElementById('draw-trouble').textContent.includes('failed 7 times')")
        assert failing.stopped(7)
        failing.end()
        page.click("#draw-again")
        saved(page)
        assert not page.is_visible("#draw-lost")
        assert len(masks(project)) == 2


def test_brush_eraser_undo_class_and_delete(project, browse):
    with drawing(project) as port:
        page = browse(port)
        page.keyboard.press("b")
        page.locator("#draw-width").evaluate("field => (field.value = 60)")
        stroke(page, [(200, 200), (500, 200)])
        await_count(page, 1)
        saved(page)
        assert masks(project)[0].geometry.area == pytest.approx(300 * 60 + np.pi * 900, rel=0.05)
        stroke(page, [(350, 200), (350, 500)])  # touches: one area, larger
        saved(page)
        (area,) = masks(project)
        assert area.geometry.area > 570 * 60
        stroke(page, [(800, 800), (900, 800)])  # apart: another
        await_count(page, 2)
        page.keyboard.press("e")
        page.keyboard.press("Escape")
        stroke(page, [(350, 100), (350, 600)])  # in two, and out of all
        saved(page)
        assert len(masks(project)[0].geometry.geoms) == 2
        page.keyboard.press("Control+z")
        saved(page)
        assert len(masks(project)[0].geometry.geoms) == 1
        page.keyboard.press("Control+Shift+Z")
        saved(page)
        assert len(masks(project)[0].geometry.geoms) == 2

        page.keyboard.press("s")
        page.mouse.click(*spot(page, 850, 800))
        page.keyboard.press("3")
        saved(page)
        assert [item.name for item in masks(project)] == [CLASSES[0].name, CLASSES[2].name]
        page.keyboard.press("Delete")
        await_count(page, 1)
        for _ in range(12):
            page.keyboard.press("Control+z")
        saved(page)
        assert not (project / "labels/masks/s0.geojson").exists()


def test_a_region_of_the_segmentation_is_taken_over_and_corrected(project, browse):
    with drawing(project) as port:
        page = browse(port)
        assert page.locator("[data-tool=snap]").is_disabled()
        open_slide(page, f"s{SEGMENTED}")
        page.keyboard.press("n")
        page.mouse.click(*spot(page, 400, 400))
        await_count(page, 1)
        saved(page)
        (area,) = masks(project, "s1")
        assert area.name == CLASSES[1].name
        assert area.geometry.equals(shapely.box(300, 300, 700, 600))
        page.keyboard.press("s")
        stroke(page, [(700, 600), (800, 700)])  # its corner
        saved(page)
        assert near(masks(project, "s1")[0].geometry, [(300, 300), (700, 300), (800, 700), (300, 600)])


def test_without_a_mouse(project, browse):
    with drawing(project) as port:
        page = browse(port)
        page.keyboard.press("a")
        for key in ("ArrowRight", "ArrowDown", "ArrowLeft"):
            page.keyboard.press("Space")
            for _ in range(2):
                page.keyboard.press(key)
        page.keyboard.press("Space")
        page.keyboard.press("Backspace")  # the last corner again
        page.keyboard.press("Enter")
        saved(page)
        assert masks(project)[0].geometry.area > 1000
        page.keyboard.press("b")
        page.keyboard.press("Escape")
        page.keyboard.press("Space")
        await_count(page, 2)


def test_fingers(project, browse):
    with drawing(project) as port:
        page = browse(port, size=TABLET, has_touch=True)
        page.tap("[data-tool=polygon]")
        for corner in FIRST:
            page.touchscreen.tap(*spot(page, *corner))
        page.tap("#draw-close")
        saved(page)
        assert near(masks(project)[0].geometry, FIRST)


def test_a_file_that_is_not_ours_is_named(project, browse):
    path = project / "labels/masks/s0.geojson"
    path.parent.mkdir(parents=True)
    path.write_text('{"type": "FeatureCollection", "features": []}')
    with drawing(project) as port:
        page = browse(port)
        assert "s0.geojson: was not drawn here" in page.text_content("#draw-error")
        outline(page, FIRST)
        assert count(page) == 0
        page.keyboard.press("0")
        outline(page, FIRST)
        saved(page)
    assert path.read_text() == '{"type": "FeatureCollection", "features": []}'


@pytest.mark.parametrize(("size", "scheme"), [(DESK, "light"), (DESK, "dark"), (TABLET, "light"), (TABLET, "dark")])
def test_axe_finds_nothing_serious(project, browse, size, scheme):
    if not axe.AXE.archive.is_file():
        pytest.skip(f"axe-core is not installed: {axe.AXE.setup}")
    with drawing(project) as port:
        page = browse(port, size=size, scheme=scheme, bypass_csp=True)
        outline(page, FIRST)
        page.keyboard.press("0")
        outline(page, SECOND)
        page.keyboard.press("b")
        saved(page)
        page.evaluate(axe.source())
        found = page.evaluate("axe.run({resultTypes: ['violations']})")["violations"]
        assert [
            (item["id"], item["nodes"][0]["html"]) for item in found if item["impact"] in ("serious", "critical")
        ] == []
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
