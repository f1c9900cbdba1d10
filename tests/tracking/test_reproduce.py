"""A model is made again from its commit, its uncommitted changes and its parameters; what differs is named."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests import warm
from wsss_mm.cli.main import main
from wsss_mm.clusters import CLUSTER
from wsss_mm.files import write_json
from wsss_mm.tracking import keep_evidence, training_run
from wsss_mm.tracking.reproduce import _dvc, _slides_precision, _warn_of_other_precision
from wsss_mm.tracking.store import connect

pytestmark = pytest.mark.xdist_group("mlflow")

DVC_YAML = """stages:
  patches:
    cmd: python make.py
    params: [seed]
    deps: [make.py, source]
    outs: [data/patches]
  gate:
    foreach: {segmenter: 0}
    do:
      cmd: (cat champion || echo none) > gate
      deps: [data/patches]
      outs: [gate]
  register:
    cmd: echo again >> ../registered; echo x > registered
    deps: [data/patches]
    outs: [registered]
"""
MAKE = """import pathlib, yaml
seed = yaml.safe_load(open("params.yaml"))["seed"]
folder = pathlib.Path("data/patches")
folder.mkdir(parents=True)
(folder / "manifest").write_text(f"{seed} {open('source/slides').read()} committed")
(folder / "other").write_text("other")
"""


@pytest.fixture
def model(tracked, monkeypatch, tmp_path_factory, request) -> str:
    """A line that ran with a changed parameter, an uncommitted change and a source that git ignores."""
    for name in ("AUTHOR", "COMMITTER"):
        monkeypatch.setenv(f"GIT_{name}_NAME", "t")
        monkeypatch.setenv(f"GIT_{name}_EMAIL", "t@t")

    def run(*command: str) -> None:
        subprocess.run(command, check=True, capture_output=True)

    (tracked / ".gitignore").write_text(
        "/mlflow.db\n/mlartifacts/\n/source/\n/data/patches\n/registered\n/champion\n/gate\n"
    )
    (tracked / "source").mkdir()
    (tracked / "source/slides").write_text("slides")
    (tracked / "champion").write_text("of the day")
    (tracked / "dvc.yaml").write_text(DVC_YAML)
    (tracked / "make.py").write_text(MAKE)
    (tracked / "params.yaml").write_text("seed: 0\ncohort: {source: source}\n")
    run(warm.dvc(), "init", "-q")
    run("git", "add", "-A")
    run("git", "commit", "-qm", "line")
    (tracked / "make.py").write_text(MAKE.replace("committed", "changed"))
    (tracked / "params.yaml").write_text("seed: 7\ncohort: {source: source}\n")
    monkeypatch.setenv("PATH", f"{Path(sys.executable).parent}:/usr/bin:/bin")
    run(warm.dvc(), "repro", "-q")
    assert (tracked / "data/patches/manifest").read_text() == "7 slides changed"
    with training_run("segmenter", {}) as active:
        pass
    tags = connect().MlflowClient().get_run(active.info.run_id).data.tags
    keep_evidence(tracked, active.info.run_id, {"commit": tags["git.commit"], "runs": {}})
    client, name = connect().MlflowClient(), request.node.name
    client.create_registered_model(name)
    client.create_model_version(name, active.info.artifact_uri, active.info.run_id)
    run("git", "checkout", "-q", "make.py", "params.yaml")
    return f"models:/{name}/1"


def test_the_same_bytes_come_out(model, tracked, capsys):
    before = (tracked.parent / "registered").read_text()
    assert main(["reproduce", model, "--apply-diff"]) == 0
    out = capsys.readouterr().out
    assert out.splitlines()[0].startswith("same")
    assert out.splitlines()[1].startswith("its day")  # the clone knows no champion
    assert "none of 2 outs differ" in out
    assert (tracked.parent / "registered").read_text() == before  # register was not run again
    assert subprocess.run(["git", "status", "--porcelain"], capture_output=True, text=True, check=True).stdout == (
        "?? dvc.lock\n"
    )


def test_what_differs_is_named(model, tracked, capsys):
    (tracked / "source/slides").write_text("other slides")
    assert main(["reproduce", model, "--apply-diff", "--keep", str(tracked / "kept")]) == 1
    out = capsys.readouterr().out
    assert out.startswith("differs")
    assert out.splitlines()[0].endswith("data/patches  (manifest)")
    assert (tracked / "kept/data/patches/manifest").read_text() == "7 other slides changed"
    assert main(["reproduce", model, "--keep", str(tracked / "kept")]) == 2


def test_what_cannot_be_made_again_is_said(tracked, capsys):
    with training_run("segmenter", {}) as active:
        pass
    client = connect().MlflowClient()
    client.create_registered_model("bare")
    client.create_model_version("bare", active.info.artifact_uri, active.info.run_id)
    assert main(["reproduce", "models:/bare/1"]) == 2
    assert "nothing says what it was made of" in capsys.readouterr().err
    (tracked / "dvc.lock").write_text("stages:\n  a:\n    outs:\n    - {path: x, md5: y}\n")
    (tracked / "params.yaml").write_text("seed: 0\n")
    keep_evidence(tracked, active.info.run_id, {"commit": "0" * 40, "runs": {}})
    assert main(["reproduce", "models:/bare/1"]) == 2
    assert "git fetch" in capsys.readouterr().err


def test_another_precision_of_the_slides_is_said(tmp_path, caplog):
    for name, precision in (("then", "bf16"), ("now", "fp32")):
        models = {"rows": 1, "values": [{"weights_md5": "0" * 32, "precision": precision, "slides": 2}]}
        write_json(tmp_path / name / "reports/gates/slides.json", {"measured": {"models": models}})
    then, now, none = (_slides_precision(tmp_path / name) for name in ("then", "now", "none"))
    _warn_of_other_precision(then, then)
    _warn_of_other_precision(none, now)
    assert not caplog.records
    _warn_of_other_precision(then, now)
    assert "in bf16 then, in fp32 now" in caplog.text


def test_a_clone_is_run_on_this_machine(tmp_path, monkeypatch):
    """It lies in a temporary folder, which the nodes of a cluster do not share."""
    given = []

    def run(*_, env, **__):
        given.append(env)
        return subprocess.CompletedProcess([], 0)

    monkeypatch.setenv(CLUSTER, "auto")
    monkeypatch.setattr(subprocess, "run", run)
    _dvc(tmp_path, "repro")
    assert "PATH" in given[0]
    assert CLUSTER not in given[0]
