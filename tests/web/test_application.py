"""One application: its rooms, what is not there yet, and what must not get out."""

import json
import re
from html import unescape

import pytest
from werkzeug.test import Client

from tests.findings.making import make_model, make_result
from tests.web.label.project import make_project
from wsss_mm.cli.rooms import application
from wsss_mm.errors import InputError
from wsss_mm.gates.page import write_page
from wsss_mm.pages import ROOMS
from wsss_mm.places import DESCRIPTION
from wsss_mm.web import written
from wsss_mm.web.label.doors import Doors
from wsss_mm.wsi.viewer import openseadragon

EVIL = "<script>alert(1)</script>"
OTHERS = {"Host": "evil.example"}


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """An empty folder, which is the current one, and no store of MLflow; OpenSeadragon is there."""
    for name in ("MLFLOW_TRACKING_URI", "DVC_ROOT"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a.tar.gz").write_bytes(b"there")
    monkeypatch.setattr(openseadragon, "archive_path", lambda: tmp_path / "a.tar.gz")
    monkeypatch.setattr(openseadragon, "read_archive", lambda _: {"openseadragon.js": b"var OpenSeadragon;"})
    return tmp_path


@pytest.fixture
def segmented(folder):
    """A project with two segmented slides, findings on them and a page of gates."""
    import numpy as np

    model = make_model(folder / "segmenter")
    assert (model / DESCRIPTION).is_file()
    labels = np.zeros((60, 80), np.uint8)
    for name in ("one", "two"):
        make_result(folder / "results/slides" / name, labels, None, model, folder)
    for name, text in (("cohort", "Two slides"), ("one/findings", EVIL)):
        path = folder / f"findings/{name}.html"
        path.parent.mkdir(parents=True, exist_ok=True)
        policy = '<meta http-equiv="Content-Security-Policy" content="default-src \'none\'">'
        path.write_text(f"<!doctype html><html><head>{policy}</head><body>{text}</body></html>")
    (folder / "findings/areas.csv").write_text("slide,area\n")
    (folder / "findings/figures.json").write_text("{}")
    write_page(folder)
    return folder


@pytest.fixture
def opened():
    """Opens the application, by its entrance; gives a client."""
    from contextlib import ExitStack

    with ExitStack() as stack:
        yield lambda entrance="start", readers=("ann",), **options: Client(
            stack.enter_context(application(entrance, readers, **options))
        )


def test_where_nothing_is_each_room_says_what_to_run(folder, opened):
    client = opened()
    start = client.get("/")
    assert start.status_code == 200
    for room, name in ROOMS.items():
        assert f'<a href="/{room}/"' in start.text
        assert f">{name}</a>" in start.text
    commands = {"view": "make repro", "gates": "make repro", "runs": "make repro", "findings": "wsss-mm findings"}
    for room, command in commands.items():
        answer = client.get(f"/{room}/")
        assert answer.status_code == 404, room
        assert f"<code>{command}</code>" in answer.text
        assert f"<code>{command}</code>" in start.text
        assert 'aria-current="page"' in answer.text
    assert client.get("/label/").status_code == 404
    assert not (folder / "mlflow.db").exists()
    assert not (folder / "work_dirs").exists()


def test_a_room_opens_once_there_is_something(segmented, opened):
    client = opened()
    (segmented / "results").rename(segmented / "away")
    assert client.get("/view/").status_code == 404
    (segmented / "away").rename(segmented / "results")
    page = client.get("/view/")
    assert page.status_code == 200
    assert 'href="slides/one/"' in page.text
    assert "2 segmented slides" in client.get("/start/").text
    slide = client.get("/view/slides/one/").text
    assert '<a href="/view/" aria-current="page">Slides</a>' in slide
    assert '<script src="/view/pages/theme.js"></script>' in slide
    for path in ("/view/pages/theme.js", "/view/static/viewer.js", "/view/openseadragon/openseadragon.js"):
        assert client.get(path).status_code == 200
    assert client.get("/view/slides/one/overlay.png").status_code == 200


def test_what_is_there_is_not_said_to_be_missing_where_settings_are_wrong(segmented, opened):
    (segmented / "params.yaml").write_text("cohort: [\n")
    (segmented / "data/cohort").mkdir(parents=True)
    (segmented / "data/cohort/slides.csv").write_text("slide_id\n")
    answer = opened().get("/view/")
    assert answer.status_code == 404
    assert "<h1>This cannot be shown</h1>" in answer.text
    assert "params.yaml" in answer.text
    assert "make repro" not in answer.text


def test_slides_are_counted_where_the_viewer_looks_for_them(segmented, opened):
    away = segmented.parent / f"{segmented.name}-away"
    (segmented / "results/slides/one").rename(away)
    (segmented / "results/slides/one").symlink_to(away)
    (segmented / "results/older/run").mkdir(parents=True)
    (segmented / "results/older/run/summary.json").write_text("{}")
    client = opened()
    assert "1 segmented slide<" in client.get("/").text


def test_a_wrong_link_leads_back(segmented, opened):
    client = opened()
    page = client.get("/view/slides/none/")
    assert page.status_code == 404
    assert '<a href="/view/">All slides</a>' in page.text
    assert '<a href="/gates/">Gates</a>' in page.text
    assert "All slides" not in client.get("/view/slides/none/map.dzi").text
    other = client.get("/nothing").text
    assert "There is no such page here" in other
    assert '<a href="/start/">Start</a>' in other


def test_written_pages_are_shown_with_the_rooms_and_run_no_script_of_theirs(segmented, opened):
    client = opened()
    for path, text in (
        ("/gates/", "<h1>Gates</h1>"),
        ("/findings/", "Two slides"),
        ("/findings/one/findings.html", EVIL),
    ):
        answer = client.get(path)
        assert text in answer.text
        assert "http-equiv" not in answer.text
        (nonce,) = re.findall(r'<script src="/pages/theme.js" nonce="([^"]+)">', answer.text)
        policy = answer.headers["Content-Security-Policy"]
        assert f"script-src 'nonce-{nonce}';" in policy
        assert policy.startswith("default-src 'none';")
        assert answer.headers["X-Frame-Options"] == "DENY"
    assert client.get("/findings/areas.csv").mimetype == "text/csv"
    assert "2 slides" not in client.get("/start/").text  # one of them has findings
    assert "1 slide with findings" in client.get("/start/").text


@pytest.mark.parametrize(
    "path",
    [
        *("/nothing", "/nothing/", "/view/nothing", "/findings/none.html", "/findings/figures.json", "/refused"),
        *("/findings/../secret.html", "/findings/%2e%2e/secret.html", "/findings/..%2fsecret.html"),
        *("/findings/one/../../secret.html", "/findings//secret.html", "/findings/one%5c..%5c..%5csecret.html"),
        *("/gates/../secret.html", "/pages/../__init__.py", "/pages/__init__.py", "/runs/..%2f..%2fsecret/"),
        *("/runs/none/", f"/runs/{'g' * 32}/", "/enter/x", "/view/../secret.html", "/start/none"),
    ],
)
def test_anything_else_is_not_found(segmented, opened, path):
    (segmented / "secret.html").write_text("SECRET")
    answer = opened().get(path, follow_redirects=True)
    assert answer.status_code in (401, 404)
    assert "SECRET" not in answer.text


def test_a_link_that_leads_out_is_not_followed(segmented, opened):
    client = opened()
    secret = segmented.parent / "secret"
    secret.mkdir(exist_ok=True)
    (secret / "findings.html").write_text("SECRET")
    (secret / "index.html").write_text("SECRET")
    (segmented / "findings/two").symlink_to(secret)
    (segmented / "findings/one/findings.html").unlink()
    (segmented / "findings/one/findings.html").symlink_to(secret / "findings.html")
    gates = segmented / "reports/gates/index.html"
    gates.unlink()
    gates.symlink_to(secret / "index.html")
    for path in ("/findings/two/findings.html", "/findings/one/findings.html", "/gates/"):
        answer = client.get(path)
        assert answer.status_code == 404
        assert "SECRET" not in answer.text


def test_other_host_names_are_refused_in_every_room(segmented, opened):
    client = opened()
    for path in ("/", "/view/", "/label/", "/gates/", "/findings/", "/runs/", "/nothing", "/pages/style.css"):
        assert client.get(path, headers=OTHERS).status_code == 400, path


def test_notes_are_of_the_one_who_labels(segmented, opened):
    def noting(readers):
        page = opened("label", readers).get("/view/slides/one/").text
        return json.loads(unescape(re.search(r'data-remarks="([^"]*)"', page)[1]))["reader"]

    assert noting(["ann"]) == "ann"
    assert noting(["ann", "ben"]) not in ("ann", "ben")


def test_view_and_label_are_entrances(segmented, opened):
    view = opened("view")
    assert 'href="slides/one/"' in view.get("/").text
    assert view.get("/slides/one/").status_code == 200
    assert view.get("/view/slides/one/").status_code == 200
    assert "Tissue segmentation" in view.get("/start/").text
    assert view.get("/gates/").status_code == 200
    assert view.get("/gates", follow_redirects=False).location == "/gates/"
    assert view.get("/nothing").status_code == 404


def test_labelling_is_a_room_with_its_own_paths_and_tokens(folder, opened, monkeypatch):
    from tests.web.label.conftest import Known

    monkeypatch.setattr("wsss_mm.web.label.session.Thinking", lambda *_: Known(None, None))
    make_project(folder, slides=1)
    client = opened(readers=("ann", "bob"))
    choice = client.get("/label/")
    assert 'href="?reader=ann"' in choice.text
    assert client.get("/label?reader=ann").location == "/label/?reader=ann"
    assert client.get("/label/?reader=ann").location == "/label/"
    page = client.get("/label/").text
    assert '<a class="button-link" href="/"' in page
    assert not re.findall(r'(?:src|href)="/[^"]', page)
    for name in re.findall(r'(?:src|href)="([a-z]+/[^"]+)"', page):
        assert client.get(f"/label/{name}").status_code == 200, name
    assert client.get("/label/api/state").json["version"]
    assert client.post("/label/api/undo", json={"id": "0" * 32}).status_code == 403
    token = re.search(r'token" content="([^"]+)"', page)[1]
    headers = {"X-WSSS-Token": token}
    assert client.post("/label/api/undo", json={"id": "0" * 32}, headers=headers).json["undone"] == []
    assert client.get("/api/state").status_code == 404


def test_on_other_machines_rooms_are_for_readers_with_a_link(segmented, opened):
    doors = Doors(["ann"], segmented / "server", guarded=True)
    (secret,) = doors.new_secrets().values()
    client = opened(doors=doors, host="lab.example")
    lab = {"Host": "lab.example:5012"}
    for path in ("/", "/start/", "/view/", "/label/", "/gates/", "/findings/one/findings.html", "/runs/", "/nothing"):
        answer = client.get(path, headers=lab)
        assert answer.status_code == 401, path
        assert "given a link" in answer.text
    assert client.get("/enter/other", headers=lab).status_code == 401
    assert client.get("/pages/style.css", headers=lab).status_code == 200
    entered = client.get(f"/enter/{secret}", headers=lab)
    assert entered.location == "/"
    for path in ("/", "/view/", "/view/slides/one/", "/gates/", "/findings/one/findings.html"):
        assert client.get(path, headers=lab).status_code == 200, path
        assert client.get(path, headers=OTHERS).status_code in (400, 401), path


def test_runs_are_listed_and_reported(folder, opened, monkeypatch):
    client, run = opened(), "a" * 32
    row = dict.fromkeys(("name", "stage", "status", "started", "miou", "valid"), EVIL) | {"id": run}
    monkeypatch.setattr(written, "_has_store", lambda: True)
    monkeypatch.setattr(written, "_runs", lambda: [row])
    monkeypatch.setattr(
        written, "_report", lambda name: f"<html><head></head><body>Report of {name}{EVIL}</body></html>"
    )
    page = client.get("/runs/").text
    assert EVIL not in page
    assert f'href="{run}/"' in page
    shown = client.get(f"/runs/{run}/")
    assert f"Report of {run}" in shown.text
    assert "script-src 'nonce-" in shown.headers["Content-Security-Policy"]

    def lost():
        raise InputError("the server of runs does not answer")

    monkeypatch.setattr(written, "_runs", lost)
    answer = client.get("/runs/")
    assert answer.status_code == 404
    assert "does not answer" in answer.text
