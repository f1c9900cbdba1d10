"""What a GPU makes of this project: whether it runs, on a CPU and tiny."""

import json

import pytest

from benchmarks import gpu
from benchmarks.command import Missing, settings


def test_without_a_gpu_it_says_so(monkeypatch):
    monkeypatch.setattr(gpu, "choose_device", lambda: "cpu")
    with pytest.raises(Missing, match="no GPU"):
        list(gpu.measure(settings(gpu.OPTIONS, quick=True)))


def test_ratios_with_a_target_become_rows(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("benchmarks.rows.FEWEST_RUNS", 1)  # one run is enough to see what becomes of it
    monkeypatch.setattr("benchmarks.gpu_bench.FEWEST_RUNS", 1)
    given = {"only": ("loss", "cams"), "device": "cpu", "out": tmp_path / "rows.jsonl"}
    rows = list(gpu.measure(settings(gpu.OPTIONS, quick=True, **given)))
    assert {row.at_most for row in rows} == {1.03, 1.15}
    written = [json.loads(line) for line in (tmp_path / "rows.jsonl").read_text().splitlines()]
    assert not any("failed" in row for row in written)
    assert len(rows) == len(written)
    assert "## cams" in capsys.readouterr().out


def test_no_such_section():
    with pytest.raises(SystemExit, match="none of ceilings"):
        list(gpu.measure(settings(gpu.OPTIONS, quick=True, device="cpu", only=("nothing",))))
