"""`make repro` says where it is and what it made; stages under a plain `dvc repro` do the same and say less."""

import json
import os
import subprocess
import sys
import time

import pytest
import yaml

from pipelines.outcome import outcome, stopped
from pipelines.progress import duration, ended_since, known_times, timed_stage, whereabouts
from wsss_mm import places
from wsss_mm.files import write_json, write_text

LINE = {"cohort": ["patches", "train"], "labels": [], "patches": ["train"], "train": []}


@pytest.mark.parametrize(
    ("stage", "times", "says"),
    [
        ("cohort", {"cohort": 10, "labels": 999, "patches": 20, "train": 590}, "stage 1 of 4, about 10 min to the end"),
        ("train", {"train": 89.6}, "stage 4 of 4, about 2 min to the end"),
        ("labels", {"labels": 0.2}, "stage 2 of 4, about 1 s to the end"),
        ("cohort", {"patches": 40}, "stage 1 of 4, 40 s to the end, and what 2 stages take that never ran here"),
        ("patches", {"cohort": 5}, "stage 3 of 4; how long it takes is known after the first run"),
    ],
)
def test_a_stage_says_which_it_is_and_what_is_ahead(stage, times, says):
    assert whereabouts(stage, LINE, times) == f"{says}: {stage}"


def test_who_is_in_no_line_says_nothing():
    assert whereabouts("tune@trial", LINE, {}) is None
    assert whereabouts("cohort", {}, {"cohort": 1}) is None


def test_durations_are_as_people_say_them():
    assert [duration(seconds) for seconds in (0.1, 89, 90, 3560, 3599, 4800)] == [
        *("1 s", "89 s", "2 min", "59 min", "1 h 0 min", "1 h 20 min")
    ]


@pytest.fixture
def project(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DVC_STAGE", "cohort")
    monkeypatch.delenv(places.STAGES_VARIABLE, raising=False)
    return tmp_path


def test_times_are_kept_of_stages_that_end_well(project, monkeypatch, capsys):
    began = time.time()
    with timed_stage():
        pass
    monkeypatch.setenv("DVC_STAGE", "dvc.yaml:gate@cohort")
    with timed_stage():
        pass
    monkeypatch.setenv("DVC_STAGE", "patches")
    with pytest.raises(ValueError), timed_stage():
        raise ValueError
    monkeypatch.delenv("DVC_STAGE")
    with timed_stage():  # by hand
        pass
    assert sorted(known_times()) == sorted(ended_since(began)) == ["cohort", "gate@cohort"]
    assert ended_since(time.time() + 60) == []
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize("text", ["", "{", "[]", '{"cohort": 3}', '{"cohort": {"seconds": "long", "ended": 1}}'])
def test_a_memory_that_is_damaged_is_none(project, text, monkeypatch, capsys):
    write_text(places.STAGE_TIMES, text)
    monkeypatch.setenv(places.STAGES_VARIABLE, json.dumps(LINE))
    assert known_times() == {}
    with timed_stage():
        pass
    assert capsys.readouterr().err == "stage 1 of 4; how long it takes is known after the first run: cohort\n"
    assert list(known_times()) == ["cohort"]


@pytest.mark.parametrize("line", ["", "no JSON", "[1]", '{"cohort": 1}'])
def test_an_environment_that_says_nothing_is_passed_over(project, line, monkeypatch, capsys):
    monkeypatch.setenv(places.STAGES_VARIABLE, line)
    with timed_stage():
        pass
    assert capsys.readouterr().err == ""


def test_a_time_that_cannot_be_kept_fails_no_stage(project, monkeypatch, caplog):
    places.STAGE_TIMES.parent.write_text("in the way")
    with timed_stage():
        pass
    assert "how long cohort took is not kept" in caplog.text


@pytest.fixture
def made(project):
    """What a line leaves, as far as the summary reads it."""
    write_json(places.SUMMARY_METRICS, {"miou": 0.9312, "iou.TE": 0.94, "iou.NEC": None, "miou_pseudo_labels": 0.868})
    interval = {"bootstrap": {"ungated": {"miou": [0.92, 0.94]}}}
    write_json(places.TEST_METRICS, {"n_patches": 112, "n_slides": 2} | interval)
    write_json(places.LINEAR_PROBE, {"miou": 0.71})
    for name, passed in (("patches", True), ("segmenter", True)):
        checks = [{"passed": True}, {"passed": name != "patches"}]
        write_json(places.GATES / f"{name}.json", {"passed": passed, "checks": checks})
    write_text(places.RESULTS / "slides.csv", "slide_id,status\nS1,done\nS2,failed\n")
    write_json(places.REGISTERED, {"model": "segmenter-phantom"})
    return project


def test_the_end_says_what_there_is(made):
    write_json(places.STAGE_TIMES, {"cohort": {"seconds": 3, "ended": time.time() + 60}})
    text = "\n".join(outcome(made, time.time(), LINE))
    assert text.startswith("The line is through: 1 of 4 stages ran anew, in 1 s.\n")
    assert "mIoU     0.931 on the test split (112 patches of 2 slides), 95 % interval 0.920 to 0.940\n" in text
    assert "NEC no truth, TE 0.940\n" in text
    assert "pseudo-labels: 0.868; linear probe, the first baseline: 0.710\n" in text
    assert "gates    2 of 2 passed, with warnings: patches 1: reports/gates/index.html\n" in text
    assert "slides   1 segmented, 1 failed: results/slides/index.html\n" in text
    assert "registered as segmenter-phantom\n" in text
    for command in ("wsss-mm view", "wsss-mm report", "make ui", "wsss-mm models promote", "dvc push"):
        assert command in text
    assert "\x1b" not in text


def test_nothing_to_do_is_said(made):
    assert outcome(made, time.time(), LINE)[0] == "Nothing to do: all of it is as it was."


@pytest.mark.parametrize("path", [places.SUMMARY_METRICS, places.TEST_METRICS, places.GATES / "patches.json"])
def test_what_is_damaged_does_not_spoil_the_end(made, path):
    path.write_text('{"bootstrap": "none", "miou": "good"')
    assert outcome(made, time.time(), LINE)
    path.write_text('{"bootstrap": "none", "checks": "none", "miou": "good"}')
    assert outcome(made, time.time(), LINE)


def test_a_gate_that_failed_is_named_where_the_line_stopped(made):
    write_json(places.GATES / "slides.json", {"passed": False, "checks": []})
    said = "\n".join(stopped(time.time(), LINE))
    assert "`make repro` goes on from there" in said
    assert "slides failed: reports/gates/index.html" in said


STAGE = "from pipelines.progress import timed_stage\nwith timed_stage():\n    "


@pytest.fixture
def two_stages(project, project_root, monkeypatch):
    """A project of two stages, of which the second builds on the first."""
    from dvc.repo import Repo

    monkeypatch.delenv("DVC_STAGE")
    Repo.init(no_scm=True).close()
    for name, text in (("first", "open('a', 'w').write('a')"), ("second", "open('b', 'w').write(open('a').read())")):
        (project / f"{name}.py").write_text(STAGE + text + "\n")
    first = {"cmd": "python first.py", "deps": ["first.py"], "outs": ["a"]}
    second = {"cmd": "python second.py", "deps": ["second.py", "a"], "outs": ["b"]}
    (project / "dvc.yaml").write_text(yaml.safe_dump({"stages": {"second": second, "first": first}}))

    def run(*command):
        folder = os.path.dirname(sys.executable)  # noqa: PTH120  a link of a venv stays one
        around = {"PATH": f"{folder}{os.pathsep}{os.environ['PATH']}", "PYTHONPATH": str(project_root)}
        return subprocess.run(command, env=os.environ | around, capture_output=True, text=True, check=False)

    return run


@pytest.mark.slow
def test_make_repro_says_where_it_is_and_a_plain_repro_does_not(two_stages, project, project_root):
    script = (sys.executable, str(project_root / "scripts/whole_line.py"))
    done = two_stages(*script)
    assert done.returncode == 0, done.stderr
    assert "stage 1 of 2; how long it takes is known after the first run: first\n" in done.stderr
    assert "stage 2 of 2; how long it takes is known after the first run: second\n" in done.stderr
    assert "The line is through: 2 of 2 stages ran anew, in " in done.stdout
    assert "\x1b" not in done.stdout + done.stderr  # what is piped is read later
    lock, times = (project / "dvc.lock").read_bytes(), known_times()
    assert sorted(times) == ["first", "second"]

    assert "Nothing to do" in two_stages(*script).stdout
    (project / "second.py").write_text(STAGE + "raise SystemExit(3)\n")
    failed = two_stages(*script)
    assert failed.returncode == 255  # DVC's own
    assert "stage 2 of 2, about 1 s to the end: second\n" in failed.stderr
    assert "`make repro` goes on from there" in failed.stderr
    assert (project / "dvc.lock").read_bytes() == lock

    (project / "second.py").write_text(STAGE + "open('b', 'w').write('new')\n")
    plain = two_stages(sys.executable, "-m", "dvc", "repro")
    assert plain.returncode == 0
    assert "stage 2 of 2" not in plain.stderr + plain.stdout
    assert known_times()["second"] > 0


def test_the_makefile_runs_it(project_root):
    recipe = (project_root / "Makefile").read_text(encoding="utf-8").partition("\nrepro:")[2].partition("\n\n")[0]
    assert "python scripts/whole_line.py" in recipe
