"""Saying what is wrong in a real browser: by pointer, by keys, and on both panes."""

import pytest

from tests.web.label import axe
from tests.wsi.viewer.marking import SIDE, make_marking
from tests.wsi.viewer.panes import place_on
from wsss_mm.labelling import Place, read_journals
from wsss_mm.wsi.viewer import make_app
from wsss_mm.wsi.viewer.openseadragon import archive_path, read_archive

pytestmark = pytest.mark.slow

MIDDLE = Place("s1", 2 * SIDE, SIDE, 1.0, 64)


@pytest.fixture
def opened(show):
    """Opens slide s1 of a marked project in the viewer."""
    return lambda made: show(
        make_app(list(made.results.values()), made.slides, read_archive(archive_path()), made.desk()), "/slides/s1/"
    )


def state(page, wanted):
    page.wait_for_selector(f'#wrong[data-state="{wanted}"]')


def test_a_patch_is_called_wrong_by_pointer_and_by_keys(tmp_path, opened):
    made = make_marking(tmp_path)
    page = opened(made)
    page.wait_for_selector('#wrong[data-ready="true"]')

    # by pointer, on the slide: tumour is there, and stroma perhaps
    page.click("#pick")
    state(page, "picking")
    page.mouse.click(*place_on(page, "slide", SIDE + 20, 30))
    state(page, "picked")
    assert page.text_content("#wrong-patch") == f"s1-{SIDE}-0"
    assert page.locator(".picked").count() == 2  # on slide and map
    page.click('[data-code="TE"]')
    page.click('[data-code="TAS"]')
    page.click('[data-code="TAS"]')
    page.click("#keep")
    state(page, "saved")
    (answer,) = read_journals(made.labels).answers("ann")
    assert answer.place == Place("s1", SIDE, 0, 1.0, 64)
    assert answer.states == {"TE": "present", "NEC": "absent", "LYM": "absent", "TAS": "unsure"}
    assert answer.seconds is not None
    assert page.locator(".picked").count() == 0

    # by keys, on the map, to be seen again
    page.mouse.move(*place_on(page, "map", SIDE + 20, SIDE + 30))
    page.keyboard.press("w")
    state(page, "picked")
    assert page.text_content("#wrong-patch") == f"s1-{SIDE}-{SIDE}"
    page.keyboard.press("3")
    page.check("#again")
    page.locator("#again").press("Escape")
    state(page, "idle")
    page.keyboard.press("w")  # in the middle of the map: the pointer is over neither
    state(page, "picked")
    page.keyboard.press("3")
    page.check("#again")
    page.click("#keep")
    state(page, "saved")
    journals = read_journals(made.labels)
    assert journals.answers("ann")[-1].states["LYM"] == "present"
    assert journals.marks() == [MIDDLE]

    # taken back
    page.click("#wrong-undo")
    state(page, "undone")
    assert [found.place for found in read_journals(made.labels).answers()] == [answer.place]
    assert read_journals(made.labels).marks() == []

    # to the queue, without a word; the server refuses, and says why
    page.keyboard.press("w")
    state(page, "picked")
    made.labels.rename(tmp_path / "away")
    made.labels.write_text("")
    page.click("#mark")
    state(page, "failed")
    assert page.text_content("#wrong-status")
    made.labels.unlink()
    (tmp_path / "away").rename(made.labels)
    page.click("#mark")
    state(page, "saved")
    assert read_journals(made.labels).marks() == [MIDDLE]

    page.keyboard.press("w")
    state(page, "picked")
    if axe.AXE.archive.is_file():
        found = page.evaluate(f"(() => {{ {axe.source()}; return axe.run('#wrong'); }})()")
        serious = [one["id"] for one in found["violations"] if one["impact"] in ("serious", "critical")]
        assert serious == []
    page.goto("/slides/judged/")
    assert "Draw" in page.text_content("#wrong")
    assert page.locator("#pick").count() == 0


def test_keys_pressed_elsewhere_say_nothing_of_the_patch(tmp_path, opened):
    made = make_marking(tmp_path)
    page = opened(made)
    page.wait_for_selector('#wrong[data-ready="true"]')
    page.keyboard.press("w")
    state(page, "picked")
    page.focus("#show-keys")
    page.keyboard.press("Enter")  # presses that button, and saves nothing
    page.wait_for_selector("#keys[open]")
    page.keyboard.press("1")
    page.keyboard.press("Escape")
    page.wait_for_selector("#keys:not([open])", state="attached")
    assert page.get_attribute("#wrong", "data-state") == "picked"
    assert page.locator('#wrong-classes [data-said=""]').count() == page.locator("#wrong-classes button").count()
    assert read_journals(made.labels).answers() == []
