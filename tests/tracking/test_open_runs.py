"""Runs that were left open are closed, and nothing else is."""

import subprocess
import sys
from pathlib import Path

import pytest

from wsss_mm.tracking import open_runs, training_run
from wsss_mm.tracking.open_runs import close_abandoned, mark
from wsss_mm.tracking.store import connect, experiment_id

pytestmark = pytest.mark.xdist_group("mlflow")


@pytest.fixture
def abandoned(tracked):
    """Leaves a run open, as a killed process does; gives its id and its mark."""
    client = connect().MlflowClient()

    def leave() -> tuple[str, Path]:
        run_id = client.create_run(experiment_id("segmenter")).info.run_id
        mark(run_id)._stream.close()
        return run_id, tracked / f"work_dirs/open_runs/{run_id}.json"

    return leave


def status(run_id: str) -> str:
    return connect().MlflowClient().get_run(run_id).info.status


def test_a_run_that_its_process_closes_at_this_moment_is_left_alone(abandoned, monkeypatch):
    run_id, path = abandoned()
    client = connect().MlflowClient()

    def lock(stream):  # while we wait for the lock, the owner of the mark finishes and removes it
        client.set_terminated(run_id, "FINISHED")
        path.unlink()
        return True

    monkeypatch.setattr(open_runs, "try_lock", lock)
    assert close_abandoned() == []
    assert status(run_id) == "FINISHED"


def test_a_mark_that_is_gone_before_it_is_opened_is_no_error(abandoned, monkeypatch):
    run_id, path = abandoned()
    found = path.parent.glob
    monkeypatch.setattr(Path, "glob", lambda *_: [path.with_name("gone.json"), *found("*.json")])
    assert close_abandoned() == [run_id]
    assert not path.with_name("gone.json").exists()


@pytest.mark.parametrize("content", ["", '{"uri": ', "[]", '{"kind": 1}'])
def test_a_damaged_mark_does_not_stop_trainings(abandoned, content, caplog):
    _, path = abandoned()
    path.write_text(content, encoding="utf-8")
    with training_run("train_segmenter", {}) as run:
        assert status(run.info.run_id) == "RUNNING"
    assert not path.exists()
    assert path.name in caplog.text


def test_a_run_that_someone_deleted_does_not_stop_trainings(abandoned):
    run_id, path = abandoned()
    connect().MlflowClient().delete_run(run_id)
    assert close_abandoned() == []
    assert not path.exists()


def test_a_mark_of_another_process_names_it_as_long_as_that_lives(tracked):
    script = (
        "import sys; from wsss_mm.tracking.open_runs import mark; m = mark('a'); print('held', flush=True); "
        "sys.stdin.read()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as holder:
        assert holder.stdout.readline() == "held\n"
        assert close_abandoned() == []
        assert (tracked / "work_dirs/open_runs/a.json").exists()
        holder.stdin.close()
    assert close_abandoned() == []  # there is no such run, and now nobody holds it
    assert not (tracked / "work_dirs/open_runs/a.json").exists()
