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
from tests.settings import write_settings

_SECONDS = 600

HELD = """
import runpy, time
from pathlib import Path
from wsss_mm.engine.checkpoints import ResumableCheckpointHook
from wsss_mm.engine.hooks import ProgressHook
original = ProgressHook.after_train_iter
def hold(self, runner, *args, **kwargs):
    original(self, runner, *args, **kwargs)
    if runner.iter + 1 == 10:
        Path("at work").touch()
        (saving,) = (hook for hook in runner.hooks if isinstance(hook, ResumableCheckpointHook))
        end = time.monotonic() + 600
        while not saving.asked_to_end and time.monotonic() < end:
            time.sleep(0.01)
ProgressHook.after_train_iter = hold
runpy.run_module("pipelines.train_classifier", run_name="__main__", alter_sys=True)
"""


@pytest.fixture
def stage(project_root, cohort, params, empty_store, tmp_path):
    """Starts train_classifier in a project of its own."""
    shutil.copyfile(empty_store, tmp_path / "mlflow.db")
    shutil.copytree(cohort / "patches", tmp_path / "data/patches")
    (tmp_path / "mmconfigs").symlink_to(project_root / "mmconfigs")
    write_settings(tmp_path, params)
    environment = {**os.environ, "PYTHONPATH": str(project_root), "TQDM_DISABLE": "1", "OMP_NUM_THREADS": "1"}
    for name in ("MLFLOW_TRACKING_URI", "DVC_ROOT", "DVC_STAGE"):
        environment.pop(name, None)

    def start(*command):
        with (tmp_path / "log").open("ab") as log:
            return subprocess.Popen([warm.python(), *command], cwd=tmp_path, env=environment, stdout=log, stderr=log)

    return start


def runs(root):
    with closing(sqlite3.connect(root / "mlflow.db")) as database:
        return database.execute("select status, end_time from runs order by start_time").fetchall()


@pytest.mark.slow
def test_it_ends_with_143_and_the_rest_is_the_same(stage, trained, tmp_path):
    first = stage("-c", HELD)  # at its tenth step, it waits for the signal
    end = time.monotonic() + _SECONDS
    while not (tmp_path / "at work").exists() and first.poll() is None and time.monotonic() < end:
        time.sleep(0.02)
    first.send_signal(signal.SIGTERM)
    log = tmp_path / "log"
    assert first.wait(_SECONDS) == 143, log.read_text()
    checkpoint = max(tmp_path.glob("work_dirs/classifier/*/checkpoint-*.pth"))
    assert checkpoint.stem == "checkpoint-00000010"  # of the step that it was met at
    assert not (tmp_path / "models").exists()
    ((status, ended),) = runs(tmp_path)
    assert status == "FAILED"
    assert ended

    assert stage("-m", "pipelines.train_classifier").wait(_SECONDS) == 0, log.read_text()
    assert f"resuming the unfinished training in {checkpoint.parent.relative_to(tmp_path)}" in log.read_text()
    assert [status for status, _ in runs(tmp_path)] == ["FAILED", "FINISHED"]
    undisturbed, _ = trained("classifier")
    for name in ("weights.pth", "model.json"):
        assert (tmp_path / "models/classifier" / name).read_bytes() == (undisturbed.out / name).read_bytes()
    assert (tmp_path / "reports/plots/classifier_curves.csv").read_bytes() == undisturbed.curves.read_bytes()
