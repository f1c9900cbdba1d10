"""An answer belongs to the patch that was painted when the key was pressed, whatever comes from the server meanwhile.

Replies are held back and let go in an order that is chosen; keys are pressed before something is painted and reach the
page after it.
"""

import pytest

from tests.web.label.screen import (
    Early,
    Held,
    entries,
    label,
    name_of,
    on_screen,
    saved,
    settled,
    toast,
    until,
    without_connection,
)

pytestmark = pytest.mark.slow

QUIET = "One moment: that key was pressed before the patch was there."


def hint(page):
    return page.text_content("#hint")


def test_a_key_in_the_moment_between_two_patches_is_nobodys(serving, browse, tmp_path):
    page = browse(serving())
    first = on_screen(page)
    twice = """() => { for (const _ of [1, 2])
      document.body.dispatchEvent(new KeyboardEvent('keydown', {key: 'n', code: 'KeyN', bubbles: true})); }"""
    page.evaluate(twice)  # in one task: the next patch is in the page, and not yet on the screen
    assert hint(page) == QUIET
    second = on_screen(page)
    assert second != first
    for key in ("1", "s", "a", "c", "Enter"):  # as an early key of each kind
        early = Early(page, key, {"1": "Digit1", "Enter": "Enter"}.get(key))
        page.evaluate("document.getElementById('tab-sheet').click()")
        page.evaluate("document.getElementById('tab-focus').click()")
        assert on_screen(page) == second
        early.arrive()
        assert hint(page) == QUIET
        assert page.locator('.class:not([aria-pressed="false"])').count() == 0
        assert not page.is_visible("#artefact-dialog")
    page.keyboard.press("2")
    page.keyboard.press("Enter")
    saved(page)
    assert [name_of(entry) for entry in entries(tmp_path / "labels")] == [first, second]


def test_an_undo_that_comes_late_takes_no_answer_for_another_patch(serving, browse, tmp_path):
    page = browse(serving())
    (first,) = label(page, 1)
    saved(page)
    second = on_screen(page)
    held = Held(page, "**/api/undo")
    early = Early(page, "n")  # to the second, and heard when the first is shown
    page.keyboard.press("Control+z")
    held.wait()
    page.keyboard.press("n")
    assert hint(page) == QUIET
    assert page.get_attribute("#stage", "aria-busy") == "true"
    held.release()
    assert on_screen(page) == first
    early.arrive()
    assert hint(page) == QUIET
    page.keyboard.press("n")
    assert on_screen(page) == second
    saved(page)
    kinds = [(entry["kind"], name_of(entry)) for entry in entries(tmp_path / "labels") if "x" in entry]
    assert kinds == [("answer", first)] * 2


def test_an_undo_without_connection_does_not_take_the_reader_away(serving, browse, tmp_path):
    page = browse(serving())
    (first,) = label(page, 1)
    saved(page)
    second = on_screen(page)
    without_connection(page)
    page.keyboard.press("Control+z")
    assert on_screen(page) == second  # nobody waits for the connection
    page.keyboard.press("n")
    third = on_screen(page)
    page.keyboard.press("1")
    page.context.set_offline(False)
    saved(page)
    assert on_screen(page) == third
    assert page.get_attribute(".class >> nth=0", "aria-pressed") == "true"  # and what was pressed stays
    page.keyboard.press("Enter")
    saved(page)
    found = [(entry["kind"], name_of(entry)) for entry in entries(tmp_path / "labels") if "x" in entry]
    assert found == [("answer", first), ("answer", second), ("answer", third)]


def test_while_another_order_is_on_its_way_nothing_is_answered_or_skipped(serving, browse, tmp_path):
    page = browse(serving())
    names = label(page, 3)
    saved(page)
    page.keyboard.press("Backspace")
    page.keyboard.press("Backspace")
    assert on_screen(page) == names[1]
    early = Early(page, "n")
    held = Held(page, "**/api/queue**")
    page.select_option("#order", "slide")
    held.wait()
    assert page.get_attribute("#stage", "aria-busy") == "true"
    for key in ("s", "n", "2", "Enter"):  # of what? the last that was answered is another than the one that was shown
        page.keyboard.press(key)
        assert hint(page) == QUIET
    held.release()
    assert on_screen(page) == "s0-0-0"
    early.arrive()
    assert hint(page) == QUIET
    page.keyboard.press("n")
    saved(page)
    assert [name_of(entry) for entry in entries(tmp_path / "labels")] == [*names, "s0-0-0"]


def test_a_queue_that_comes_late_does_not_push_away_what_is_looked_at(serving, browse):
    page = browse(serving())
    label(page, 2)
    last = on_screen(page)
    held = Held(page, "**/api/queue**")
    page.select_option("#order", "slide")
    held.wait()
    page.locator("#main").focus()
    page.keyboard.press("Backspace")
    assert on_screen(page) == last
    with page.expect_response("**/api/queue**"):
        held.release()
    page.evaluate("fetch('/api/state').then((reply) => reply.json())")  # what came before it has been heard
    assert on_screen(page) == last


def test_a_patch_is_not_answered_twice_while_the_queue_is_waited_for(serving, browse, tmp_path, project):
    frame = project[1][project[1]["slide_id"] == "s0"].reset_index(drop=True)[:51]
    page = browse(serving(candidates=frame))
    page.select_option("#order", "slide")
    on_screen(page)
    held = Held(page, "**/api/queue**")
    names = label(page, 50)
    held.wait()
    assert page.get_attribute("#stage", "aria-busy") == "true"
    for key in ("2", "3", "Enter", "n"):
        page.keyboard.press(key)
    held.release()
    names.append(on_screen(page))
    page.keyboard.press("n")
    saved(page)
    assert [name_of(entry) for entry in entries(tmp_path / "labels")] == names


def test_what_looks_alike_does_not_come_between_a_patch_and_its_answer(serving, browse, tmp_path, project):
    port = serving(points=project_points(project))
    page = browse(port)
    until(page, "fetch('/api/embedding').then((reply) => reply.status === 200)")
    first = on_screen(page)
    held = Held(page, "**/api/similar/**")
    page.keyboard.press("l")
    held.wait()
    page.keyboard.press("n")
    second = on_screen(page)
    held.release()
    toast(page, "Patches that look alike are found, but you went on meanwhile")
    assert page.is_visible("#view-focus")
    page.keyboard.press("2")
    page.keyboard.press("Enter")
    saved(page)
    assert [name_of(entry) for entry in entries(tmp_path / "labels")] == [first, second]
    on_screen(page)
    held = Held(page, "**/api/similar/**")
    page.keyboard.press("l")
    held.wait()
    early = Early(page, "1", "Digit1")
    held.release()
    until(page, "document.body.dataset.view === 'sheet'")
    settled(page, "sheet")
    early.arrive()  # of the patch in focus, and not of what is selected now
    toast(page, "One moment")
    assert len(entries(tmp_path / "labels")) == 2


def project_points(project):
    import numpy as np

    return np.random.default_rng(1).uniform(0, 1, (len(project[1]), 2)).astype(np.float32)


def test_an_undo_of_many_leaves_what_was_selected_since(serving, browse, tmp_path):
    page = browse(serving())
    on_screen(page)
    page.keyboard.press("t")
    settled(page, "sheet")
    page.keyboard.press("Home")
    page.keyboard.press("Shift+ArrowRight")
    page.keyboard.press("1")
    saved(page)
    held = Held(page, "**/api/undo")
    page.keyboard.press("Control+z")
    held.wait()
    page.keyboard.press("End")
    held.release()
    toast(page, "Taken back: 2 patches")
    assert page.text_content("#selected-chip span") == "1 selected"
    chosen = page.locator('.thumb[aria-selected="true"]').get_attribute("aria-posinset")
    assert chosen == "768"
    page.keyboard.press("2")
    saved(page)
    last = entries(tmp_path / "labels")[-1]
    assert last["kind"] == "answer"
    assert name_of(last) not in {name_of(entry) for entry in entries(tmp_path / "labels")[:2]}


def test_thumbnails_that_change_places_under_the_mouse_are_not_chosen(serving, browse):
    page = browse(serving())
    on_screen(page)
    page.keyboard.press("t")
    settled(page, "sheet")
    box = page.locator("#thumb-3").bounding_box()
    held = Held(page, "**/api/queue**")
    page.select_option("#order", "slide")
    held.wait()
    page.mouse.move(box["x"] + 20, box["y"] + 20)
    page.mouse.down()
    toast(page, "One moment")
    held.release()
    settled(page, "sheet")
    page.mouse.up()
    page.keyboard.press("1")
    assert page.text_content("#saved") == ""  # nothing is selected, and nothing said
    page.mouse.down()
    page.mouse.up()
    assert page.text_content("#selected-chip span") == "1 selected"


def test_the_next_patches_are_there_before_they_are_asked_for(serving, browse):
    """The time from a key to the next patch is in benchmarks/labelling_page.py; this is what it rests on."""
    page = browse(serving())
    asked = []
    page.on("request", lambda request: asked.append(request.url))
    for _ in range(5):
        on_screen(page)
        until(page, "performance.getEntriesByType('resource').length > 0")
        before = list(asked)
        page.keyboard.press("n")
        on_screen(page)
        row = page.get_attribute("#stage", "data-row")
        assert not any(
            f"/image/{row}.jpg" in address or f"/api/patch/{row}?" in address for address in asked[len(before) :]
        )
