"""All subjects one after another: `python -m benchmarks`, as `make bench` runs it."""

import ast
import subprocess
import sys

import pytest

from benchmarks import __main__ as every
from benchmarks.command import SKIPPED
from benchmarks.rows import Measurement


def test_every_subject_is_listed_once(project_root):
    found = set()
    for path in (project_root / "benchmarks").glob("*.py"):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        if any(isinstance(node, ast.FunctionDef) and node.name == "measure" for node in tree.body):
            found.add(path.stem)
    assert sorted(every.SUBJECTS) == sorted(found)


def test_what_it_runs_is_what_make_bench_runs(project_root):
    text = (project_root / "Makefile").read_text(encoding="utf-8")
    assert "python -m benchmarks $(if $(FULL),--full)" in text


@pytest.fixture
def ended(monkeypatch):
    """Statuses of the subjects, and the commands that were run."""
    statuses, commands = {}, []

    def run(command, env, check):
        commands.append(command[2:])
        return subprocess.CompletedProcess(command, statuses.get(command[2].partition(".")[2], 0))

    monkeypatch.setattr(every.subprocess, "run", run)
    monkeypatch.setattr(every, "SUBJECTS", ("one", "two", "three"))
    monkeypatch.setattr(sys, "argv", ["benchmarks"])
    return statuses, commands


def test_a_failed_subject_is_named_and_the_others_go_on(ended, capsys):
    statuses, commands = ended
    statuses |= {"one": 1, "two": SKIPPED}
    assert every.main() == 1
    assert commands == [[f"benchmarks.{name}", "--quick"] for name in ("one", "two", "three")]
    assert capsys.readouterr().out.endswith("nothing was measured\nskipped: two\nFAILED: one\n")


def test_some_in_full(ended, monkeypatch):
    _, commands = ended
    monkeypatch.setattr(sys, "argv", ["benchmarks", "--full", "two"])
    assert every.main() == 0
    assert commands == [["benchmarks.two"]]
    monkeypatch.setattr(sys, "argv", ["benchmarks", "four"])
    with pytest.raises(SystemExit):
        every.main()


def test_the_table_says_whether_targets_are_held():
    measured = [
        Measurement("maps", [2.0] * 5, "s", over=[1.0] * 5, over_what="passes", at_most=1.5),
        Measurement("memory", [2.0] * 5, "MiB", at_most=3),
        Measurement("time", [2.0] * 5, "s"),
    ]
    lines = every.summary([{"subject": "cam", **one.row()} for one in measured]).splitlines()
    assert [line.split()[-1] for line in lines[1:]] == ["MISSED", "yes", "s"]
    assert "2.00" in lines[1]
    assert "maps over passes" in lines[1]
