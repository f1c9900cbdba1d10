"""Notes on slides, and bad slides: what one page says is kept, and nobody else's page can say it."""

import json
import re
from concurrent.futures import ThreadPoolExecutor
from html import unescape
from uuid import uuid4

import pytest

from tests.wsi.viewer.marking import make_marking
from tests.wsi.viewer.test_server import SCRIPT
from wsss_mm.errors import InputError
from wsss_mm.patches.quarantine import Entry, add_entries, read_quarantine
from wsss_mm.wsi.viewer import make_app
from wsss_mm.wsi.viewer.guard import Guard
from wsss_mm.wsi.viewer.remarks import read_notes

NOTE = {"note": "seam  here?\n really", "x": 100.4, "y": 20}


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    return make_marking(tmp_path_factory.mktemp("remarks"))


class Page:
    """A page of the viewer: posts as the script does."""

    def __init__(self, made, reader="ann", *, within=True):
        self.made, guard = made, Guard()
        self.desk = made.remarks(reader, guard, within=within)
        results = list(made.results.values())
        app = make_app(results, made.slides, SCRIPT, made.desk(reader, guard), remarks=self.desk)
        self.client = app.test_client()
        self.token = self.told("s1")["token"]

    def told(self, slide):
        text = self.client.get(f"/slides/{slide}/").text
        return json.loads(unescape(re.search(r'data-remarks="([^"]*)"', text)[1]))

    def post(self, path, expected=200, token=None, **body):
        headers = {"X-WSSS-Token": self.token if token is None else token}
        answer = self.client.post(f"/slides/{path}", json={"id": uuid4().hex, **body}, headers=headers)
        assert answer.status_code == expected, answer.data
        return answer.json

    @property
    def quarantine(self):
        return read_quarantine(self.made.folder / "quarantine.csv")


@pytest.fixture
def page(made):
    for name in ("notes.csv", "quarantine.csv"):
        (made.folder / name).unlink(missing_ok=True)
    return Page(made)


def test_a_note_stays_and_is_taken_back(page):
    identity = uuid4().hex
    (note,) = page.post("s1/note", **NOTE, id=identity)["notes"]
    assert (note["id"], note["slide_id"], note["x"], note["y"]) == (identity, "s1", 100, 20)
    assert (note["note"], note["reader"]) == ("seam here? really", "ann")
    page.post("s1/note", **NOTE, id=identity)  # was answered, and the answer was lost
    page.post("s1/note", **NOTE | {"note": "=1+1"})
    page.post("stranger/note", **NOTE)
    assert [one.note for one in read_notes(page.made.folder / "notes.csv")] == [
        "seam here? really",
        "=1+1",
        note["note"],
    ]
    assert "'=1+1" in (page.made.folder / "notes.csv").read_text()
    assert [one["note"] for one in page.told("s1")["notes"]] == ["seam here? really", "=1+1"]
    assert [one["note"] for one in page.post("s1/unsay", note=identity)["notes"]] == ["=1+1"]
    page.post("s1/unsay", note=identity)
    assert len(page.told("stranger")["notes"]) == 1


def test_a_note_of_somebody_else_stays(page):
    identity = uuid4().hex
    page.post("s1/note", **NOTE, id=identity)
    other = Page(page.made, "bob")
    assert "ann" in other.post("s1/unsay", 400, note=identity)["error"]
    assert len(other.told("s1")["notes"]) == 1


def test_many_who_write_at_once_lose_nothing(page):
    result = page.made.results["s1"]
    with ThreadPoolExecutor(8) as pool:
        said = [
            pool.submit(page.desk.remarks.add_note, result, f"note {number}", (number, 0), uuid4().hex)
            for number in range(24)
        ]
    assert all(one.exception() is None for one in said)
    kept = {note.note for note in read_notes(page.made.folder / "notes.csv")}
    assert kept == {f"note {number}" for number in range(24)}


@pytest.mark.parametrize("wrong", [{"note": ""}, {"note": " \n"}, {"note": 5}, {"note": "x" * 2001}, {"x": "nan"}])
def test_what_is_no_note_is_refused(page, wrong):
    page.post("s1/note", 400, **NOTE | wrong)
    page.post("s1/note", 400, **NOTE, id="short")
    assert read_notes(page.made.folder / "notes.csv") == []


def test_a_bad_slide_is_put_into_the_quarantine_and_taken_back(page):
    assert page.told("s1")["aside"] is None
    said = page.post("s1/bad", reason="out of\nfocus")["aside"]
    assert (said["reason"], said["reviewer"], said["own"]) == ("out of focus", "ann", True)
    (entry,) = page.quarantine
    assert (entry.kind, entry.id, entry.reason, entry.reviewer) == ("slide", "s1", "out of focus", "ann")
    page.post("s1/bad", reason="again")
    assert [one.reason for one in page.quarantine] == ["out of focus"]
    assert "Set aside: out of focus" in page.client.get("/").text
    assert page.post("s1/good")["aside"] is None
    assert page.quarantine == []
    page.post("s1/good", 400)


def test_what_somebody_else_set_aside_is_not_taken_back_here(page):
    row = Entry("slide", "s1", "", "", "faded", "bob", "2026-01-01")
    add_entries([row], page.made.folder / "quarantine.csv")
    assert page.told("s1")["aside"]["own"] is False
    assert "bob" in page.post("s1/good", 400)["error"]
    assert page.quarantine == [row]


def test_only_slides_of_the_cohort_can_be_bad(page):
    assert "not in the cohort" in page.told("stranger")["refusal"]
    assert "not in the cohort" in page.post("stranger/bad", 400, reason="x")["error"]
    for nothing in ("", 5, "x" * 301):
        page.post("s1/bad", 400, reason=nothing)
    outside = Page(page.made, within=False)
    assert "project" in outside.told("s1")["refusal"]
    outside.post("s1/bad", 400, reason="x")
    outside.post("s1/note", **NOTE)
    assert page.quarantine == []


def test_nobody_else_writes(page):
    for path, body in (("note", NOTE), ("unsay", {"note": "a" * 32}), ("bad", {"reason": "x"}), ("good", {})):
        for token in ("", "x", Guard().token):
            page.post(f"s1/{path}", 403, token, **body)
        page.post(f"none/{path}", 404, **body)
        assert page.client.get(f"/slides/s1/{path}").status_code in (404, 405)
        headers = {"X-WSSS-Token": page.token}
        assert page.client.post(f"/slides/s1/{path}", data="x=1", headers=headers).status_code == 400
        strange = {**headers, "Host": "evil.example"}
        assert page.client.post(f"/slides/s1/{path}", json=body, headers=strange).status_code == 400
    assert not (page.made.folder / "notes.csv").exists()
    assert page.quarantine == []


def test_html_in_notes_is_text(page):
    page.post("s1/note", **NOTE | {"note": "</script><img src=x onerror=alert(1)>'\""})
    text = page.client.get("/slides/s1/").text
    assert "<img src=x" not in text
    assert page.told("s1")["notes"][0]["note"].startswith("</script>")


def test_damaged_tables_are_named(page):
    path = page.made.folder / "notes.csv"
    path.write_text("id,slide_id,x,y,note,reader,time\n1,s1,0,0,a,b,c\n")
    with pytest.raises(InputError, match=r"notes\.csv: line 2: id or place is none"):
        read_notes(path)
    assert "line 2" in page.told("s1")["refusal"]
    assert "line 2" in page.post("s1/note", 400, **NOTE)["error"]
    path.unlink()
    (page.made.folder / "quarantine.csv").write_text("no table")
    assert "quarantine.csv" in page.told("s1")["refusal"]
    assert page.client.get("/").status_code == 200
