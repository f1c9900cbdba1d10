"""Looking at slides in a real browser: classes, layers, places, keys, notes, and the list of all slides."""

import json
import shutil

import numpy as np
import pytest
import tifffile

from tests.web.label import axe
from tests.wsi.viewer.marking import HEIGHT, LUNG, WIDTH, make_marking
from tests.wsi.viewer.panes import pixel, place_on, until_drawn
from wsss_mm.patches.quarantine import read_quarantine
from wsss_mm.wsi.viewer import make_app
from wsss_mm.wsi.viewer.guard import Guard
from wsss_mm.wsi.viewer.openseadragon import archive_path, read_archive
from wsss_mm.wsi.viewer.remarks import read_notes
from wsss_mm.wsi.viewer.results import read_results

pytestmark = pytest.mark.slow

TE, NEC = ((*item.color, 255) for item in LUNG.classes[:2])
NOTHING = (0, 0, 0, 0)
INSIDE, OTHER = (330, 100), (60, 100)
"""Level-0 px: in the middle of what the model calls tumour, and necrosis."""


@pytest.fixture
def made(tmp_path):
    """A project; of slide `judged` there is truth: necrosis, where the map says tumour."""
    made = make_marking(tmp_path, confidence=True)
    (tmp_path / "truth").mkdir()
    truth = np.full((HEIGHT, WIDTH), LUNG.codes.index("NEC"), np.uint8)
    tifffile.imwrite(tmp_path / "truth/judged.tif", truth, tile=(64, 64))
    return made


@pytest.fixture
def page(made, show):
    """The page of slide `judged`, once all of it is drawn."""
    guard, results = Guard(), list(made.results.values())
    more = {"project": made.project(), "remarks": made.remarks(guard=guard)}
    app = make_app(results, made.slides, read_archive(archive_path()), made.desk(guard=guard), **more)
    page = show(app, "/slides/judged/")
    ready(page)
    return page


def ready(page):
    page.wait_for_selector('body[data-keys="ready"]')
    page.wait_for_selector('#view[data-layers="drawn"]')
    page.wait_for_function("() => window.viewers.every((one) => one.isOpen() && one.world.getItemCount() >= 4)")


def mixed(base, color, share):
    return [round((1 - share) * one + share * other) for one, other in zip(base, color, strict=True)]


def test_classes_layers_and_keys(page):
    # the map lies over the slide from the start
    until_drawn(page, "map", INSIDE, TE)
    until_drawn(page, "map", OTHER, NEC)
    page.keyboard.press("m")
    assert not page.is_checked('[data-kind="map"] .on')
    page.wait_for_function("() => window.viewers[0].world.getItemAt(1).getOpacity() === 0")
    page.wait_for_function("() => window.viewers[0].world.getItemAt(0).getFullyLoaded()")
    page.wait_for_function("() => !window.viewers[0].world.needsDraw()")
    base = pixel(page, "slide", *INSIDE)
    assert base[3] == 255
    page.keyboard.press("m")
    until_drawn(page, "slide", INSIDE, mixed(base, TE, 0.4))

    # opacity; outlines instead of areas
    page.locator('[data-kind="map"] .opacity').fill("80")
    until_drawn(page, "slide", INSIDE, mixed(base, TE, 0.8))
    assert page.text_content('[data-kind="map"] .percent') == "80 %"
    page.keyboard.press("o")
    until_drawn(page, "slide", INSIDE, base)
    assert page.is_checked('[data-kind="map"] .outlines')
    assert page.text_content('[data-kind="map"] .percent') == "100 %"  # lines have a strength of their own
    page.keyboard.press("o")
    until_drawn(page, "slide", INSIDE, mixed(base, TE, 0.8))

    # the map in place of the slide, and back
    page.keyboard.press("f")
    until_drawn(page, "slide", INSIDE, TE)
    assert page.text_content("#seen") == "Map"
    page.click("#flip")
    until_drawn(page, "slide", INSIDE, mixed(base, TE, 0.8))

    # a class hidden, alone, and all again: in both panes
    page.keyboard.press("1")
    until_drawn(page, "map", INSIDE, NOTHING)
    until_drawn(page, "slide", INSIDE, base)
    until_drawn(page, "map", OTHER, NEC)
    page.click('[data-class="TE"] .solo')
    until_drawn(page, "map", INSIDE, TE)
    until_drawn(page, "map", OTHER, NOTHING)
    page.keyboard.press("0")
    until_drawn(page, "map", OTHER, NEC)
    page.keyboard.press("Shift+Digit2")
    until_drawn(page, "map", INSIDE, NOTHING)
    page.keyboard.press("Shift+Digit2")
    until_drawn(page, "map", INSIDE, TE)
    assert not page.is_visible("#all-classes")

    # other layers, over the slide and alone
    page.select_option("#alone", "truth")
    until_drawn(page, "map", INSIDE, NEC)
    page.select_option("#alone", "drawn")
    until_drawn(page, "map", (100, 100), TE)
    until_drawn(page, "map", INSIDE, NOTHING)
    with page.expect_response(lambda response: "/confidence_files/" in response.url) as tile:
        page.keyboard.press("c")
    assert tile.value.status == 200
    page.keyboard.press("c")
    page.keyboard.press("t")
    page.locator('[data-kind="truth"] .outlines').uncheck()
    until_drawn(page, "slide", INSIDE, NEC)

    # what somebody chose, stays for the next slide
    page.reload()
    ready(page)
    assert page.input_value('[data-kind="map"] .opacity') == "80"
    until_drawn(page, "slide", INSIDE, NEC)


def test_a_map_without_its_slide(made, show):
    page = show(make_app([made.results["s1"]], {}, read_archive(archive_path())), "/slides/s1/")
    page.wait_for_selector('body[data-keys="ready"]')
    until_drawn(page, "map", INSIDE, TE)
    page.keyboard.press("o")
    until_drawn(page, "map", INSIDE, NOTHING)
    page.keyboard.press("o")
    page.keyboard.press("f")  # there is nothing to flip
    page.keyboard.press("2")
    until_drawn(page, "map", OTHER, NOTHING)
    until_drawn(page, "map", INSIDE, TE)
    assert page.locator("#flip, #alone").count() == 0


def test_places_pointer_and_keys(page):
    page.mouse.move(*place_on(page, "map", *INSIDE))
    page.wait_for_selector(f'#under[data-at="{INSIDE[0]},{INSIDE[1]}"]')
    said = page.text_content("#under")
    assert all(part in said for part in (LUNG.classes[0].name, "confidence", f"truth: {LUNG.classes[1].name}", "x 330"))
    assert page.locator("#classes .here").get_attribute("data-class") == "TE"
    assert page.locator(".scale").count() == 2
    assert len(set(page.locator(".scale").all_text_contents())) == 1

    # the place is in the address, and whoever opens the address is there
    page.keyboard.press("+")
    page.wait_for_selector("#view[data-place]")
    page.keyboard.press("ArrowLeft")
    page.goto("/slides/judged/?again#x=100&y=200&mpp=0.5")
    page.wait_for_selector('#view[data-place="#x=100&y=200&mpp=0.5"]')
    x, y, mpp = page.evaluate(
        "() => { const at = leader.viewport.getCenter(true); return [at.x, at.y, perPixel(leader)]; }"
    )
    together = "() => window.viewers.every((one) => one.isOpen() && Math.abs(perPixel(one) - 0.5) < 0.01)"
    page.wait_for_function(together)
    assert (x * WIDTH, y * WIDTH, mpp) == pytest.approx((100, 200, 0.5), rel=1e-3)
    page.evaluate("() => (location.hash = 'x=300&y=150&mpp=0.25')")
    page.wait_for_selector('#view[data-place="#x=300&y=150&mpp=0.25"]')
    for odd in ("#x=a&y=1&mpp=1", "#x=1&y=1&mpp=0", "#x=1&y=1&mpp=-1", "#", "#%"):
        page.goto(f"/slides/judged/?odd{odd}")
        ready(page)

    ready(page)
    page.keyboard.press("?")
    page.wait_for_selector("#keys[open]")
    assert page.locator("#keys dt").count() >= 18
    page.keyboard.press("Escape")
    page.wait_for_selector("#keys:not([open])", state="attached")
    page.keyboard.press("]")
    page.wait_for_url("**/slides/s1/")
    ready_without_project(page)
    page.keyboard.press("[")
    page.wait_for_url("**/slides/judged/**")


def ready_without_project(page):
    page.wait_for_selector('body[data-keys="ready"]')


def test_notes_and_a_bad_slide(page, made):
    page.wait_for_selector('#remarks[data-ready="true"]')
    page.keyboard.press("n")
    page.keyboard.type("mow 1 ?")  # letters that are keys elsewhere
    page.keyboard.press("Enter")
    page.wait_for_selector('#remarks[data-state="saved"]')
    (note,) = read_notes(made.folder / "notes.csv")
    assert note.note == "mow 1 ?"
    assert page.locator(".pin").count() == 2
    assert page.is_checked('[data-kind="map"] .on')
    page.click("#notes .go")
    page.wait_for_function("() => location.hash.startsWith('#x=')")

    page.keyboard.press("b")
    page.keyboard.type("out of focus")
    page.keyboard.press("Enter")
    page.wait_for_selector("#aside:visible")
    (entry,) = read_quarantine(made.folder / "quarantine.csv")
    assert (entry.id, entry.reason, entry.reviewer) == ("judged", "out of focus", "ann")
    if axe.AXE.archive.is_file():
        found = page.evaluate(f"(() => {{ {axe.source()}; return axe.run('aside, header, #under'); }})()")
        assert [one["id"] for one in found["violations"] if one["impact"] in ("serious", "critical")] == []
    page.click("#take-back")
    page.wait_for_selector("#aside", state="hidden")
    page.click("#notes .gone-note")
    page.wait_for_function("() => !document.querySelector('#notes li')")
    assert read_quarantine(made.folder / "quarantine.csv") == read_notes(made.folder / "notes.csv") == []


def test_many_slides_are_sorted_and_found(run, tmp_path, show):
    for number in range(60):
        folder = tmp_path / f"S{number}"
        shutil.copytree(run[1] / "first", folder)
        summary = json.loads((folder / "summary.json").read_text())
        summary["tissue_area_mm2"] = (number * 7) % 60
        (folder / "summary.json").write_text(json.dumps(summary))
    page = show(make_app(read_results(tmp_path), {}, {}, failed={"lost": "no such file"}), "/")
    page.wait_for_selector('#slides[data-shown="60"]')
    assert page.get_by_role("button", name="A to Z", exact=True).count() == 1
    shown = "() => [...document.querySelectorAll('#slides section:not([hidden]) h2')].map((one) => one.textContent)"
    page.select_option("#sort", "tissue")
    page.wait_for_selector('#slides[data-order="tissue down"]')
    largest = sorted(range(60), key=lambda number: -((number * 7) % 60))
    assert page.evaluate(shown) == [f"S{number}" for number in largest]
    page.get_by_role("button", name="largest first", exact=True).click()
    page.wait_for_selector('#slides[data-order="tissue up"]')
    assert page.evaluate(shown) == [f"S{number}" for number in reversed(largest)]
    assert page.get_by_role("button", name="smallest first", exact=True).count() == 1
    page.select_option("#sort", "name")
    page.wait_for_selector('#slides[data-order="name up"]')
    assert page.evaluate(shown) == [f"S{number}" for number in range(60)]
    page.get_by_role("button", name="A to Z", exact=True).click()
    assert page.evaluate(shown) == [f"S{number}" for number in reversed(range(60))]
    page.get_by_role("button", name="Z to A", exact=True).click()
    page.fill("#search", "s5 first")
    page.wait_for_selector('#slides[data-shown="11"]')
    assert page.evaluate(shown) == ["S5", *(f"S{number}" for number in range(50, 60))]
    assert page.text_content("#count") == "11 of 60 slides"
    assert "no such file" in page.text_content("#failed")
    if axe.AXE.archive.is_file():
        found = page.evaluate(f"(() => {{ {axe.source()}; return axe.run(); }})()")
        assert [one["id"] for one in found["violations"] if one["impact"] in ("serious", "critical")] == []
