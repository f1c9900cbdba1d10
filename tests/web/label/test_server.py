"""What the labelling page is told, what it may change, and who may."""

import io
import json
import re
import threading
import time
from collections import Counter
from uuid import uuid4

import numpy as np
import pytest
from PIL import Image

from tests.web.label.project import make_project, picture, read_cohort
from wsss_mm.labelling.journal import Journal, history, journal_path, new_entry, read_journals
from wsss_mm.sampling.order import by_slide
from wsss_mm.slides import open_slide
from wsss_mm.vocabulary import get_vocabulary
from wsss_mm.web.label.doors import Doors
from wsss_mm.web.label.server import make_app
from wsss_mm.web.label.session import Options, Session

TOKEN = "X-WSSS-Token"
QUIET = Options(features=False)


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    folder = tmp_path_factory.mktemp("project")
    return folder, make_project(folder)


@pytest.fixture
def begin(project, tmp_path):
    """Starts a session anew, as a restarted server does; ended with the test."""
    folder, frame = project
    begun = []

    def start(readers=("ann", "bob"), *, guarded=False, candidates=frame, options=QUIET, **more):
        vocabulary = get_vocabulary("luad_normal")
        session = Session(
            candidates, read_cohort(folder), vocabulary, readers, journals=tmp_path / "labels", options=options
        )
        begun.append(session)
        doors = Doors(readers, tmp_path / "server", guarded=guarded)
        return session, doors, make_app(session, doors, **more)

    yield start
    for session in begun:
        session.close()


class Reader:
    """A reader's page."""

    def __init__(self, app, reader):
        self.client = app.test_client()
        page = self.client.get(f"/?reader={reader}", follow_redirects=True).text
        self.token = re.search(r'token" content="([^"]+)"', page)[1]

    def get(self, path):
        response = self.client.get(path)
        assert response.status_code == 200, response.data
        if response.headers.get("Content-Encoding") == "gzip":
            import gzip

            return json.loads(gzip.decompress(response.data))
        return response.json if response.is_json else response.data

    def post(self, path, expected=200, token=None, **body):
        body.setdefault("id", uuid4().hex)
        response = self.client.post(path, json=body, headers={TOKEN: token or self.token})
        assert response.status_code == expected, response.data
        return response.json

    def answer(self, *rows, expected=200, **body):
        return self.post("/api/answer", expected, rows=list(rows), **body)


@pytest.fixture
def codes():
    return get_vocabulary("luad_normal").codes


@pytest.fixture
def ann(begin):
    return Reader(begin()[2], "ann")


def _said(code):
    return {"classes": {code: "present"}}


def test_an_answer_is_in_the_journal_before_it_is_called_saved(begin, tmp_path, codes):
    session, _, app = begin()
    ann = Reader(app, "ann")
    item = ann.get("/api/queue?order=random")["rows"][0]
    saved = ann.answer(
        item["row"], classes={codes[0]: "present", codes[1]: "unsure"}, seconds=2.5, ticket=item["ticket"]
    )["saved"]
    entry = Journal(journal_path("ann", tmp_path / "labels"), "ann").entries()[-1]
    assert entry["id"] == saved[0]
    assert entry["classes"] == {codes[0]: "present", codes[1]: "unsure"}
    assert (entry["drawn"], entry["how"], entry["seconds"], entry["kind"]) == ("random", "created", 2.5, "answer")
    place = session.table.frame.iloc[item["row"]]
    assert [entry[name] for name in ("slide", "x", "y", "mpp", "size")] == [
        place[name] for name in ("slide_id", "x", "y", "mpp", "size")
    ]
    assert "repeat" not in entry


def test_a_request_that_comes_twice_is_carried_out_once_also_by_the_next_server(begin, tmp_path, codes):
    name, undo = uuid4().hex, uuid4().hex
    for restart in range(2):
        ann = Reader(begin()[2], "ann")
        for _ in range(2):
            saved = ann.answer(3, 4, id=name, **_said(codes[0]))["saved"]
            assert len(saved) == 2
        if restart == 0:
            first = saved
            ann.answer(5, **_said(codes[0]))
        for _ in range(2):
            assert ann.post("/api/undo", id=undo)["undone"] == [5]
        assert saved == first
    kinds = Counter(entry["kind"] for entry in Journal(journal_path("ann", tmp_path / "labels"), "ann").entries())
    assert kinds == {"answer": 3, "undo": 1}


def test_undo_is_without_end_and_over_restarts_and_agrees_with_the_journal(begin, tmp_path, codes):
    rng, journal = np.random.default_rng(4), Journal(journal_path("ann", tmp_path / "labels"), "ann")
    for _ in range(3):
        session, _, app = begin()
        ann, desk = Reader(app, "ann"), session.desks["ann"]
        for _ in range(25):
            rows = rng.choice(40, rng.integers(1, 4), replace=False).tolist()
            match rng.integers(5):
                case 0 | 1:
                    ann.answer(*rows, **_said(codes[int(rng.integers(2))]))
                case 2:
                    ann.post("/api/skip", row=rows[0])
                case 3:
                    ann.post("/api/undo")
                case 4:
                    ann.post("/api/redo")
        assert (desk._steps, desk._taken_back) == history(journal.entries())
        journals = read_journals(tmp_path / "labels")
        current = {session.table.row_of(a.place._asdict()): a.id for a in journals.answers("ann")}
        assert current == {row: entry["id"] for row, entry in desk.mine.items()}
        fresh = begin()[0].desks["ann"]
        np.testing.assert_array_equal(fresh.state, desk.state)
        assert fresh.mine == desk.mine
        assert fresh.counts(codes) == desk.counts(codes)
        assert (fresh.per_slide(), fresh.count, fresh._sequence) == (desk.per_slide(), desk.count, desk._sequence)
    while ann.post("/api/undo")["undone"]:
        pass
    assert not desk.mine
    assert not desk.state.any()
    assert desk.count == 0


def test_a_sheet_is_one_step_and_may_say_different_things(begin, codes):
    ann = Reader(begin()[2], "ann")
    ann.answer(1, 2, 3, classes={codes[0]: "present"}, each={"2": {codes[1]: "absent"}})
    mine = ann.get("/api/rows")["mine"]
    assert {row: entry["classes"] for row, entry in mine.items()} == {
        "1": {codes[0]: "present"},
        "2": {codes[1]: "absent"},
        "3": {codes[0]: "present"},
    }
    undone = ann.post("/api/undo")
    assert undone["undone"] == [1, 2, 3]
    assert undone["mine"] == {"1": None, "2": None, "3": None}
    assert undone["state"] == {"1": 0, "2": 0, "3": 0}
    assert ann.post("/api/redo")["state"] == {"1": 1, "2": 1, "3": 1}


def test_a_second_reader_sees_nothing_of_the_first_ones_answers(begin, codes):
    app = begin()[2]
    ann, bob = Reader(app, "ann"), Reader(app, "bob")
    before = {path: bob.get(path) for path in ("/api/rows", "/api/queue?order=random", "/api/patch/7")}
    state = bob.get("/api/state")
    ann.answer(7, 8, classes=dict.fromkeys(codes, "present"))
    ann.answer(9, classes={}, artefact="pen")
    ann.post("/api/skip", row=10)
    assert {path: bob.get(path) for path in before} == before
    after = bob.get("/api/state")
    assert after["progress"].pop("readers") == [{"id": "ann", "answered": 3}, {"id": "bob", "answered": 0}]
    state["progress"].pop("readers")
    assert after == state
    bob.answer(7, **_said(codes[0]))
    assert bob.post("/api/undo")["undone"] == [7]
    assert bob.post("/api/undo")["undone"] == []  # hers are not his to undo
    assert ann.get("/api/patch/7")["mine"]["classes"] == dict.fromkeys(codes, "present")


def test_the_queue_goes_on_where_its_reader_stopped(begin, codes):
    ann = Reader(begin()[2], "ann")
    rows = [item["row"] for item in ann.get("/api/queue?order=random")["rows"]]
    assert len(set(rows)) == len(rows)
    for row in rows[:5]:
        ann.answer(row, **_said(codes[0]))
    ann.post("/api/skip", row=rows[5])
    again = Reader(begin()[2], "ann").get("/api/queue?order=random")
    assert [item["row"] for item in again["rows"]][:40] == rows[6:46]
    assert again["left"] == 3 * 256 - 6
    more = ann.get("/api/queue?order=random&skip=" + ",".join(map(str, rows[6:])))
    assert not set(rows) & {item["row"] for item in more["rows"]}


def test_the_order_by_slide_is_that_of_the_studies(begin):
    table = begin()[0].table
    np.testing.assert_array_equal(table.by_slide(), by_slide(table.frame))


def test_filters(begin, codes):
    session, _, app = begin()
    ann = Reader(app, "ann")
    slides = np.array([item.slide_id for item in session.table.slides])[session.table.slide]

    def rows(query):
        return [item["row"] for item in ann.get(f"/api/queue?order=slide&{query}")["rows"]]

    assert set(slides[rows("slide=s1")]) == {"s1"}
    assert set(slides[rows("site=north&n=100")]) == {"s0"}
    ann.answer(300, classes={codes[0]: "present", codes[1]: "absent"})
    ann.answer(301, classes={codes[0]: "unsure"})
    ann.answer(302, classes={}, artefact="fold")
    ann.post("/api/skip", row=303)
    assert rows(f"class={codes[0]}") == [300]
    assert rows(f"class={codes[0]}&state=unsure") == [301]
    assert rows(f"class={codes[1]}&state=absent") == [300]
    assert rows("state=artefact") == [302]
    assert rows("state=skipped") == [303]
    assert sorted(rows("state=answered")) == [300, 301]
    for wrong in ("slide=none", "site=none", "class=none", "state=none", "order=none", "n=-1", "skip=a"):
        assert ann.client.get(f"/api/queue?{wrong}").status_code == 400, wrong


def test_four_in_a_hundred_come_twice_and_are_not_told_apart(begin, tmp_path, codes):
    session, _, app = begin(["ann"])
    ann, shown, repeats = Reader(app, "ann"), [], 0
    while len(shown) < 500:
        for item in ann.get("/api/queue?order=random")["rows"]:
            assert set(item) == {"row", "drawn", "ticket"}
            assert item["drawn"] == "random"
            if item["row"] in shown:
                repeats += 1
                assert shown[::-1].index(item["row"]) >= 20
            assert ann.get(f"/api/patch/{item['row']}?ticket={item['ticket']}")["mine"] is None
            shown.append(item["row"])
            ann.answer(item["row"], ticket=item["ticket"], **_said(codes[repeats % 2]))
    assert 0.03 <= repeats / len(shown) <= 0.05
    journals = read_journals(tmp_path / "labels")
    assert len(journals.repeats("ann")) == repeats
    assert max(Counter(shown).values()) == 2
    assert all(entry["drawn"] == "random" for entry in session.desks["ann"].mine.values())
    first = {session.table.row_of(a.place._asdict()): a.states for a in journals.answers("ann")}
    assert len(first) == len(set(shown))


def test_only_a_queue_says_that_a_patch_was_drawn_at_random(begin, codes):
    session, doors, app = begin()
    ann = Reader(app, "ann")
    item = ann.get("/api/queue?order=random")["rows"][0]
    other = (item["row"] + 1) % len(session.table)
    for row, body in (
        (1, {"drawn": "random"}),
        (2, {"drawn": "similar"}),
        (other, {"drawn": "random", "ticket": item["ticket"]}),
        (item["row"], {"ticket": item["ticket"]}),
        (4, {"drawn": "random", "ticket": doors.ticket("bob", 4, "random", repeat=True)}),
    ):
        ann.answer(row, **_said(codes[0]), **body)
    mine = session.desks["ann"].mine
    assert [mine[row]["drawn"] for row in (1, 2, other, item["row"], 4)] == [
        "search",
        "similar",
        "search",
        "random",
        "search",
    ]


def test_a_correction_replaces_the_reading_that_it_corrects(begin, tmp_path, codes):
    session, doors, app = begin(["ann"])
    ann, desk = Reader(app, "ann"), session.desks["ann"]
    first, second = (doors.ticket("ann", 1, "random", repeat=again) for again in (False, True))
    ann.answer(1, classes={codes[0]: "present"}, ticket=first)
    ann.answer(1, classes={codes[0]: "absent"}, ticket=second)
    ann.answer(1, classes={codes[0]: "unsure"}, ticket=second)
    readings = read_journals(tmp_path / "labels").second_readings("ann")
    assert [(a.states[codes[0]], b.states[codes[0]]) for a, b in readings] == [("present", "unsure")]
    ann.answer(1, classes={codes[0]: "absent"})  # in the sheet
    assert (desk.mine[1]["classes"], desk.mine[1]["drawn"]) == ({codes[0]: "absent"}, "random")
    assert (desk._steps, desk._taken_back) == history(
        Journal(journal_path("ann", tmp_path / "labels"), "ann").entries()
    )
    fresh = begin(["ann"])[0].desks["ann"]
    assert (fresh.mine, fresh._sequence, fresh._twice) == (desk.mine, desk._sequence, desk._twice)


@pytest.mark.parametrize(
    "body",
    [
        {"rows": []},
        {"rows": "1"},
        {"rows": [-1]},
        {"rows": [10**6]},
        {"rows": [1, 1]},
        {"rows": [True]},
        {"rows": [1.5]},
        {"classes": {}},
        {"classes": []},
        {"classes": {"<b>": "present"}},
        {"classes": None},
        {"artefact": "rain"},
        {"seconds": "1"},
        {"seconds": -1},
        {"seconds": float("nan")},
        {"drawn": "chance"},
        {"each": {"9": {}}},
        {"each": {"1": {}}},
        {"id": "../../etc"},
        {"id": "A" * 32},
        {"id": None},
    ],
)
def test_what_is_no_answer_is_refused_in_one_line_and_not_written(begin, tmp_path, codes, body):
    ann = Reader(begin()[2], "ann")
    said = ann.post("/api/answer", 400, **{"rows": [1], **_said(codes[0]), **body})
    assert "\n" not in said["error"]
    assert not (tmp_path / "labels").exists()


def test_a_state_that_is_none_is_refused(begin, codes):
    ann = Reader(begin()[2], "ann")
    ann.answer(1, classes={codes[0]: "maybe"}, expected=400)
    ann.answer(1, classes={codes[0]: ["present"]}, expected=400)


def test_a_change_needs_the_pages_own_token(begin, tmp_path, codes):
    app = begin()[2]
    ann, bob = Reader(app, "ann"), Reader(app, "bob")
    version, signature, _ = ann.token.split(".")
    for token, expected in (
        *[("", 403), ("x", 403), (f"{version}.{signature}", 403), (f"{version}.{signature[1:]}.ann", 403)],
        *[(bob.token, 409), (f"{version}.{signature}.bob", 409)],
    ):
        said = {"rows": [1], "id": uuid4().hex, **_said(codes[0])}
        response = ann.client.post("/api/answer", json=said, headers={TOKEN: token})
        assert response.status_code == expected, token
    assert "open it again" in response.json["error"]
    form = ann.client.post("/api/answer", data={"rows": "1"}, headers={TOKEN: ann.token})
    assert form.status_code == 400
    plain = ann.client.post("/api/answer", data='{"rows": [1]}', headers={TOKEN: ann.token}, content_type="text/plain")
    assert plain.status_code == 400
    assert not (tmp_path / "labels").exists()


def test_a_page_of_one_reader_never_answers_for_another(begin, tmp_path, codes):
    ann = Reader(begin(["ann", "bob"])[2], "ann")
    ann.client.get("/?reader=bob")  # in another window of the browser
    refused = ann.answer(1, expected=409, **_said(codes[0]))
    assert "open it again" in refused["error"]
    assert refused["reason"] == "reader"
    alone = begin(["bob"])[2].test_client()
    said = {"rows": [1], "id": uuid4().hex, **_said(codes[0])}
    assert alone.post("/api/answer", json=said, headers={TOKEN: ann.token}).status_code == 409
    assert not (tmp_path / "labels").exists()


def test_a_page_outlives_a_restart_but_not_other_candidates(begin, project, codes):
    ann = Reader(begin()[2], "ann")
    for candidates, expected in ((project[1], 200), (project[1].iloc[1:], 409)):
        app = begin(candidates=candidates.reset_index(drop=True))[2]
        client = app.test_client()
        client.get("/?reader=ann")
        body = {"id": uuid4().hex, "rows": [1], **_said(codes[0])}
        assert client.post("/api/answer", json=body, headers={TOKEN: ann.token}).status_code == expected
    new = Reader(app, "ann")
    new.answer(1, version="0" * 16, expected=409, **_said(codes[0]))
    for address in ("/image/1.jpg?", "/sprite.jpg?rows=1&", "/overview/0.jpg?"):  # nor sees others under its rows
        assert client.get(f"{address}v={'0' * 16}").status_code == 409


def test_a_page_of_other_candidates_answers_by_places(begin, project, tmp_path, codes):
    ann = Reader(begin()[2], "ann")
    item = ann.get("/api/queue?order=random")["rows"][0]
    version = ann.get("/api/state")["version"]
    rows = ann.get("/api/rows")
    assert (rows["mpp"], rows["size"]) == (1.0, 64)
    row = item["row"]
    names = project[1]["patch_id"]
    session, _, app = begin(candidates=project[1].drop([row, 5]).reset_index(drop=True))
    client = app.test_client()
    client.get("/?reader=ann")

    def send(path, expected=200, **body):
        body = {"id": uuid4().hex, "version": version, **body}
        response = client.post(path, json=body, headers={TOKEN: ann.token})
        assert response.status_code == expected, response.data
        return response.json

    def places(*rows):
        return [
            {
                name: project[1][column][row].item() if name != "slide" else project[1][column][row]
                for name, column in (("slide", "slide_id"), ("x", "x"), ("y", "y"), ("mpp", "mpp"), ("size", "size"))
            }
            for row in rows
        ]

    assert send("/api/answer", 409, rows=[row], **_said(codes[0]))["reason"] == "candidates"
    send("/api/answer", rows=[row], places=places(row), ticket=item["ticket"], late=True, **_said(codes[0]))
    each = {"767": {codes[1]: "unsure"}}
    send("/api/answer", rows=[5, 767], places=places(5, 767), each=each, late=True, **_said(codes[0]))
    send("/api/skip", row=766, places=places(766), late=True)
    assert send("/api/undo", late=True)["can_redo"]
    found = {f"{e.place.slide}-{e.place.x}-{e.place.y}": e for e in read_journals(tmp_path / "labels").answers("ann")}
    assert set(found) == {names[row], names[5], names[767]}
    assert found[names[row]].drawn == "random"
    assert found[names[767]].states == {codes[1]: "unsure"}
    assert list(session.desks["ann"].mine) == [765]  # the others are no candidates any more
    (good,) = places(7)
    for wrong in (
        None,
        [],
        [good, good],
        [{**good, "x": -1}],
        [{**good, "slide": "s9"}],
        [{**good, "mpp": "1"}],
        ["s0"],
    ):
        send("/api/answer", 400, rows=[7], places=wrong, late=True, **_said(codes[0]))


def test_other_names_of_this_machine_are_not_answered_to(begin):
    client = begin()[2].test_client()
    for host in ("evil.example", "127.0.0.1.evil.example", "0.0.0.0"):
        assert client.get("/api/state", headers={"Host": host}).status_code == 400
    named = begin(hosts=["lab.example"])[2].test_client()
    assert named.get("/", headers={"Host": "lab.example:5011"}).status_code == 200


def test_pages_are_hardened_and_names_are_inert(begin, project, codes):
    frame = project[1]
    _, _, app = begin(["ann"])
    client = app.test_client()
    page = client.get("/")
    assert "default-src 'none'" in page.headers["Content-Security-Policy"]
    assert "unsafe" not in page.headers["Content-Security-Policy"]
    assert page.headers["X-Content-Type-Options"] == "nosniff"
    assert page.headers["X-Frame-Options"] == "DENY"
    assert page.headers["Cache-Control"] == "no-store"
    odd = frame.assign(site="<script>alert(1)</script>")
    state = begin(["ann"], candidates=odd)[2].test_client().get("/api/state")
    assert state.mimetype == "application/json"
    assert state.json["slides"][0]["site"] == "<script>alert(1)</script>"


def test_a_request_that_is_too_large_is_refused(begin, codes):
    ann = Reader(begin()[2], "ann")
    ann.answer(1, classes={codes[0]: "present"}, padding="x" * (1 << 21), expected=413)
    deep = "[" * 100_000
    response = ann.client.post("/api/answer", data=deep, content_type="application/json", headers={TOKEN: ann.token})
    assert response.status_code == 400


def test_strangers_see_nothing_and_a_link_lets_in_one_reader(begin, tmp_path):
    _session, doors, app = begin(guarded=True)
    made = doors.new_secrets()
    assert set(made) == {"ann", "bob"}
    assert doors.new_secrets() == {}
    kept = (tmp_path / "server/readers.json").read_text()
    assert not any(secret in kept for secret in made.values())
    for name in ("key", "readers.json"):
        assert (tmp_path / "server" / name).stat().st_mode & 0o077 == 0
    client = app.test_client()
    paths = ("/", "/?reader=ann", "/api/state", "/api/rows", "/image/1.jpg", "/sprite.jpg?rows=1", "/overview/0.jpg")
    for path in (*paths, "/enter/x", "/api/queue", "/api/patch/1", "/api/agreement", "/api/disputes", "/api/curve"):
        assert client.get(path).status_code == 401, path
    assert client.post("/api/answer", json={"rows": [1]}).status_code == 401
    client.set_cookie(doors.cookie, "ann")
    assert client.get("/api/state").status_code == 401
    entered = client.get(f"/enter/{made['bob']}")
    assert "HttpOnly" in entered.headers["Set-Cookie"]
    assert client.get("/api/state").json["reader"] == "bob"
    again = begin(guarded=True)[1]
    assert again.reader_of(made["ann"]) == "ann"
    again.new_secrets(anew=True)
    assert again.reader_of(made["ann"]) is None


def test_a_cookie_goes_over_tls_alone_where_there_is_tls(begin):
    _, doors, app = begin(guarded=True, secure=True)
    entered = app.test_client().get(f"/enter/{doors.new_secrets()['ann']}")
    assert "Secure" in entered.headers["Set-Cookie"]


def test_a_patch_has_the_pixels_that_training_patches_have(begin, project):
    session, _, app = begin(["ann"])
    client = app.test_client()
    row = 300
    x, y = int(session.table.x[row]), int(session.table.y[row])
    with open_slide(project[0] / "data/cohort/slides/s1.tiff", 1.0) as scan:
        expected, around = scan.read(x, y, 64, 1.0), scan.read(x - 224, y - 224, 128, 4.0)
    found = picture(client.get(f"/image/{row}.jpg?part=patch").data)
    assert found.shape == expected.shape
    assert np.abs(found.astype(int) - expected).mean() < 2
    assert picture(client.get(f"/image/{row}.jpg?part=fine").data).shape == (128, 128, 3)
    thumb = picture(client.get(f"/image/{row}.jpg?part=thumb").data)
    assert np.abs(thumb.astype(int) - expected).mean() < 6
    context = picture(client.get(f"/image/{row}.jpg?part=context").data)
    assert context.shape == (128, 128, 3)
    assert np.abs(context.astype(int) - around).mean() < 2
    sheet = picture(client.get(f"/sprite.jpg?rows=5,{row}").data)
    assert sheet.shape == (64, 1024, 3)
    assert np.abs(sheet[:, 64:128].astype(int) - expected).mean() < 6
    overview = picture(client.get("/overview/1.jpg").data)
    assert overview.shape == (1024, 1024, 3)
    size = client.get("/api/overview/1").json
    assert (size["width"], size["level0_width"]) == (1024, 1024)
    assert client.get(f"/api/patch/{row}").json["span"] == 64.0


def test_pictures_may_be_kept_only_under_the_version_of_the_rows(begin):
    session, _, app = begin(["ann"])
    client = app.test_client()
    assert client.get("/image/1.jpg").headers["Cache-Control"] == "no-store"
    assert "immutable" in client.get(f"/image/1.jpg?v={session.table.version}").headers["Cache-Control"]


@pytest.mark.parametrize(
    "path",
    [
        "/image/99999.jpg",
        "/image/-1.jpg",
        "/image/1.jpg?part=../x",
        "/image/../1.jpg",
        "/static/../server.py",
        "/static/..%2fserver.py",
        "/overview/9.jpg",
        "/api/overview/9",
        "/api/patch/99999",
        "/sprite.jpg",
        "/sprite.jpg?rows=99999",
        "/labels/ann.jsonl",
    ],
)
def test_nothing_else_can_be_asked_for(begin, path):
    assert begin(["ann"])[2].test_client().get(path).status_code == 404


READ_BY_PEOPLE = {"Accept": "text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,*/*;q=0.8"}


@pytest.mark.parametrize("accept", ["application/json", "*/*", "image/avif,image/webp,*/*;q=0.8", ""])
def test_scripts_are_told_in_json_what_is_not_there(begin, accept):
    answer = begin(["ann"])[2].test_client().get("/nothing", headers={"Accept": accept})
    assert (answer.status_code, answer.json) == (404, {"error": "not found"})


def test_people_are_told_on_a_page_what_is_not_there(begin):
    client = begin(["ann"])[2].test_client()
    answer = client.get("/nothing/<b>", headers=READ_BY_PEOPLE)
    assert (answer.status_code, answer.mimetype) == (404, "text/html")
    assert "There is no such page here. Pages that there are begin at Labelling." in answer.text
    assert '<a href="/">Labelling</a>' in answer.text
    assert "<b>" not in answer.text
    assert answer.headers["Cache-Control"] == "no-store"
    for path in re.findall(r'(?:href|src)="(/[^"]*)"', answer.text):
        assert client.get(path).status_code == 200, path
    stranger = begin(["ann", "bob"], guarded=True)[2].test_client().get("/", headers=READ_BY_PEOPLE)
    assert (stranger.status_code, stranger.mimetype) == (401, "text/html")
    assert "this page is for readers who were given a link; open yours" in stranger.text


def left(client):
    """What is asked of a reader, but for what lies on slides that are gone."""
    return client.get("/api/queue?order=random&without=s0&without=none").json["rows"]


def test_a_slide_that_cannot_be_read_is_not_found_and_the_others_are(begin, project, monkeypatch, caplog):
    session, _, app = begin(["ann"])
    slides = session.pictures._slides
    monkeypatch.setattr(
        session.pictures, "_slides", [slides[0].__class__(**{**vars(slides[0]), "bytes": 1}), *slides[1:]]
    )
    client = app.test_client()
    version = client.get("/api/state").json["version"]
    gone = client.get("/image/1.jpg")
    assert gone.status_code == 410
    assert gone.json["error"].startswith("slide s0: its file cannot be opened any more")
    assert client.get("/sprite.jpg?rows=1,2").status_code == 410
    both = client.get(f"/sprite.jpg?rows=1,300&v={version}")  # one that is gone takes no other with it
    assert both.headers["Cache-Control"] == "no-store"  # it may be back
    assert (picture(both.data)[:64, :56] == 255).all()
    assert picture(both.data)[:64, 64:128].std() > 5
    assert {slides[session.table.slide[item["row"]]].slide_id for item in left(client)} == {"s1", "s2"}
    assert client.get("/api/overview/0").status_code == 400
    assert client.get("/image/300.jpg").status_code == 200
    assert "replaced" in caplog.text


def test_a_class_that_the_vocabulary_lost_stays_in_the_journal_and_out_of_the_page(begin, tmp_path, codes):
    session, _, app = begin()
    for name, gone in (("ann", "present"), ("bob", "absent")):
        said = {codes[0]: "present", "GONE": gone}
        Journal(journal_path(name, tmp_path / "labels"), name).append(
            [new_entry("answer", **session.table.place(1), classes=said)]
        )
    ann = Reader(app, "ann")
    assert ann.get("/api/disputes") == {"places": []}  # nobody can settle what has no button
    shown = ann.get("/api/rows")["mine"]["1"]["classes"]
    assert shown == ann.get("/api/patch/1")["mine"]["classes"] == {codes[0]: "present"}
    ann.answer(1, classes={**shown, codes[1]: "present"})  # as the sheet adds a class to what was said
    assert '"GONE": "present"' in (tmp_path / "labels/ann.jsonl").read_text()


def test_a_full_disk_is_told_as_the_servers_fault_and_nothing_counts(begin, monkeypatch, codes):
    session, _, app = begin(["ann"])
    ann = Reader(app, "ann")

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Journal, "append", full)
    assert "No space" in ann.answer(1, expected=503, **_said(codes[0]))["error"]
    assert not session.desks["ann"].mine
    monkeypatch.undo()
    ann.answer(1, **_said(codes[0]))


def test_what_no_journal_keeps_is_refused_for_good_and_the_next_answer_is_kept(begin, tmp_path, monkeypatch, codes):
    session, _, app = begin(["ann"])
    ann = Reader(app, "ann")
    with monkeypatch.context() as patched:
        patched.setattr(session, "suggestion", lambda row: {codes[0]: 1.5})  # of a model that is none
        said = ann.answer(1, expected=400, suggested=True, **_said(codes[0]))
    assert said == {
        "error": "it cannot be kept: suggested holds what is no probability; answer anew, or reload the page"
    }
    assert not session.desks["ann"].mine
    ann.answer(2, **_said(codes[0]))
    assert begin(["ann"])[0].desks["ann"].mine.keys() == {2}


def test_the_name_of_an_entry_is_no_request_and_damages_no_journal(begin, tmp_path, codes):
    ann = Reader(begin(["ann"])[2], "ann")
    ids = ann.answer(1, 2, **_said(codes[0]))["saved"]
    written = (tmp_path / "labels/ann.jsonl").read_bytes()
    for path, body in (("answer", {"rows": [3], **_said(codes[1])}), ("skip", {"rows": [3]}), ("undo", {})):
        assert "id is that of another entry" in ann.post(f"/api/{path}", 400, **body, id=ids[1])["error"]
    assert (tmp_path / "labels/ann.jsonl").read_bytes() == written
    assert begin(["ann"])[0].desks["ann"].mine.keys() == {1, 2}


def test_a_journal_that_is_damaged_keeps_answers_waiting(begin, tmp_path, codes):
    ann = Reader(begin(["ann"])[2], "ann")
    ann.answer(1, **_said(codes[0]))
    path = tmp_path / "labels/ann.jsonl"
    sound = path.read_bytes()
    path.write_bytes(b"{}" + sound)
    body = {"rows": [2], "id": uuid4().hex, **_said(codes[0])}
    assert "line 1: damaged" in ann.post("/api/answer", 503, **body)["error"]
    path.write_bytes(sound)
    ann.post("/api/answer", **body)
    assert ann.get("/api/rows")["mine"].keys() == {"1", "2"}


def test_a_ticket_that_is_no_text_of_ours_is_none(begin, codes):
    ann = Reader(begin(["ann"])[2], "ann")
    for ticket in ("\ud800" * 24, "é" * 24, 5, None, []):
        ann.answer(1, ticket=ticket, **_said(codes[0]))


def test_a_journal_that_git_changed_meanwhile_is_read_again(begin, tmp_path, codes):
    session, _, app = begin(["ann"])
    ann = Reader(app, "ann")
    ann.answer(1, **_said(codes[0]))
    other = begin(["ann"])[0].desks["ann"]
    other.answer([session.table.place(2)], {}, uuid4().hex, each=[_said(codes[1])])
    assert ann.get("/api/rows")["mine"].keys() == {"1", "2"}
    assert ann.post("/api/undo")["undone"] == [2]


def test_disagreements_are_settled_blind_and_apart_from_ones_own_answers(begin, tmp_path, codes):
    session, _, app = begin(["ann", "bob", "eve"])
    ann, bob, eve = (Reader(app, name) for name in ("ann", "bob", "eve"))
    for row in range(1, 9):
        ann.answer(row, classes={codes[0]: "present", codes[1]: "absent"})
        bob.answer(row, classes={codes[0]: "absent" if row == 1 else "present", codes[1]: "absent"})
    assert eve.get("/api/disputes") == {"places": [{"row": 1, "codes": [codes[0]]}]}
    items = ann.get("/api/queue?order=settlement")["rows"]
    assert [item["row"] for item in items] == [1]
    assert ann.get(f"/api/patch/1?ticket={items[0]['ticket']}")["mine"] is None
    ann.post("/api/settle", row=1, classes={codes[0]: "absent"}, ticket=items[0]["ticket"])
    entry = Journal(journal_path("ann", tmp_path / "labels"), "ann").entries()[-1]
    assert (entry["kind"], entry["drawn"]) == ("settle", "settlement")
    assert session.desks["ann"].mine[1]["classes"] == {codes[0]: "present", codes[1]: "absent"}
    assert bob.get("/api/disputes") == {"places": []}
    ann.post("/api/undo")
    assert len(bob.get("/api/disputes")["places"]) == 1


def test_agreement_is_told_per_class_without_a_patch_of_it(begin, codes):
    app = begin()[2]
    ann, bob = Reader(app, "ann"), Reader(app, "bob")
    for row in range(20):
        ann.answer(row, classes={codes[0]: "present" if row < 10 else "absent"})
        bob.answer(row, classes={codes[0]: "present" if row < 9 else "absent"})
    found = ann.get("/api/agreement")
    first = next(item for item in found["between"] if item["code"] == codes[0])
    assert (first["readers"], first["n"], first["kappa"]) == (["ann", "bob"], 20, pytest.approx(0.9))
    assert first["low"] < 0.9 < first["high"]
    assert found["within"] == []
    assert found["random"] == {"between": [], "within": []}


def test_many_readers_at_once_each_have_their_own(begin, tmp_path, codes):
    readers = [f"r{number}" for number in range(8)]
    _session, _, app = begin(readers)
    failed = []

    def label(name, code):
        try:
            page = Reader(app, name)
            for item in page.get("/api/queue?order=random")["rows"][:15]:
                page.get(f"/image/{item['row']}.jpg")
                page.answer(item["row"], ticket=item["ticket"], **_said(code))
        except BaseException as error:
            failed.append(error)

    threads = [
        threading.Thread(target=label, args=(name, codes[number % len(codes)])) for number, name in enumerate(readers)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failed
    journals = read_journals(tmp_path / "labels")
    for number, name in enumerate(readers):
        answers = journals.answers(name)
        assert len(answers) == 15
        assert {tuple(answer.states) for answer in answers} == {(codes[number % len(codes)],)}


def test_pictures_that_are_wanted_now_are_not_behind_those_made_ahead(begin):
    session = begin(["ann"])[0]
    pictures, held, wait = session.pictures, [], threading.Event()
    make = pictures._jpeg_of

    def slow(row, part):
        if threading.current_thread().name.startswith("pictures"):
            held.append(row)
            wait.wait(20)
        return make(row, part)

    pictures._jpeg_of = slow
    pictures.make_ahead(range(20), ["patch"])
    while len(held) < 2:
        time.sleep(0.01)
    assert Image.open(io.BytesIO(pictures.picture(15, "patch"))).size == (64, 64)
    wait.set()


def test_memory_for_pictures_has_a_bound(begin):
    session = begin(["ann"], options=Options(features=False, memory=1))[0]
    for row in range(400):
        session.pictures.picture(row, "context")
    assert session.pictures._kept._held <= 1 << 20
    assert session.pictures._kept._held == sum(map(len, session.pictures._kept._items.values()))
