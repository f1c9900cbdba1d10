"""`wsss-mm view`: errors are one line, and it serves what it finds."""

from pathlib import Path

import pytest

from wsss_mm.cli import view
from wsss_mm.cli.main import build_parser, main
from wsss_mm.errors import InputError
from wsss_mm.wsi.viewer import openseadragon
from wsss_mm.wsi.viewer.guard import Guard


@pytest.fixture
def installed(tmp_path, monkeypatch):
    monkeypatch.setattr(openseadragon, "archive_path", lambda: tmp_path / "a.tgz")
    (tmp_path / "a.tgz").write_bytes(b"there")
    monkeypatch.setattr(openseadragon, "read_archive", lambda _: {})


def test_no_results(tmp_path, capsys, installed):
    assert main(["view", str(tmp_path)]) == 2
    assert "no results" in capsys.readouterr().err


def test_without_npm_it_says_what_to_do(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(openseadragon, "archive_path", lambda: tmp_path / "none.tgz")
    monkeypatch.setattr("wsss_mm.npm.shutil.which", lambda _: None)
    assert main(["view", str(tmp_path)]) == 2
    error = capsys.readouterr().err
    assert "install npm" in error
    assert error.count("\n") <= 2


def test_setup_only_fetches(tmp_path, installed):
    assert main(["view", str(tmp_path / "none"), "--setup"]) == 0


def test_label_fetches_it_too(tmp_path, installed):
    assert main(["label", "--setup"]) == 0


def test_outside_of_a_project_nothing_is_marked_as_wrong(tmp_path, monkeypatch, caplog):
    monkeypatch.chdir(tmp_path)
    with caplog.at_level("INFO"):
        assert view._desk(None, None, "ann", Guard()) is None
    assert "labels, the folder of journals, is not here: nothing can be marked as wrong" in caplog.text
    (tmp_path / "labels").mkdir()
    with pytest.raises(InputError, match=r"slides\.csv, made by `dvc repro cohort`, is not here"):
        view._desk(None, tmp_path / "labels", None, Guard())


def test_notes_lie_with_a_projects_data_or_beside_results(tmp_path):
    (tmp_path / "one").mkdir()
    (tmp_path / "one/summary.json").touch()
    assert view.notes_path(tmp_path, in_project=True) == Path("data/notes.csv")
    assert view.notes_path(tmp_path, in_project=False) == tmp_path / "notes.csv"
    assert view.notes_path(tmp_path / "one", in_project=False) == tmp_path / "notes.csv"


def test_view_and_segment_have_one_default_folder():
    parser = build_parser()
    assert parser.parse_args(["view"]).results == parser.parse_args(["segment", "a.svs"]).out == Path("results")
    assert parser.parse_args(["findings"]).results == Path("results")
