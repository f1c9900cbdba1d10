"""Windows per second: what runs in the project's own environment, and what is said without the peers'."""

import sys
from pathlib import Path

import pytest

from benchmarks import windows_per_second
from benchmarks.command import Missing, settings
from benchmarks.peers.task import main
from benchmarks.windows_per_second import lattice, make_networks, make_slides


def test_without_the_peers_it_says_how_to_get_them(tmp_path):
    with pytest.raises(Missing, match="install"):
        list(windows_per_second.measure(settings(windows_per_second.OPTIONS, quick=True, peer=tmp_path / "python")))


def test_our_own_task_computes_the_lattice(tmp_path):
    make_slides(tmp_path, 512)
    make_networks(tmp_path, 1 / 32)
    found = main(tmp_path, 1, "all", "ours", "fp32")
    assert found["computed"] >= lattice(512) > 0
    assert found["cpu_seconds"] > 0


def test_each_contender_is_compared_by_turns(monkeypatch):
    asked = []

    def child(python, folder, threads, task, slide="all"):
        asked.append((task, slide))
        return {"seconds": 1.0 if task.startswith("ours") else 4.0}

    for name in ("make_slides", "make_networks"):
        monkeypatch.setattr(windows_per_second, name, lambda *_: None)
    monkeypatch.setattr(windows_per_second, "child", child)
    given = settings(windows_per_second.OPTIONS, quick=True, peer=Path(sys.executable), lazyslide=Path("none"))
    rows = [row for row in windows_per_second.measure(given) if row.at_least]
    assert {(row.over_what.split(",")[0], row.at_least) for row in rows} == {("tiatoolbox", 2.0), ("tiatoolbox", 1.2)}
    assert all(row.row()["ratio"] == 4 for row in rows)
    assert not any(task == "lazyslide" for task, _ in asked)
