"""What somebody finds wrong in a segmented slide becomes an answer in a journal, and nobody else's page can say it."""

import errno
import json
import re
from html import unescape
from uuid import uuid4

import pytest

from tests.wsi.viewer.marking import LUNG, SETTINGS, make_marking
from tests.wsi.viewer.test_server import SCRIPT
from wsss_mm.labelling import Place, journal_path, read_journals
from wsss_mm.labelling.settled import label_rows, settle_labels
from wsss_mm.wsi.viewer import make_app

SAID = {"x": 130.0, "y": 5.0, "classes": {"TE": "present", "NEC": "absent", "LYM": "absent", "TAS": "unsure"}}
PLACE = Place("s1", 128, 0, 1.0, 64)


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    return make_marking(tmp_path_factory.mktemp("marking"))


@pytest.fixture
def page(made):
    """A page of the viewer: posts as the script does."""
    for path in made.labels.iterdir():
        path.unlink()
    return Page(made)


class Page:
    def __init__(self, made):
        self.made, self.folder = made, made.labels
        self.client = make_app(list(made.results.values()), made.slides, SCRIPT, made.desk()).test_client()
        self.token = self.told("s1")["token"]

    def told(self, slide):
        text = self.client.get(f"/slides/{slide}/").text
        return json.loads(unescape(re.search(r'data-wrong="([^"]*)"', text)[1]))

    def post(self, path, expected=200, token=None, **body):
        headers = {"X-WSSS-Token": self.token if token is None else token}
        answer = self.client.post(path, json={"id": uuid4().hex, **body}, headers=headers)
        assert answer.status_code == expected, answer.data
        return answer.json

    def answers(self):
        return read_journals(self.folder).answers("ann")


def test_the_patch_of_the_lines_grid_is_found(page):
    place = page.client.get("/slides/s1/patch?x=130&y=5").json
    assert place == {"place": {"x": 128, "y": 0, "side": 128.0}, "patch_id": "s1-128-0"}
    assert page.client.get("/slides/s1/patch?x=383.9&y=383.9").json["patch_id"] == "s1-256-256"
    for nothing in ("x=-1&y=5", "x=511.9&y=383.9"):  # beside the slide, and glass, which nobody is asked about
        assert page.client.get(f"/slides/s1/patch?{nothing}").json == {"place": None}
    for wrong in ("x=nan&y=1", "x=1", "x=a&y=1", "x=inf&y=1"):
        assert page.client.get(f"/slides/s1/patch?{wrong}").status_code == 400


def test_what_is_said_is_an_answer_that_the_line_takes(page, made):
    saved = page.post("/slides/s1/wrong", **SAID, seconds=2.5)["saved"]
    (answer,) = page.answers()
    assert (answer.id, answer.place, answer.drawn, answer.seconds) == (saved[0], PLACE, "correction", 2.5)
    assert answer.states == SAID["classes"]
    (entry,) = read_journals(page.folder).entries["ann"]
    assert entry["corrects"] == made.results["s1"].model
    rows = label_rows(settle_labels(read_journals(page.folder)), LUNG, mpp=SETTINGS.mpp, size=SETTINGS.size)
    assert rows == [{"slide_id": "s1", "x": "128", "y": "0", "labels": "TE", "unsure": "TAS", "source": "single"}]
    assert read_journals(page.folder).marks() == []


def test_a_mark_brings_the_patch_up_again_with_an_answer_or_without(page):
    page.post("/slides/s1/wrong", x=1, y=1, again=True)
    assert page.answers() == []
    assert read_journals(page.folder).marks() == [Place("s1", 0, 0, 1.0, 64)]
    saved = page.post("/slides/s1/wrong", **SAID, again=True)["saved"]
    assert len(saved) == 2
    assert read_journals(page.folder).marks() == [Place("s1", 0, 0, 1.0, 64), PLACE]
    page.post("/slides/s1/undo", of=saved)
    assert page.answers() == []
    assert read_journals(page.folder).marks() == [Place("s1", 0, 0, 1.0, 64)]


def test_the_same_request_again_writes_nothing(page, made):
    one = page.post("/slides/s1/wrong", **SAID, again=True, id="a" * 32)
    data = journal_path("ann", page.folder).read_bytes()
    assert page.post("/slides/s1/wrong", **SAID, again=True, id="a" * 32) == one
    again = Page(made)  # started anew
    assert again.token != page.token
    assert again.post("/slides/s1/wrong", **SAID, again=True, id="a" * 32) == one
    assert journal_path("ann", page.folder).read_bytes() == data


@pytest.mark.parametrize(
    "body",
    [
        {"x": 1, "y": 1},
        {**SAID, "classes": {"MUC": "present"}},
        {**SAID, "classes": {"TE": "perhaps"}},
        {**SAID, "classes": ["TE"]},
        {**SAID, "x": "../.."},
        {**SAID, "x": -5},
        {**SAID, "id": "../../x"},
        {**SAID, "id": 7},
        {**SAID, "seconds": "long"},
        {**SAID, "seconds": -1},
    ],
)
def test_what_is_no_answer_is_refused(page, body):
    assert "error" in page.post("/slides/s1/wrong", 400, **body)
    assert page.answers() == []


def test_no_other_page_can_say_anything(page):
    for path, body in (("wrong", SAID), ("undo", {"of": ["a" * 32]})):
        for token in ("", "x", page.token[:-1], page.token + "\u00e9"):
            assert "reload" in page.post(f"/slides/s1/{path}", 403, token=token, **body)["error"]
        form = page.client.post(f"/slides/s1/{path}", data=body, headers={"X-WSSS-Token": page.token})
        assert form.status_code == 400
        other = page.client.post(
            f"/slides/s1/{path}", json=body, headers={"X-WSSS-Token": page.token, "Host": "evil.example"}
        )
        assert other.status_code == 400
    large = page.client.post("/slides/s1/wrong", data=b"[" * 70_000, headers={"X-WSSS-Token": page.token})
    assert large.status_code in (400, 413)
    assert list(page.folder.iterdir()) == []


def test_only_what_was_said_here_is_taken_back(page):
    page.post("/slides/s1/undo", 400, of=["a" * 32])
    page.post("/slides/s1/undo", 400, of=[])
    page.post("/slides/s1/undo", 400, of="all")


def test_where_nothing_can_be_said_the_page_says_why(page):
    assert "wsss-mm cohort add" in page.told("stranger")["refusal"]
    assert "Draw" in page.told("judged")["refusal"]
    for slide in ("stranger", "judged"):
        assert "pick" not in re.findall(r'id="(\w+)"', page.client.get(f"/slides/{slide}/").text)
        page.post(f"/slides/{slide}/wrong", 400, **SAID)
    page.post("/slides/none/wrong", 404, **SAID)


def test_a_full_disk_is_no_fault_of_the_page(page, monkeypatch):
    def full(_):
        raise OSError(errno.ENOSPC, "full")

    monkeypatch.setattr("wsss_mm.labelling.journal_file.os.fsync", full)
    assert "no space" in page.post("/slides/s1/wrong", 503, **SAID)["error"]
    monkeypatch.undo()
    assert page.answers() == []


def test_a_viewer_without_journals_has_no_such_thing(made):
    client = make_app(list(made.results.values()), made.slides, SCRIPT).test_client()
    assert 'id="wrong"' not in client.get("/slides/s1/").text
    assert client.post("/slides/s1/wrong", json=SAID).status_code == 404
