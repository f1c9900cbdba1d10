"""Trials go through DVC's queue, around one whose workers die, and what was made before is found again."""

import json
import os
import stat
import subprocess

import pytest

from tests.warm import script
from wsss_mm.choosing.tuning import experiments
from wsss_mm.choosing.tuning.experiments import Experiments, Trial, check_project
from wsss_mm.choosing.tuning.values import with_values
from wsss_mm.errors import InputError
from wsss_mm.settings import load_profile

DVC = '''\
"""Stands in for DVC: a queue in files; a trial is as good as its learning rate."""
import json, os, pathlib, subprocess, sys
state = pathlib.Path(os.environ["FAKE_DVC"])
tasks = json.loads((state / "tasks").read_text()) if (state / "tasks").exists() else {}
arguments = sys.argv[1:]
with (state / "log").open("a") as log:
    log.write(" ".join(arguments) + "\\n")
def git(*words, **more):
    return subprocess.run(["git", *words], check=True, capture_output=True, text=True, **more).stdout.strip()
def make(name, words):
    given = dict(word.split("=", 1) for word in words if "=" in word)
    rate = float(given.get("segmenter.lr", 0.5))
    if rate > 1:
        print("ERROR: failed to reproduce 'tune@trial'\\nerror: too large")
        return False
    said = json.dumps({"value": rate, "seconds": 2.0, "counts": None})
    blob = git("hash-object", "-w", "--stdin", input=said)
    inner = git("mktree", input=f"100644 blob {blob}\\tcounts.json\\n")
    tune = git("mktree", input=f"040000 tree {inner}\\ttune\\n")
    tree = git("mktree", input=f"040000 tree {tune}\\treports\\n")
    head = git("rev-parse", "HEAD")
    commit = git("commit-tree", tree, "-p", head, "-m", name)
    git("update-ref", f"refs/exps/{head[:2]}/{head[2:]}/{name}", commit)
    return True
if arguments[:2] == ["exp", "run"]:
    name = arguments[arguments.index("-n") + 1]
    if "--queue" in arguments:
        tasks[name] = ["Queued", arguments]
    elif not make(name, arguments):
        sys.exit(1)
elif arguments[:2] == ["queue", "start"]:
    if not (state / "dead").exists():
        for name, task in tasks.items():
            if task[0] == "Queued":
                task[0] = "Success" if make(name, task[1]) else "Failed"
elif arguments[:2] == ["queue", "status"]:
    print("Task     Name    Created    Status")
    for name, task in tasks.items():
        print(f"abc {name}  07:41 PM   {task[0]}")
    print("\\nWorker status: 0 active, 0 idle")
elif arguments[:2] == ["queue", "remove"]:
    tasks = {name: task for name, task in tasks.items() if name not in arguments}
elif arguments[:2] == ["queue", "logs"]:
    print("ERROR: failed to run\\nerror: too large")
(state / "tasks").write_text(json.dumps(tasks))
'''


@pytest.fixture(scope="module")
def base():
    return load_profile("phantom")


@pytest.fixture
def project(tmp_path, monkeypatch):
    """A git repository with a DVC that pretends; gives its root and the folder of that DVC."""
    bin_, state, root = (tmp_path / name for name in ("bin", "state", "project"))
    for folder in (bin_, state, root / "data/patches"):
        folder.mkdir(parents=True)
    (bin_ / "dvc").write_text(script(DVC))
    (bin_ / "dvc").chmod(0o755 | stat.S_IXUSR)
    monkeypatch.setenv("PATH", f"{bin_}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setenv("FAKE_DVC", str(state))
    for name in ("AUTHOR", "COMMITTER"):
        monkeypatch.setenv(f"GIT_{name}_NAME", "t")
        monkeypatch.setenv(f"GIT_{name}_EMAIL", "t@t")
    monkeypatch.setattr(experiments, "_POLL", 0.0)
    monkeypatch.setattr(experiments, "_LOOK", 0.0)
    for name in ("dvc.lock", "tune.yaml", "data/patches/manifest.parquet"):
        (root / name).write_text("x\n")
    for words in (["init", "-q"], ["add", "-A"], ["commit", "-qm", "a"]):
        subprocess.run(["git", *words], cwd=root, check=True)
    return root, state


def _trials(base, *rates):
    return [Trial(f"tune-{rate}", with_values(base, {"segmenter.lr": rate}, "x")) for rate in rates]


def _log(state):
    return (state / "log").read_text().splitlines() if (state / "log").exists() else []


def test_trials_go_through_the_queue_and_one_that_fails_says_why(project, base, caplog):
    root, state = project
    check_project(root)
    found = list(Experiments(root, base)(_trials(base, 0.25, 2.0, 0.75)))
    scores = {trial.name: score and score.value for trial, score in found}
    assert scores == {"tune-0.25": 0.25, "tune-0.75": 0.75, "tune-2.0": None}
    assert "tune-2.0 failed: ERROR: failed to run" in caplog.text
    queued = [line for line in _log(state) if "--queue" in line]
    assert len(queued) == 3
    assert "-S segmenter.lr=0.25 -S tune.yaml:trials=[trial] tune@trial" in queued[0]
    again = Experiments(root, base)(_trials(base, 0.75))
    assert [score.value for _, score in again] == [0.75]
    assert len([line for line in _log(state) if "--queue" in line]) == 3


def test_a_queue_without_workers_is_gone_around(project, base, caplog):
    root, state = project
    (state / "dead").touch()
    found = list(Experiments(root, base)(_trials(base, 0.25, 0.5)))
    assert [score.value for _, score in found] == [0.25, 0.5]
    assert "no worker lives" in caplog.text
    assert json.loads((state / "tasks").read_text()) == {}
    assert sum("queue start" in line for line in _log(state)) == 3
    assert sum("--temp" in line for line in _log(state)) == 2


def test_what_is_no_longer_wanted_is_taken_out_of_the_queue(project, base):
    root, state = project
    (state / "dead").touch()
    running = Experiments(root, base)(_trials(base, 0.25, 0.5))
    made = Experiments(root, base, queue=False)(_trials(base, 0.25))
    assert next(made)[1].value == 0.25
    assert next(running)[0].name == "tune-0.25"  # it was there
    running.close()
    assert json.loads((state / "tasks").read_text()) == {}


def test_where_no_experiment_can_be_made_is_one_line(project, tmp_path):
    root, _ = project
    (root / "dvc.lock").write_text("changed\n")
    with pytest.raises(InputError, match=r"^dvc.lock: changed since the last commit.*git commit -a"):
        check_project(root)
    subprocess.run(["git", "checkout", "-q", "."], cwd=root, check=True)
    (root / "data/patches/manifest.parquet").unlink()
    subprocess.run(["git", "commit", "-qam", "b"], cwd=root, check=True)
    with pytest.raises(InputError, match=r"manifest.parquet: not found; make it with: dvc repro gate@patches"):
        check_project(root)
    bare = tmp_path / "bare"
    bare.mkdir()
    with pytest.raises(InputError, match=r"no git repository.*git init"):
        check_project(bare)
    subprocess.run(["git", "init", "-q"], cwd=bare, check=True)
    with pytest.raises(InputError, match=r"has no commit"):
        check_project(bare)
