"""Nothing that was answered is lost: the list of patches changes, the reader does, the server refuses, a slide goes."""

import json
import shutil

import pytest

from tests.web.label.project import read_cohort
from tests.web.label.screen import (
    CODES,
    Failing,
    answers,
    entries,
    intercept,
    label,
    loaded_ahead,
    name_of,
    on_screen,
    saved,
    settled,
    truth,
    until,
    waiting,
    without_connection,
)
from wsss_mm.labelling.journal import Journal
from wsss_mm.web.label.desk import Desk

pytestmark = pytest.mark.slow


def test_answers_that_meet_another_list_of_patches_are_kept_by_their_places(serving, browse, tmp_path, project):
    frame = project[1]
    page = browse(serving())
    said = label(page, 2)
    saved(page)
    on_screen(page)
    loaded_ahead(page, 5)
    without_connection(page)
    said += label(page, 3)
    on_screen(page)  # a key before the patch is painted counts for nothing
    page.keyboard.press("s")
    skipped = on_screen(page)
    page.keyboard.press("t")
    settled(page, "sheet")
    page.keyboard.press("End")
    page.keyboard.press("Shift+ArrowLeft")
    page.keyboard.press("1")  # two, of which one will be no candidate any more
    until(page, "document.getElementById('saved').textContent === '5 answers not saved'")
    serving.change(candidates=frame[~frame["patch_id"].isin([said[3], "s2-960-960"])].reset_index(drop=True))
    page.context.set_offline(False)
    page.wait_for_selector("#confirm-dialog[open]")
    assert "What you answered is saved" in page.text_content("#confirm-text")
    assert not page.is_visible("#kept")
    written = entries(tmp_path / "labels")
    acts = [entry for entry in written if entry["kind"] == "answer"]
    assert [name_of(entry) for entry in acts[:5]] == said
    for entry in acts[:5]:
        assert {code for code, state in entry["classes"].items() if state == "present"} == truth(name_of(entry))
        assert entry["drawn"] == "random"  # its ticket tells, as it would have done before
    assert {name_of(entry) for entry in acts[5:]} == {"s2-960-960", "s2-960-896"}
    assert [entry["kind"] for entry in written].count("skip") == 1
    with page.expect_navigation():
        page.click("#confirm-yes")
    page.wait_for_selector("html[data-ready]")
    until(page, "document.getElementById('shown').textContent.startsWith('766 patches, 760 ')")
    assert skipped not in said


def test_a_browser_closed_over_a_changed_list_sends_its_answers_all_the_same(serving, browse, tmp_path, project):
    page = browse(serving())
    (first,) = label(page, 1)
    on_screen(page)
    without_connection(page)
    (second,) = label(page, 1)
    page.wait_for_selector("#offline:visible")
    context, address = page.context, page.url
    page.close()
    serving.change(candidates=project[1][::2].reset_index(drop=True))
    context.set_offline(False)
    page = context.new_page()
    page.goto(address)
    page.wait_for_selector("html[data-ready]")
    until(page, "Object.keys(localStorage).every((key) => !key.startsWith('wsss-outbox'))")
    assert [name_of(entry) for entry in entries(tmp_path / "labels")] == [first, second]
    on_screen(page)
    assert not page.is_visible("#confirm-dialog")  # this page has the new list


def test_answers_of_a_browser_that_is_another_reader_wait_for_theirs(serving, browse, tmp_path):
    page = browse(serving())
    label(page, 1)
    saved(page)
    on_screen(page)
    other = page.context.new_page()
    other.goto(page.url.split("#")[0] + "?reader=bob")
    (name,) = label(page, 1)
    page.wait_for_selector("#offline:visible")
    assert "kept in this browser, and sent when it is ann's again" in page.text_content("#offline")
    other.goto(page.url.split("#")[0] + "?reader=ann")
    saved(page)
    assert name_of(entries(tmp_path / "labels")[1]) == name
    assert entries(tmp_path / "labels", "bob") == []


def test_what_the_server_refuses_is_a_file_that_can_be_taken(serving, browse, tmp_path):
    page = browse(serving())
    on_screen(page)
    intercept(page, "**/api/answer", lambda route: route.fulfill(status=400, json={"error": "<b>no</b>"}))
    (name,) = label(page, 1)
    page.wait_for_selector("#kept:visible")
    said = f"1 answer could not be saved, and is kept in this browser: <b>no</b> (patch {name})."
    assert said in page.text_content("#kept")
    page.reload()
    page.wait_for_selector("#kept:visible")  # still there
    with page.expect_download() as caught:
        page.click("#kept-file")
    caught.value.save_as(tmp_path / "taken.jsonl")
    (taken,) = [json.loads(line) for line in (tmp_path / "taken.jsonl").read_text().splitlines()]
    assert (taken["why"], name_of(taken["places"][0])) == ("<b>no</b>", name)
    assert {code for code in CODES if taken["classes"][code] == "present"} == truth(name)
    page.click("#kept-forget")
    page.click("#confirm-yes")
    page.wait_for_selector("#kept", state="hidden")
    assert answers(tmp_path / "labels") == {}


def test_an_answer_that_no_journal_keeps_holds_nothing_up_and_is_said_at_its_patch(
    serving, browse, tmp_path, monkeypatch
):
    page = browse(serving())
    name = on_screen(page)
    kept = Desk.answer

    def refuse(desk, places, content, request, **more):
        if {f"{place['slide']}-{place['x']}-{place['y']}" for place in places} == {name}:
            places = [{**place, "mpp": -1.0} for place in places]
        return kept(desk, places, content, request, **more)

    with monkeypatch.context() as patched:
        patched.setattr(Desk, "answer", refuse)
        said = label(page, 3)
        page.wait_for_selector("#kept:visible")
        assert "mpp is no size of a pixel" in page.text_content("#kept")
        saved(page)
    assert [name_of(entry) for entry in entries(tmp_path / "labels")] == said[1:]
    on_screen(page)
    for wanted in reversed(said):
        page.keyboard.press("Backspace")
        assert on_screen(page) == wanted
    assert page.text_content("#hint").startswith("Not saved: it cannot be kept: mpp is no size of a pixel")
    page.keyboard.press("Enter")  # it has no answer: Enter alone does not pass over it
    assert "Press a class" in page.text_content("#hint")
    label(page, 1)
    assert on_screen(page) == said[1]
    saved(page)
    assert name_of(entries(tmp_path / "labels")[-1]) == name


def test_while_the_disk_is_full_answers_wait_and_the_page_says_so(serving, browse, tmp_path, monkeypatch):
    page = browse(serving())
    on_screen(page)
    loaded_ahead(page, 3)

    def full(*_):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(Journal, "append", full)
        said = label(page, 2)
        page.wait_for_selector("#offline:visible")
        assert "The server cannot save just now: [Errno 28] No space left on device." in page.text_content("#offline")
        until(page, "document.getElementById('saved').textContent === '2 answers not saved'")
    saved(page)
    assert not page.is_visible("#kept")
    assert [name_of(entry) for entry in entries(tmp_path / "labels")] == said


def test_a_server_that_fails_again_and_again_is_asked_once_more_by_the_reader_alone(serving, browse, tmp_path):
    page = browse(serving())
    on_screen(page)
    loaded_ahead(page, 3)
    failing = Failing(page, "**/api/answer")
    said = label(page, 1)
    page.wait_for_selector("#offline-again:visible")
    assert failing.stopped(5)
    said += label(page, 1)  # the reader goes on
    until(page, "document.getElementById('saved').textContent === '2 answers not saved'")
    page.evaluate("() => { dispatchEvent(new Event('online')); }")
    assert failing.stopped(5)
    assert page.text_content("#offline-text") == (
        "Not saved: the server failed 5 times at saving, and its log says why. Nothing is lost: your 2 answers are "
        "kept in this browser. Tell whoever runs the server, then try again."
    )
    page.focus("#offline-again")
    page.keyboard.press("Enter")
    until(page, "document.getElementById('offline-text').textContent.includes('failed 6 times')")
    assert failing.stopped(6)
    assert page.evaluate("() => document.activeElement.id") == "offline-again"
    failing.end()
    page.keyboard.press("Enter")
    saved(page)
    assert not page.is_visible("#offline")
    assert [name_of(entry) for entry in entries(tmp_path / "labels")] == said


def test_failures_between_lost_connections_are_not_in_a_row(serving, browse, tmp_path):
    page = browse(serving())
    on_screen(page)
    failing = Failing(page, "**/api/answer", lost=5)
    said = label(page, 1)
    waiting(page, lambda: failing.count > 20)
    assert "kept here and sent" in page.text_content("#offline-text")
    assert not page.is_visible("#offline-again")
    failing.end()
    saved(page)
    assert [name_of(entry) for entry in entries(tmp_path / "labels")] == said


@pytest.fixture
def own(tmp_path, project):
    """A project of the test's own, whose files it may remove."""
    folder = tmp_path / "own"
    shutil.copytree(project[0], folder, symlinks=True)
    return folder


def test_a_slide_that_goes_is_named_and_left_out(serving, browse, tmp_path, own):
    lost = own / "data/cohort/slides/s1.tiff"
    cohort = read_cohort(own)
    lost.rename(tmp_path / "away.tiff")
    page = browse(serving(cohort=cohort))
    names = label(page, 6)
    assert not any(name.startswith("s1-") for name in names)
    page.wait_for_selector("#gone:visible")
    assert "Slide s1 is left out: slide s1: its file cannot be opened any more" in page.text_content("#gone")
    assert str(own) not in page.text_content("body")
    page.keyboard.press("t")
    settled(page, "sheet")  # those of other slides are there, though they come in one picture
    assert page.locator('.thumb[aria-label^="s0"]:not(.is-empty)').count() > 0
    page.keyboard.press("f")
    page.click("#filters-toggle")
    page.select_option('[name="slide"]', "s1")
    assert on_screen(page) is None  # nothing but what is gone
    saved(page)
    assert {entry["kind"] for entry in entries(tmp_path / "labels")} == {
        "answer"
    }  # nothing is said of what was not seen
    (tmp_path / "away.tiff").rename(lost)
    page.click('#filters [type="reset"]')
    page.select_option('[name="slide"]', "s1")
    assert on_screen(page).startswith("s1-")
    page.keyboard.press("n")
    saved(page)
    assert entries(tmp_path / "labels")[-1]["slide"] == "s1"


def test_a_patch_without_its_picture_can_be_skipped_and_not_answered(serving, browse, tmp_path):
    page = browse(serving())
    first = on_screen(page)
    intercept(
        page, "**/image/*part=patch*", lambda route: route.fulfill(status=404, json={"error": "damaged <b>there</b>"})
    )
    page.reload()
    until(page, "document.getElementById('stage-note').textContent === 'No picture: damaged <b>there</b>'")
    page.keyboard.press("n")
    assert "The picture is not there" in page.text_content("#hint")
    page.unroute("**/image/*part=patch*")
    page.keyboard.press("s")
    assert on_screen(page) != first
    saved(page)
    assert [(entry["kind"], name_of(entry)) for entry in entries(tmp_path / "labels")] == [("skip", first)]
