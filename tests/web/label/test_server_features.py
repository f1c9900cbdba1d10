"""Orders, map and curve of the labelling page, from features that a process of its own makes."""

import base64
import time

import numpy as np
import pytest

from tests.web.label.project import make_project, read_cohort
from tests.web.label.test_server import Reader
from wsss_mm.vocabulary import get_vocabulary
from wsss_mm.web.label.doors import Doors
from wsss_mm.web.label.server import make_app
from wsss_mm.web.label.session import Options, Session
from wsss_mm.web.label.thinking import Seen
from wsss_mm.web.label.work import Job


@pytest.fixture
def begin(tmp_path):
    frame, sessions = make_project(tmp_path, slides=2), []

    def start(**options):
        readers, journals = ["ann"], tmp_path / "labels"
        options = Options(root=tmp_path, **options)
        vocabulary = get_vocabulary("luad_normal")
        session = Session(frame, read_cohort(tmp_path), vocabulary, readers, journals=journals, options=options)
        sessions.append(session)
        return session, Reader(make_app(session, Doors(readers, tmp_path / "server", guarded=False)), "ann")

    yield start
    for session in sessions:
        session.close()


def _until(ask, there):
    end = time.monotonic() + 120
    while not there(found := ask()):
        assert time.monotonic() < end
        time.sleep(0.05)
    return found


def _json(page, path):
    return _until(lambda: page.client.get(path), lambda response: response.status_code != 202).json


def test_the_page_works_before_there_are_features_and_uses_them_when_they_are_there(begin):
    session, ann = begin()
    codes = session.codes
    first = ann.get("/api/queue?order=useful")
    if first["pending"]:
        assert {item["drawn"] for item in first["rows"]} == {"random"}
    found = _until(lambda: ann.get("/api/queue?order=clusters"), lambda found: not found["pending"])
    assert {item["drawn"] for item in found["rows"]} == {"clusters", "random"}
    state = ann.get("/api/state")
    assert state["features"] == {"kind": "statistics", "progress": 1.0}
    assert not state["suggestions"]

    points = base64.b64decode(_json(ann, "/api/embedding")["points"])
    points = np.frombuffer(points, "<f4").reshape(-1, 2)
    assert points.shape == (len(session.table), 2)
    corners = [[-0.1, -0.1], [0.5, -0.1], [0.5, 1.1], [-0.1, 1.1]]
    inside = ann.post("/api/lasso", polygon=corners)["rows"]
    assert inside == np.flatnonzero(points[:, 0] < 0.5).tolist()
    for wrong in ([], [[0, 0]], "x", [[0, 0], [1, "a"], [2, 2]], [[0, 0], [1, 1], [1e400, 1]]):
        ann.post("/api/lasso", 400, polygon=wrong)
    alike = _json(ann, "/api/similar/7?n=9")["rows"]
    assert len(set(alike)) == 9
    assert 7 not in alike

    assert ann.get("/api/curve")["labels"] == []
    order = np.argsort(session.table.frame["x"].to_numpy(), kind="stable")
    for half, state in ((order[:60], "present"), (order[-60:], "absent")):
        ann.answer(*half.tolist(), classes={codes[0]: state})
    curve = _until(lambda: ann.get("/api/curve"), lambda found: "advice" in found)
    assert set(curve) == {"labels", "mean_ap", "low", "high", "slope", "advice"}
    useful = _until(lambda: ann.get("/api/queue?order=useful"), lambda found: not found["pending"])
    assert {item["drawn"] for item in useful["rows"]} >= {"useful"}
    doubtful = _until(lambda: ann.get("/api/queue?order=doubtful"), lambda found: not found["pending"])
    for item in doubtful["rows"][:3]:
        assert ann.get(f"/api/patch/{item['row']}?ticket={item['ticket']}")["mine"] is None
        ann.answer(item["row"], classes={codes[0]: "unsure"}, ticket=item["ticket"])
        assert session.desks["ann"].mine[item["row"]]["drawn"] == "doubtful"


def test_a_thinking_process_that_ends_takes_nothing_with_it(begin):
    session, ann = begin()
    ann.get("/api/queue?order=useful")
    _until(lambda: getattr(session.thinking._process, "pid", None), bool)
    session.thinking._process.kill()
    found = _until(lambda: ann.get("/api/queue?order=useful"), lambda found: not found["pending"])
    assert "start the page anew" in found["note"]
    assert len(found["rows"]) == 50
    ann.answer(found["rows"][0]["row"], classes={session.codes[0]: "present"})
    assert ann.client.get("/api/embedding").status_code == 400


def test_a_suggestion_counts_only_when_it_was_shown_and_taken(begin, monkeypatch):
    session, ann = begin(features=False)
    codes = session.codes
    monkeypatch.setattr(session, "suggestion", lambda row: {codes[0]: 0.93})
    assert ann.get("/api/patch/3")["suggestion"] == {codes[0]: 0.93}
    for row, body, how, shown in (
        (1, {}, "created", None),
        (2, {"how": "confirmed"}, "created", None),
        (3, {"suggested": True}, "created", {codes[0]: 0.93}),
        (4, {"suggested": {codes[0]: 0.1}, "how": "confirmed"}, "confirmed", {codes[0]: 0.93}),
    ):
        ann.answer(row, classes={codes[0]: "present"}, **body)
        entry = session.desks["ann"].mine[row]
        assert (entry["how"], entry.get("suggested")) == (how, shown)


def test_what_a_classifier_thinks_is_told_unless_nobody_wants_to_know(begin, monkeypatch):
    scores = np.array([[0.934, np.nan, 0.2]] * 512, np.float32)
    for wanted in (True, False):
        session, ann = begin(suggestions=wanted)
        scores = np.pad(scores, ((0, 0), (0, len(session.codes) - scores.shape[1])))
        job = Job(result=Seen("classifier", scores))
        monkeypatch.setattr(session, "features_job", lambda job=job: job)
        assert ann.get("/api/state")["suggestions"] is wanted
        rows = ann.get("/api/rows").get("suggested")
        one = ann.get("/api/patch/5")["suggestion"]
        if wanted:
            assert one == {code: pytest.approx(p) for code, p in zip(session.codes, scores[5], strict=True) if p == p}
            assert rows[session.codes[0]] == [93] * 512
            filtered = ann.get(f"/api/queue?class={session.codes[0]}")
            assert filtered["left"] == 512
        else:
            assert (rows, one) == (None, None)
