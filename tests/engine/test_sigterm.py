"""The stage as a process of its own gets SIGTERM at work: exit 143, a checkpoint, a closed run; then the rest."""

import os
import shutil
import signal
import sqlite3
import subprocess
import time
from contextlib import closing

import pytest

from tests import warm
from tests.engine.test_training import paths
from tests.settings import write_settings
from wsss_mm.engine import train_classifier

_ROWS = 12
_SECONDS = 600


@pytest.fixture
def many(params):
    """Long enough to be met at work."""
    return params.model_copy(update={"classifier": params.classifier.model_copy(update={"epochs": 60})})


@pytest.fixture
def stage(project_root, cohort, many, empty_store, tmp_path):
    """Starts train_classifier in a project of its own."""
    shutil.copyfile(empty_store, tmp_path / "mlflow.db")
    shutil.copytree(cohort / "patches", tmp_path / "data/patches")
    (tmp_path / "mmconfigs").symlink_to(project_root / "mmconfigs")
    write_settings(tmp_path, many)
    environment = {**os.environ, "PYTHONPATH": str(project_root), "TQDM_DISABLE": "1", "OMP_NUM_THREADS": "1"}
    for name in ("MLFLOW_TRACKING_URI", "DVC_ROOT", "DVC_STAGE"):
        environment.pop(name, None)

    def start():
        with (tmp_path / "log").open("ab") as log:
            command = [warm.python(), "-m", "pipelines.train_classifier"]
            return subprocess.Popen(command, cwd=tmp_path, env=environment, stdout=log, stderr=log)

    return start


def rows(root):
    """Rows of the curves so far."""
    return sum(len(path.read_text().splitlines()) for path in root.glob("work_dirs/classifier/*/curves.csv"))


def runs(root):
    with closing(sqlite3.connect(root / "mlflow.db")) as database:
        return database.execute("select status, end_time from runs order by start_time").fetchall()


@pytest.mark.slow
def test_it_ends_with_143_and_the_rest_is_the_same(stage, many, cohort, tmp_path, project_root, monkeypatch):
    first = stage()
    end = time.monotonic() + _SECONDS
    while rows(tmp_path) < _ROWS and first.poll() is None and time.monotonic() < end:
        time.sleep(0.02)
    first.send_signal(signal.SIGTERM)
    log = tmp_path / "log"
    assert first.wait(_SECONDS) == 143, log.read_text()
    (checkpoint,) = tmp_path.glob("work_dirs/classifier/*/checkpoint-*.pth")
    assert not (tmp_path / "models").exists()
    ((status, ended),) = runs(tmp_path)
    assert status == "FAILED"
    assert ended

    assert stage().wait(_SECONDS) == 0, log.read_text()
    assert f"resuming the unfinished training in {checkpoint.parent.relative_to(tmp_path)}" in log.read_text()
    assert [status for status, _ in runs(tmp_path)] == ["FAILED", "FINISHED"]
    undisturbed = paths(cohort, tmp_path / "undisturbed")
    monkeypatch.chdir(project_root)
    train_classifier(many, undisturbed)
    for name in ("weights.pth", "model.json"):
        assert (tmp_path / "models/classifier" / name).read_bytes() == (undisturbed.out / name).read_bytes()
    assert (tmp_path / "reports/plots/classifier_curves.csv").read_bytes() == undisturbed.curves.read_bytes()
