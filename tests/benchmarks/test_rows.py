"""Rows of the benchmarks: what is kept of a measurement, and whether it holds its target."""

import re

import pytest

from benchmarks import rows
from benchmarks.rows import Measurement, append_row, held, read_rows, surroundings, versions


def cam(values, **targets):
    return Measurement("maps", values, "s", over=[1.0, 2.0, 2.0, 4.0, 5.0], over_what="passes", **targets)


def test_a_row_holds_medians_and_the_ratio_of_neighbours():
    row = cam([2.0, 3.0, 2.0, 4.0, 10.0]).row()
    assert (row["value"], row["ratio"], row["runs"]) == (3.0, 1.5, 5)


def test_fewer_than_five_runs_are_no_row():
    with pytest.raises(ValueError, match="needs 5"):
        cam([1.0])


def test_runs_without_a_neighbour_are_no_row():
    with pytest.raises(ValueError, match="zip"):
        cam([1.0] * 6).row()


@pytest.mark.parametrize(
    ("targets", "holds"),
    [
        ({}, True),
        ({"at_most": 2.0}, True),
        ({"at_most": 0.9}, False),
        ({"at_least": 1.0}, True),
        ({"at_least": 1.1}, False),
        ({"at_least": 0.5, "at_most": 0.9}, False),
    ],
)
def test_targets_of_both_kinds_hold_for_the_ratio(targets, holds):
    assert held(cam([1.0, 2.0, 2.0, 4.0, 5.0], **targets).row()) is holds  # a ratio of 1


def test_a_target_holds_for_the_median_where_there_is_no_ratio():
    assert held(Measurement("memory", [400.0] * 5, "MiB", at_most=500).row())
    assert not held(Measurement("memory", [600.0] * 5, "MiB", at_most=500).row())


def test_rows_are_read_as_they_were_added(tmp_path):
    kept = [cam([1.0] * 5).row(), cam([2.0] * 5).row()]
    for row in kept:
        append_row(row, tmp_path / "rows.jsonl")
    assert read_rows(tmp_path / "rows.jsonl") == kept


def test_where_says_when_which_commit_and_which_versions():
    where = surroundings()
    assert re.fullmatch(r"\d{4}-\d\d-\d\d", where["date"])
    assert {"python", "torch", "oneDNN", "numpy", "openslide"} <= set(where["versions"])
    assert all(re.match(r"\d+\.\d+", number) for number in versions().values())


def test_a_benchmark_is_not_dirty_by_what_it_writes(tmp_path, monkeypatch):
    monkeypatch.setattr(rows, "ROOT", tmp_path)
    for name in ("rows.jsonl", "page.md", "code.py"):
        (tmp_path / name).write_text("")
    monkeypatch.setattr(rows, "ROWS", tmp_path / "rows.jsonl")
    monkeypatch.setattr(rows, "PAGE", tmp_path / "page.md")
    rows._git("init", "-q")
    rows._git("add", ".")
    rows._git("-c", "user.name=t", "-c", "user.email=t@t", "commit", "-qm", "first")
    for name in ("rows.jsonl", "page.md"):
        (tmp_path / name).write_text("a row")
    assert re.fullmatch(r"[0-9a-f]{10}", rows.commit())
    (tmp_path / "code.py").write_text("pass")
    assert rows.commit().endswith("-dirty")
