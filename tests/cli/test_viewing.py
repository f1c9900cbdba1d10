"""What the viewer finds in a folder, and where it writes."""

from pathlib import Path

import pytest

from wsss_mm.cli import viewing
from wsss_mm.cli.main import build_parser
from wsss_mm.errors import InputError
from wsss_mm.wsi.viewer.guard import Guard


def test_outside_of_a_project_nothing_is_marked_as_wrong(tmp_path, monkeypatch, caplog):
    monkeypatch.chdir(tmp_path)
    with caplog.at_level("INFO"):
        assert viewing._desk(None, None, "ann", Guard()) is None
    assert "labels, the folder of journals, is not here: nothing can be marked as wrong" in caplog.text
    (tmp_path / "labels").mkdir()
    with pytest.raises(InputError, match=r"slides\.csv, made by `dvc repro cohort`, is not here"):
        viewing._desk(None, tmp_path / "labels", None, Guard())


def test_notes_lie_with_a_projects_data_or_beside_results(tmp_path):
    (tmp_path / "one").mkdir()
    (tmp_path / "one/summary.json").touch()
    assert viewing.notes_path(tmp_path, in_project=True) == Path("data/notes.csv")
    assert viewing.notes_path(tmp_path, in_project=False) == tmp_path / "notes.csv"
    assert viewing.notes_path(tmp_path / "one", in_project=False) == tmp_path / "notes.csv"


def test_view_and_segment_have_one_default_folder():
    parser = build_parser()
    assert parser.parse_args(["view"]).results == parser.parse_args(["segment", "a.svs"]).out == Path("results")
    assert parser.parse_args(["findings"]).results == Path("results")
