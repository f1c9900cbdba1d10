"""The labelling page in a real browser: a reader at the keyboard, at the mouse, and with the server gone."""

import shutil
import signal
from collections import Counter
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from tests.web.label import axe
from tests.web.label.project import read_cohort, running
from tests.web.label.screen import (
    CODES,
    DESK,
    TABLET,
    answers,
    entries,
    intercept,
    label,
    loaded_ahead,
    name_of,
    on_screen,
    saved,
    settled,
    toast,
    truth,
    until,
    waiting,
)
from wsss_mm.vocabulary import Vocabulary, get_vocabulary

pytestmark = pytest.mark.slow


def test_60_patches_by_keyboard_alone(serving, browse, tmp_path):
    page = browse(serving())
    said = label(page, 60)
    saved(page)
    written = entries(tmp_path / "labels")
    assert len(written) == 60
    for name, entry in zip(said, written, strict=True):
        assert name == name_of(entry)
        held = {code for code, state in entry["classes"].items() if state == "present"}
        assert held == truth(name)
        assert set(entry["classes"]) == set(CODES)  # what was not pressed is absent
        assert entry["seconds"] >= 0


def test_each_key_says_what_the_help_says(serving, browse, tmp_path):
    page = browse(serving())
    on_screen(page)
    page.keyboard.press("Enter")
    assert "Press a class" in page.text_content("#hint")
    for key in ("1", "1", "2"):
        page.keyboard.press(key)
    assert page.get_attribute(".class >> nth=0", "aria-pressed") == "mixed"
    page.keyboard.press("Enter")
    for keys in (("n",), ("a", "f"), ("s",), ("1", "1", "1", "3", "Enter")):
        on_screen(page)
        for key in keys:
            page.keyboard.press(key)
    saved(page)
    unsure, none, fold, skipped, third = entries(tmp_path / "labels")
    assert unsure["classes"] == dict(zip(CODES, ("unsure", "present", "absent"), strict=True))
    assert set(none["classes"].values()) == {"absent"}
    assert fold["artefact"] == "fold"
    assert skipped["kind"] == "skip"
    assert third["classes"] == dict(zip(CODES, ("absent", "absent", "present"), strict=True))
    page.keyboard.press("Backspace")
    on_screen(page)
    assert page.get_attribute(".class >> nth=2", "aria-pressed") == "true"  # one's own answer is shown again
    page.keyboard.press("2")
    page.keyboard.press("Enter")
    saved(page)
    assert len(answers(tmp_path / "labels")) == 4
    assert entries(tmp_path / "labels")[-1]["classes"][CODES[1]] == "present"
    assert not entries(tmp_path / "labels")[-1].get("repeat")
    page.keyboard.press("?")
    assert page.is_visible("#help")


def test_keys_of_other_layouts(serving, browse):
    page = browse(serving())
    on_screen(page)
    press = (
        "([key, code, more]) => document.body.dispatchEvent("
        "new KeyboardEvent('keydown', {key, code, bubbles: true, ...more}))"
    )
    page.evaluate(press, ["&", "Digit1", {}])  # French
    assert page.get_attribute(".class >> nth=0", "aria-pressed") == "true"
    page.evaluate(press, ["ф", "KeyA", {}])  # Russian
    assert page.is_visible("#artefact-dialog")
    page.keyboard.press("Escape")
    page.evaluate(press, ["w", "KeyZ", {"ctrlKey": True}])  # French: the key of a US Z
    assert page.get_attribute(".class >> nth=0", "aria-pressed") == "true"
    page.evaluate(press, ["z", "KeyW", {"ctrlKey": True}])  # French Z
    assert page.get_attribute(".class >> nth=0", "aria-pressed") == "false"


def test_a_lasso_of_80_is_one_step(serving, browse, tmp_path, project):
    points = np.random.default_rng(1).uniform(0.5, 1.0, (len(project[1]), 2)).astype(np.float32)
    points[0], points[1] = (0, 0), (1, 1)  # the window shows all of it
    points[100:180] = np.random.default_rng(2).uniform(0.1, 0.2, (80, 2))
    page = browse(serving(points=points))
    on_screen(page)
    page.keyboard.press("m")
    settled(page, "map")
    assert not page.is_visible("#map-note")
    box = page.locator("#map").bounding_box()
    scale = min(box["width"], box["height"]) * 0.94
    left, top = box["x"] + (box["width"] - scale) / 2, box["y"] + (box["height"] - scale) / 2
    corners = [(0.05, 0.05), (0.25, 0.05), (0.25, 0.25), (0.05, 0.25), (0.05, 0.06)]
    page.mouse.move(left + 0.05 * scale, top + 0.05 * scale)
    page.mouse.down()
    for x, y in corners[1:]:
        page.mouse.move(left + x * scale, top + y * scale, steps=6)
    page.mouse.up()
    assert page.text_content("#selected-chip span") == "80 selected"
    page.click("#map-to-sheet")
    settled(page, "sheet")
    assert "80 patches, 80 without" in page.text_content("#shown")
    page.keyboard.press("2")
    saved(page)
    found = answers(tmp_path / "labels")
    wanted = set(zip(project[1]["slide_id"][100:180], project[1]["x"][100:180], project[1]["y"][100:180], strict=True))
    assert {(place.slide, place.x, place.y) for place in found} == wanted
    assert {tuple(answer.states.items()) for answer in found.values()} == {((CODES[1], "present"),)}
    page.keyboard.press("Control+z")
    toast(page, "Taken back: 80 patches")
    assert answers(tmp_path / "labels") == {}
    page.keyboard.press("Control+Shift+Z")
    toast(page, "Done again")
    assert len(answers(tmp_path / "labels")) == 80


def test_a_selection_of_the_sheet_is_one_step_and_keeps_what_was_said(serving, browse, tmp_path):
    page = browse(serving())
    label(page, 3)
    saved(page)
    before = answers(tmp_path / "labels")
    page.keyboard.press("t")
    settled(page, "sheet")
    page.keyboard.press("Home")
    for _ in range(4):
        page.keyboard.press("Shift+ArrowRight")
    assert page.text_content("#selected-chip span") == "5 selected"
    assert page.locator('.thumb[aria-selected="true"]').count() == 5
    page.keyboard.press("3")
    saved(page)
    after = answers(tmp_path / "labels")
    assert len(after) == 5
    for place, answer in before.items():  # the first three of the sheet are the first three of the queue
        assert after[place].states == {**answer.states, CODES[2]: "present"}
    assert page.locator(f'.badge[data-text$="{CODES[2]}"]').count() == 5
    page.keyboard.press("Control+z")
    toast(page, "Taken back: 5 patches")
    assert {place: answer.states for place, answer in answers(tmp_path / "labels").items()} == {
        place: answer.states for place, answer in before.items()
    }
    page.mouse.move(*middle(page, 0))
    page.mouse.down()
    page.mouse.move(*middle(page, 2), steps=5)
    page.mouse.up()
    assert page.text_content("#selected-chip span") == "3 selected"  # a rectangle
    page.mouse.click(*middle(page, 1))
    page.keyboard.down("Control")
    page.mouse.click(*middle(page, 4))
    page.keyboard.up("Control")
    assert page.text_content("#selected-chip span") == "2 selected"
    page.keyboard.press("Control+a")
    page.keyboard.press("1")
    saved(page)
    assert len(answers(tmp_path / "labels")) == 768


def middle(page, index):
    box = page.locator(f"#thumb-{index}").bounding_box()
    return box["x"] + box["width"] / 2, box["y"] + box["height"] / 2


def test_filters_and_order_are_those_of_every_view(serving, browse):
    page = browse(serving())
    label(page, 4)
    saved(page)
    page.click("#filters-toggle")
    page.select_option('[name="slide"]', "s1")
    assert page.text_content("#shown").startswith("256 patches")
    assert on_screen(page).startswith("s1-")
    page.click("#tab-sheet")
    settled(page, "sheet")
    assert page.locator('.thumb:not([aria-label^="s1,"])').count() == 0
    page.click('#filters [type="reset"]')
    page.select_option('[name="state"]', "1")
    assert page.text_content("#shown") == "4 patches, 0 without an answer"
    page.click("#tab-focus")
    on_screen(page)
    assert "Your answer" in page.text_content("#hint")  # what was answered is looked at, not asked again


def test_two_readers_are_blind_to_each_other(serving, browse, tmp_path):
    port = serving()
    ann, bob = browse(port, "ann"), browse(port, "bob")
    label(ann, 12)
    saved(ann)
    assert bob.evaluate("fetch('/api/rows').then((reply) => reply.json())")["mine"] == {}
    bob.reload()
    bob.wait_for_selector("html[data-ready]")
    assert "768 without an answer" in bob.text_content("#shown")
    bob.keyboard.press("t")
    settled(bob, "sheet")
    assert bob.locator(".badge").count() == 0
    bob.keyboard.press("f")
    on_screen(bob)
    bob.keyboard.press("n")
    saved(bob)
    assert len(answers(tmp_path / "labels", "bob")) == 1
    assert len(answers(tmp_path / "labels", "ann")) >= 11


def test_suggestions_count_only_when_confirmed(serving, browse, tmp_path, project):
    scores = np.tile(np.array([0.93, 0.04, 0.61], np.float32), (len(project[1]), 1))
    points = np.zeros((len(project[1]), 2), np.float32)
    port = serving(scores=scores, points=points)
    page = browse(port)
    page.evaluate("fetch('/api/embedding')")
    until(page, "fetch('/api/state').then((r) => r.json()).then((state) => state.suggestions)")
    page.reload()
    on_screen(page)
    page.wait_for_selector(".class.is-suggested")
    assert page.locator(".class.is-suggested").count() == 2
    assert page.text_content(".class >> nth=0").endswith("93 %")
    page.keyboard.press("Enter")  # not pressed: not said
    assert "Press a class" in page.text_content("#hint")
    page.keyboard.press("c")
    page.keyboard.press("Enter")
    on_screen(page)
    page.keyboard.press("2")
    page.keyboard.press("Enter")
    on_screen(page)
    page.keyboard.press("u")
    assert page.locator(".class.is-suggested").count() == 0
    page.keyboard.press("1")
    page.keyboard.press("Enter")
    saved(page)
    first, second, third = entries(tmp_path / "labels")
    assert first["how"] == "confirmed"
    assert first["classes"] == dict(zip(CODES, ("present", "absent", "present"), strict=True))
    assert first["suggested"][CODES[0]] == pytest.approx(0.93, abs=0.001)
    assert (second["how"], third["how"]) == ("created", "created")
    assert "suggested" in second
    assert "suggested" not in third


def test_names_from_outside_are_text(serving, browse, project):
    evil = '<img src=x onerror="document.title=1">'
    classes = [replace(item, name=f"{evil} {item.code}") for item in get_vocabulary("luad_normal").classes]
    cohort, frame = read_cohort(project[0]), project[1]
    cohort = replace(cohort, slides=tuple(replace(slide, slide_id=f"{slide.slide_id}{evil}") for slide in cohort))
    frame = frame.assign(slide_id=frame["slide_id"] + evil, patch_id=frame["patch_id"] + evil, site=evil)
    points = np.random.default_rng(1).uniform(0, 1, (len(frame), 2)).astype(np.float32)
    vocabulary = Vocabulary("evil", tuple(classes))
    page = browse(serving(vocabulary=vocabulary, cohort=cohort, candidates=frame, points=points))
    inert = "document.querySelectorAll('img[src=x]').length === 0 && document.title === 'Tissue labels'"
    assert evil in on_screen(page)
    for place in (".class >> nth=0", "#patch-id", "#facts", '[name="slide"]', '[name="site"]', '[name="class"]'):
        assert evil in page.text_content(place)
    page.keyboard.press("i")
    page.click("#filters-toggle")
    views = {"t": ("sheet", ".thumb"), "m": ("map", "#map-class"), "p": ("view-progress", "#view-progress")}
    for key, (part, place) in {**views, "h": ("draw-stage", "#view-draw"), "?": ("stage", "#help-body")}.items():
        page.keyboard.press(key)
        settled(page, part)
        text = page.locator(place).first.evaluate("item => item.textContent + item.getAttribute('aria-label')")
        assert evil in text or key == "h"  # without OpenSeadragon, there is nothing to draw on
        assert page.evaluate(inert)
    page.keyboard.press("Escape")
    page.keyboard.press("m")
    settled(page, "map")
    for by in ("slide", "site"):
        page.select_option("#map-colour", by)
        settled(page, "map")
        assert evil in page.text_content("#map-legend")
    page.hover("#map")
    intercept(page, "**/api/similar/**", lambda route: route.fulfill(status=400, json={"error": evil}))
    page.keyboard.press("f")
    on_screen(page)
    page.keyboard.press("l")
    toast(page, f"Nothing found: {evil}")
    assert page.evaluate(inert)


def test_what_was_answered_while_the_server_was_gone_is_saved_once(project, browse, tmp_path):
    folder = tmp_path / "own"
    shutil.copytree(project[0], folder, symlinks=True)
    with running(folder, "--reader", "ann", "--no-features") as (process, port):
        page = browse(port)
        label(page, 10)
        saved(page)
        on_screen(page)
        loaded_ahead(page, 5)
        process.send_signal(signal.SIGKILL)
        process.wait()
        label(page, 4)  # of what was loaded ahead
        page.wait_for_selector("#offline:visible")
        assert "4 answers are kept here" in page.text_content("#offline")
        assert page.text_content("#saved") == "4 answers not saved"
        assert "✓" not in page.text_content("#saved")
    with running(folder, "--reader", "ann", "--no-features", port=port):
        saved(page)
        assert not page.is_visible("#offline")
        written = entries(folder / "labels")
        assert len(written) == 14
        assert max(Counter(entry["id"] for entry in written).values()) == 1
        for _ in range(14):
            page.keyboard.press("Control+z")
        on_screen(page)
        saved(page)
        assert answers(folder / "labels") == {}
    with running(folder, "--reader", "ann", "--no-features", port=port):  # what was undone is known after a restart
        for _ in range(14):
            page.keyboard.press("Control+Shift+Z")
        on_screen(page)
        saved(page)
        assert len(answers(folder / "labels")) >= 13  # a second reading replaces nothing


def test_pictures_that_failed_come_back_by_themselves(serving, browse):
    page = browse(serving())
    on_screen(page)
    intercept(page, "**/overview/*.jpg*", lambda route: route.abort())
    intercept(page, "**/image/*part=context*", lambda route: route.abort())
    failed = []
    page.on("requestfailed", lambda request: failed.append(request.url))
    page.reload()
    on_screen(page)
    parts = ("/overview/", "part=context")
    waiting(page, lambda: all(any(part in address for address in failed) for part in parts))
    on_screen(page)
    assert page.locator("#overview img, #context img").count() == 0  # and no sign of a broken picture
    page.unroute("**/overview/*.jpg*")
    page.unroute("**/image/*part=context*")
    page.wait_for_selector("#overview img")
    page.wait_for_selector("#context img")


def test_leaving_with_unsaved_answers_warns_and_the_next_page_sends_them(project, browse, tmp_path):
    folder = tmp_path / "own"
    shutil.copytree(project[0], folder, symlinks=True)
    asked = []
    with running(folder, "--reader", "ann", "--no-features") as (process, port):
        page = browse(port)
        label(page, 1)
        saved(page)
        on_screen(page)
        loaded_ahead(page, 3)
        process.send_signal(signal.SIGKILL)
        process.wait()
        label(page, 2)
        page.wait_for_selector("#offline:visible")
        page.on("dialog", lambda dialog: (asked.append(dialog.type), dialog.accept()))
        page.close(run_before_unload=True)
        context = page.context
        other = context.new_page()
        waiting(other, page.is_closed)
        assert asked == ["beforeunload"]
    with running(folder, "--reader", "ann", "--no-features", port=port):
        page = other
        page.goto(f"http://127.0.0.1:{port}/")
        saved(page)
        assert len(entries(folder / "labels")) == 3


def test_an_answer_that_is_refused_is_said_and_not_shown_as_given(serving, browse, tmp_path):
    page = browse(serving())
    on_screen(page)
    intercept(page, "**/api/answer", lambda route: route.fulfill(status=400, json={"error": "the disk says no"}))
    page.keyboard.press("1")
    page.keyboard.press("Enter")
    toast(page, "Not saved: the disk says no")
    assert page.text_content("#saved") == ""
    until(page, "document.getElementById('shown').textContent.startsWith('768 patches, 768 ')")
    assert not (tmp_path / "labels/ann.jsonl").exists() or entries(tmp_path / "labels") == []


def test_after_the_mouse_the_keys_go_on(serving, browse, tmp_path):
    page = browse(serving())
    first = on_screen(page)
    page.click(".class >> nth=1")
    page.keyboard.press("Enter")  # saves, and does not press the button again
    assert on_screen(page) != first
    page.click("#save")
    assert "Press a class" in page.text_content("#hint")
    page.keyboard.press("n")
    on_screen(page)
    page.select_option("#order", "random")
    on_screen(page)
    page.keyboard.press("1")
    page.keyboard.press("Enter")
    saved(page)
    assert entries(tmp_path / "labels")[0]["classes"][CODES[1]] == "present"


def test_disagreements_are_settled_blind(serving, browse, tmp_path):
    pytest.importorskip("wsss_mm.labelling.agreement")
    port = serving()
    ann, bob = browse(port, "ann"), browse(port, "bob")
    for page, key in ((ann, "1"), (bob, "2")):
        page.keyboard.press("t")
        page.select_option("#order", "slide")
        page.locator("#sheet").focus()
        settled(page, "sheet")
        page.keyboard.press("Home")
        page.keyboard.press("Shift+ArrowRight")
        page.keyboard.press("Shift+ArrowRight")
        page.keyboard.press(key)
        page.keyboard.press("d")
        saved(page)
    places = answers(tmp_path / "labels", "ann").keys() & answers(tmp_path / "labels", "bob").keys()
    assert len(places) == 3
    ann.keyboard.press("p")
    ann.click("text=Settle them")
    for _ in range(3):
        on_screen(ann)
        assert ann.locator(".class:not([disabled])").count() == 2  # the disputed ones
        assert ann.locator('.class:not([aria-pressed="false"])').count() == 0
        assert "bob" not in ann.text_content("#view-focus")
        ann.keyboard.press("2")
        ann.keyboard.press("Enter")
    saved(ann)
    ann.wait_for_selector("#finished:visible")
    decided = [entry for entry in entries(tmp_path / "labels") if entry["kind"] == "settle"]
    assert [entry["classes"] for entry in decided] == [{CODES[0]: "absent", CODES[1]: "present"}] * 3


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("size", [DESK, TABLET], ids=["desk", "tablet"])
def test_nothing_serious_for_other_eyes_and_hands(serving, browse, project, size, scheme):
    if not axe.AXE.archive.is_file():
        pytest.skip(f"axe-core is not installed: {axe.AXE.setup}")
    scores = np.tile(np.array([0.93, 0.04, 0.61], np.float32), (len(project[1]), 1))
    points = np.random.default_rng(1).uniform(0, 1, (len(project[1]), 2)).astype(np.float32)
    page = browse(serving(scores=scores, points=points), size=size, scheme=scheme)
    label(page, 3)
    saved(page)
    page.evaluate(axe.source())
    page.click("#filters-toggle")
    found = {}
    views = {"f": "stage", "t": "sheet", "m": "map", "p": "view-progress", "?": "view-progress"}
    for key, part in views.items():
        page.locator("#main").focus()
        page.keyboard.press(key)
        settled(page, part)
        if key == "t":
            page.keyboard.press("Home")
            page.keyboard.press("Shift+ArrowRight")
        if key == "f":
            page.keyboard.press("1")
        report = page.evaluate("axe.run({resultTypes: ['violations']})")
        found[key] = [
            (item["id"], [node["html"][:120] for node in item["nodes"][:3]])
            for item in report["violations"]
            if item["impact"] in ("serious", "critical")
        ]
        wide = page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
        assert wide <= 0, f"{key} is wider than the window"
    assert found == {key: [] for key in found}


def test_buttons_are_large_enough_for_fingers(serving, browse):
    page = browse(serving(), size=TABLET, has_touch=True)
    on_screen(page)
    for view in ("focus", "sheet", "map", "progress"):
        page.click(f"#tab-{view}")
        sizes = page.evaluate(
            "[...document.querySelectorAll('button, select')]"
            ".filter((item) => item.offsetParent && !item.closest('.chip'))"
            ".map((item) => [item.textContent.slice(0, 30), item.offsetWidth, item.offsetHeight])"
        )
        assert [size for size in sizes if min(size[1:]) < 40] == []
    page.click("#tab-focus")
    page.tap(".class >> nth=1")
    assert page.get_attribute(".class >> nth=1", "aria-pressed") == "true"


def test_a_sheet_of_50_000_holds_what_is_in_sight_alone(serving, browse, project):
    """How fast it scrolls is in benchmarks/labelling_page.py; this is what it rests on."""
    shifts = range(-(-50_000 // len(project[1])))
    frame = pd.concat(
        [project[1].assign(x=project[1]["x"] + shift % 50, y=project[1]["y"] + shift // 50) for shift in shifts]
    )
    frame = frame.drop_duplicates(["slide_id", "x", "y"])[:50_000].reset_index(drop=True)
    page = browse(serving(candidates=frame))
    page.keyboard.press("t")
    settled(page, "sheet")
    assert page.text_content("#shown").startswith(f"{len(frame):,} patches")
    counts = page.evaluate("""async () => {
      const sheet = document.getElementById('sheet');
      const counts = [];
      for (let at = 0; at <= 10; at += 1) {
        sheet.scrollTop = (sheet.scrollHeight * at) / 10;
        await new Promise(requestAnimationFrame);
        await new Promise(requestAnimationFrame);
        counts.push([document.querySelectorAll('.thumb').length, document.querySelectorAll('*').length]);
      }
      return counts;
    }""")
    assert max(thumbs for thumbs, _ in counts) < 400
    assert max(nodes for _, nodes in counts) < 3000
    settled(page, "sheet")
    assert page.locator(".thumb.is-empty").count() == 0
    assert page.locator(f'.thumb[aria-posinset="{len(frame)}"]').count() == 1
