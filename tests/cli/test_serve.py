"""`wsss-mm serve`, and `view` as an entrance of the same application: what is served, to whom, and what is refused."""

import re

import pytest
from werkzeug.test import Client

from tests.findings.making import make_model, make_result
from wsss_mm.cli.main import main
from wsss_mm.cli.rooms import beside
from wsss_mm.wsi.viewer import openseadragon


@pytest.fixture
def asked(tmp_path, monkeypatch):
    """What would be served: clients of the applications, with the options of `serve`; the current folder is empty."""
    found = []

    def serve(app, port, started, **options):
        started(port)
        found.append((Client(app), port, options))

    for name in ("MLFLOW_TRACKING_URI", "DVC_ROOT"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr("wsss_mm.serving.serve", serve)
    monkeypatch.setattr(openseadragon, "archive_path", lambda: tmp_path)
    monkeypatch.setattr(openseadragon, "get_archive", lambda: tmp_path)
    monkeypatch.setattr(openseadragon, "read_archive", lambda _: {})
    monkeypatch.chdir(tmp_path)
    return found


def test_it_serves_on_loopback_what_there_is(asked, caplog):
    assert main(["serve", "--port", "5999"]) == 0
    ((client, port, options),) = asked
    assert (port, options) == (5999, {"host": "127.0.0.1", "certificate": None})
    assert "http://127.0.0.1:5999/ until Ctrl-C" in caplog.text
    assert client.get("/").status_code == 200
    assert client.get("/view/").status_code == 404


def test_others_get_a_link_and_strangers_nothing(asked, capsys, caplog):
    assert main(["serve", "--host", "lab.example", "--reader", "ann"]) == 0
    said = capsys.readouterr().out
    (link,) = re.findall(r"^ann: http://lab\.example:5012(/enter/\S+)$", said, re.MULTILINE)
    assert "plain text" in caplog.text
    ((client, _, options),) = asked
    assert options["host"] == "lab.example"
    lab = {"Host": "lab.example:5012"}
    assert client.get("/", headers=lab).status_code == 401
    assert client.get(link, headers=lab).status_code == 302
    assert client.get("/", headers=lab).status_code == 200


@pytest.mark.parametrize(
    ("options", "why"),
    [
        (["--new-links"], "give --host too"),
        (["--host", "0.0.0.0"], "no address that readers can open"),
        (["--host", "lab", "--key", "k.pem"], "belong together"),
        (["--reader", "ann", "Ann"], "tell them apart"),
    ],
)
def test_options_that_do_not_go_together_are_refused(asked, capsys, options, why):
    assert main(["serve", *options]) == 2
    error = capsys.readouterr().err
    assert why in error
    assert error.count("\n") == 1
    assert asked == []


def test_view_opens_the_same_application_at_slides(asked, tmp_path):
    import numpy as np

    make_result(
        tmp_path / "results/slides/s 1", np.zeros((60, 80), np.uint8), None, make_model(tmp_path / "m"), tmp_path
    )
    assert main(["view"]) == 0
    ((client, port, _),) = asked
    assert port == 5010
    assert client.get("/").location.endswith("slides/s%201/")
    assert client.get("/slides/s%201/").status_code == 200
    assert "1 segmented slide<" in client.get("/start/").text
    assert beside("s 1") == "/view/slides/s%201/"
    assert client.get(beside("s 1")).status_code == 200
    assert beside("other") is None
