"""Orders, map and curve of the labelling page, from features that a process of its own makes."""

import base64
import time

import numpy as np
import pytest

from tests.web.label.project import PATCH, make_project, read_cohort
from tests.web.label.test_server import Reader
from wsss_mm.vocabulary import get_vocabulary
from wsss_mm.web.label.doors import Doors
from wsss_mm.web.label.server import make_app
from wsss_mm.web.label.session import Options, Session


@pytest.fixture(scope="module")
def begun(tmp_path_factory):
    folder = tmp_path_factory.mktemp("project")
    frame = make_project(folder, slides=2)
    options = Options(root=folder)
    vocabulary = get_vocabulary("luad_normal")
    session = Session(frame, read_cohort(folder), vocabulary, ["ann"], journals=folder / "labels", options=options)
    yield session, make_app(session, Doors(["ann"], folder / "server", guarded=False))
    session.close()


def _until(ask, there):
    end = time.monotonic() + 120
    while not there(found := ask()):
        assert time.monotonic() < end
        time.sleep(0.05)
    return found


def _json(page, path):
    return _until(lambda: page.client.get(path), lambda response: response.status_code != 202).json


@pytest.mark.leaves("Python's own tracker of shared memory")
def test_the_page_works_before_there_are_features_and_uses_them_when_they_are_there(begun):
    session, app = begun
    ann, codes = Reader(app, "ann"), session.codes
    began = time.monotonic()
    first = ann.get("/api/queue?order=useful")
    assert time.monotonic() - began < 5
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


def test_a_thinking_process_that_ends_takes_nothing_with_it(tmp_path):
    frame = make_project(tmp_path, slides=1)
    options = Options(root=tmp_path)
    vocabulary = get_vocabulary("luad_normal")
    session = Session(frame, read_cohort(tmp_path), vocabulary, ["ann"], journals=tmp_path / "labels", options=options)
    try:
        ann = Reader(make_app(session, Doors(["ann"], tmp_path / "server", guarded=False)), "ann")
        ann.get("/api/queue?order=useful")
        _until(lambda: session.thinking._process, bool)
        session.thinking._process.kill()
        found = _until(lambda: ann.get("/api/queue?order=useful"), lambda found: not found["pending"])
        assert "start the page anew" in found["note"]
        assert len(found["rows"]) == 50
        ann.answer(found["rows"][0]["row"], classes={vocabulary.codes[0]: "present"})
        assert ann.client.get("/api/embedding").status_code == 400
    finally:
        session.close()


def test_a_suggestion_counts_only_when_it_was_shown_and_taken(begun, monkeypatch):
    session, app = begun
    ann, codes = Reader(app, "ann"), session.codes
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
    assert session.table.sizes[0] == PATCH
