"""Weights in pretrained/ are dependencies: as dvc.yaml names them, in a repository with stages that train nothing."""

import os
import subprocess

import pytest
import yaml

from tests import warm

STAGES = ("train_classifier", "train_segmenter")
MADE = "models/classifier/made"


def dvc(root, *arguments):
    command = [str(warm.commands() / warm.DVC / "dvc"), *arguments]
    scratch = root.parent / "scratch"  # DVC leaves what it makes there
    scratch.mkdir(exist_ok=True)
    environment = os.environ | {"TMPDIR": str(scratch)}
    done = subprocess.run(
        command, cwd=root, env=environment, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def git(root, *arguments):
    who = ("-c", "user.name=t", "-c", "user.email=t@t")
    subprocess.run(["git", *who, *arguments], cwd=root, check=True, capture_output=True)


@pytest.fixture
def project(tmp_path, project_root):
    """The two trainings, with what the project's dvc.yaml says of pretrained/, and a remote."""
    root = tmp_path / "project"
    (root / "pretrained").mkdir(parents=True)
    for name in ("None", "README.md"):
        (root / "pretrained" / name).write_bytes((project_root / "pretrained" / name).read_bytes())
    stages = yaml.safe_load((project_root / "dvc.yaml").read_text())["stages"]
    fake = {}
    for name in STAGES:
        section = name.removeprefix("train_")
        out = f"models/{section}"
        (dep,) = (dep for dep in stages[name]["deps"] if dep.startswith("pretrained/"))
        make = f"mkdir -p {out} && cat pretrained/${{{section}.weights}} > {out}/made && echo {name} >> ../log"
        fake[name] = {"cmd": make, "params": [section], "deps": [dep], "outs": [out]}
    (root / "dvc.yaml").write_text(yaml.safe_dump({"vars": ["params.yaml"], "stages": fake}))
    set_weights(root, None)
    git(root, "init", "-q")
    dvc(root, "init", "-q")
    dvc(root, "remote", "add", "-q", "-d", "here", str(tmp_path / "remote"))
    git(root, "add", "-A")
    git(root, "commit", "-qm", "line")
    return root


def set_weights(root, name):
    (root / "params.yaml").write_text(yaml.safe_dump({"classifier": {"weights": name}, "segmenter": {"weights": None}}))


def ran(root):
    log = root.parent / "log"
    lines = log.read_text().split() if log.exists() else []
    log.unlink(missing_ok=True)
    return sorted(lines)


def test_a_training_runs_again_for_the_file_it_begins_with_alone(project):
    dvc(project, "repro")
    assert ran(project) == [*STAGES]
    (project / "pretrained/w.pth").write_text("first")
    dvc(project, "add", "pretrained/w.pth")  # which git-ignored folders refuse
    dvc(project, "repro")
    assert ran(project) == []
    set_weights(project, "w.pth")
    dvc(project, "repro")
    assert ran(project) == ["train_classifier"]
    (project / "pretrained/w.pth").write_text("second")
    dvc(project, "repro")
    assert ran(project) == ["train_classifier"]
    assert (project / MADE).read_text() == "second"
    dvc(project, "repro")
    assert ran(project) == []


def test_clones_experiments_and_queues_have_it(project, tmp_path):
    (project / "pretrained/w.pth").write_text("first")
    dvc(project, "add", "pretrained/w.pth")
    set_weights(project, "w.pth")
    dvc(project, "repro")
    git(project, "add", "-A")
    git(project, "commit", "-qm", "weights")
    dvc(project, "push", "-q")
    git(tmp_path, "clone", "-q", str(project), "clone")
    dvc(tmp_path / "clone", "pull", "-q")
    ran(project)
    assert (tmp_path / "clone/pretrained/w.pth").read_text() == "first"
    (tmp_path / "clone/pretrained/w.pth").unlink()
    dvc(tmp_path / "clone", "repro", "--allow-missing")
    assert ran(project) == []
    assert "Ran experiment" in dvc(project, "exp", "run", "--temp", "--force")
