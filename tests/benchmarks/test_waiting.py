"""What people wait for at the command line."""

import sys

import pandas as pd
import pytest

from benchmarks import waiting
from benchmarks.command import cpu_of_children, settings
from wsss_mm import places


@pytest.fixture
def short(monkeypatch):
    """Commands that take no time, in place of those that are measured."""
    nothing = ((sys.executable, "-ISc", ""), 5)
    monkeypatch.setattr(waiting, "COMMANDS", {"help": nothing})
    monkeypatch.setattr(waiting, "NOTHING_TO_DO", nothing)
    monkeypatch.setattr(waiting, "GATE", nothing)
    return lambda project: list(waiting.measure(settings(waiting.OPTIONS, quick=True, project=project)))


def test_a_project_without_a_line_says_what_is_left_out(short, tmp_path, capsys):
    (only,) = short(tmp_path)
    assert only.what == "help"
    assert len(only.values) == 5
    assert all(value > 0 for value in only.values)
    said = capsys.readouterr().out
    assert "no dvc repro" in said
    assert "no gate" in said


def test_a_finished_line_has_its_gate_and_its_repro(short, tmp_path, monkeypatch):
    monkeypatch.setattr(waiting, "is_finished", lambda project: True)
    (tmp_path / places.PATCHES).mkdir(parents=True)
    pd.DataFrame({"patch_id": ["a", "b", "c"]}).to_parquet(tmp_path / places.PATCHES / places.MANIFEST)
    whats = [one.what for one in short(tmp_path)]
    assert whats == ["help", "dvc repro, nothing to be done", "gate patches, 3 of them"]


def test_a_command_runs_in_the_project_with_its_own_code(tmp_path):
    written = "import os; open('here', 'w').write(os.environ['PYTHONPATH'])"
    assert waiting.started((sys.executable, "-c", written), tmp_path) == 0
    assert (tmp_path / "here").read_text() == str(tmp_path)


def test_children_count_with_what_they_start(tmp_path):
    work = "import subprocess, sys; subprocess.run([sys.executable, '-c', 'sum(range(3 * 10**6))'])"
    before = cpu_of_children()
    waiting.started((sys.executable, "-ISc", ""), tmp_path)
    alone = cpu_of_children() - before
    waiting.started((sys.executable, "-c", work), tmp_path)
    assert cpu_of_children() - before > 2 * alone
