"""`wsss-mm view`: errors are one line, and it serves what it finds."""

import pytest

from wsss_mm.cli.main import main
from wsss_mm.wsi.viewer import openseadragon


@pytest.fixture
def installed(tmp_path, monkeypatch):
    monkeypatch.setattr(openseadragon, "archive_path", lambda: tmp_path / "a.tgz")
    (tmp_path / "a.tgz").write_bytes(b"there")
    monkeypatch.setattr(openseadragon, "read_archive", lambda _: {})


def test_no_results(tmp_path, capsys, installed):
    assert main(["view", str(tmp_path)]) == 2
    assert "no results" in capsys.readouterr().err


def test_without_pip_it_says_what_to_do(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(openseadragon, "archive_path", lambda: tmp_path / "none.tgz")
    monkeypatch.setattr("wsss_mm.javascript.importlib.util.find_spec", lambda _: None)
    assert main(["view", str(tmp_path)]) == 2
    error = capsys.readouterr().err
    assert "python -m ensurepip" in error
    assert error.count("\n") <= 2


def test_setup_only_fetches(tmp_path, installed):
    assert main(["view", str(tmp_path / "none"), "--setup"]) == 0


def test_label_fetches_it_too(tmp_path, installed):
    assert main(["label", "--setup"]) == 0
