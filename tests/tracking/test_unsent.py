"""The store of unsent runs: who logs there keeps it, and what goes from one store to the other goes on there."""

import fcntl
import shutil
import time

import pytest

from wsss_mm.errors import InputError
from wsss_mm.tracking import sync as syncing
from wsss_mm.tracking import unsent
from wsss_mm.tracking.finding import EXPERIMENT_TAG, JUDGED_TAG, NUMBER_TAG, PARENT_TAG, WEIGHTS_TAG
from wsss_mm.tracking.runs import tag_weights, training_run
from wsss_mm.tracking.store import connect, experiment_id, tracking_uri
from wsss_mm.tracking.sync import sync
from wsss_mm.tracking.unsent import Refuge, alone, unsent_folder

pytestmark = pytest.mark.xdist_group("mlflow")


@pytest.fixture
def refuge(tracked, store):
    """A refuge from the current store, as if that were a server."""
    unsent_folder().mkdir(parents=True)
    shutil.copyfile(store / "empty.db", unsent_folder() / "mlflow.db")
    return lambda adds: Refuge("segmenter", tracking_uri(), adds=adds)


def test_what_was_added_to_a_run_that_the_server_never_had_is_no_open_run_there(refuge):
    adding = refuge(adds=True)
    adding.enter()
    adding.start_run({WEIGHTS_TAG: "0" * 32})
    connect().end_run("RUNNING")  # the status of the run it adds to, as `model_run` found it
    adding.leave()
    (sent,) = sync()
    run = connect().MlflowClient().get_run(sent.run_id)
    assert (run.info.status, run.info.end_time is not None, "error" in run.data.tags) == ("FINISHED", True, False)


def test_an_evaluation_that_was_kept_becomes_a_child_of_its_training(refuge, tracked):
    """Its training is on the server, and shows the figures as if nothing had been lost."""
    weights = tracked / "weights.pth"
    weights.write_text("of an outage")
    with training_run("train_segmenter", {}) as run:
        md5 = tag_weights(weights)
    kept = refuge(adds=False)
    kept.enter()
    kept.start_run({JUDGED_TAG: md5, PARENT_TAG: "0" * 32, EXPERIMENT_TAG: "none", NUMBER_TAG: "000000001"})
    connect().log_metrics({"test.ungated.miou": 0.5, "other": 1.0})
    connect().end_run()
    kept.leave()
    (sent,) = sync()
    client = connect().MlflowClient()
    child, training = client.get_run(sent.run_id), client.get_run(run.info.run_id)
    assert child.data.tags[PARENT_TAG] == run.info.run_id
    assert child.data.tags[NUMBER_TAG] > training.data.tags[NUMBER_TAG]
    measured = {name for name in training.data.metrics if name.startswith("system/")}  # of a training that took long
    assert {name: training.data.metrics[name] for name in training.data.metrics.keys() - measured} == {
        "test.ungated.miou": 0.5
    }


def test_a_store_that_begins_while_a_sync_removes_the_old_one_stays(refuge, monkeypatch):
    logging = refuge(adds=False)
    logging.enter()
    logging.leave()
    remove, begun = shutil.rmtree, unsent_folder() / "begun"

    def removing(path, **options):
        begun.parent.mkdir(exist_ok=True)
        begun.touch()
        remove(path, **options)

    monkeypatch.setattr(shutil, "rmtree", removing)
    assert list(sync()) == []
    assert begun.exists()
    assert list(begun.parent.parent.glob("unsent*")) == [begun.parent]


def test_who_waited_for_a_store_that_was_replaced_holds_the_new_one(project, monkeypatch):
    unsent_folder().mkdir(parents=True)
    flock, replaced = fcntl.flock, []

    def waiting(stream, operation):
        if not replaced:
            replaced.append(unsent_folder().rename(unsent_folder().with_name("old")))
            unsent_folder().mkdir()
            (unsent_folder() / "lock").touch()
        flock(stream, operation)

    monkeypatch.setattr(unsent.fcntl, "flock", waiting)
    with unsent._store_lock(), pytest.raises(InputError, match="a training logs there"), alone():
        pass
    with alone():
        pass


def test_nothing_is_open_in_the_folder_that_a_sync_removes(refuge, monkeypatch):
    """NFS keeps what is open under another name, and then its folder cannot be removed."""
    logging = refuge(adds=False)
    logging.enter()
    logging.leave()
    locked = []

    def removing(path, **_):
        if (path / "lock").exists():
            with (path / "lock").open("w") as stream:
                fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
            locked.append(path)

    monkeypatch.setattr(syncing.shutil, "rmtree", removing)
    assert list(sync()) == []
    assert len(locked) == 1


def test_system_metrics_go_on_where_they_were(refuge, monkeypatch):
    from mlflow.tracking.fluent import run_id_to_system_metrics_monitor as monitors

    monkeypatch.setenv("MLFLOW_SYSTEM_METRICS_SAMPLING_INTERVAL", "0.2")
    mlflow, name = connect(), "system/cpu_utilization_percentage"

    def steps(run_id: str, least: int) -> list[int]:
        for _ in range(300):
            found = [item.step for item in mlflow.MlflowClient().get_metric_history(run_id, name)]
            if len(found) >= least:
                break
            time.sleep(0.1)
        return found

    before = mlflow.start_run(experiment_id=experiment_id("segmenter"), log_system_metrics=True).info.run_id
    assert len(steps(before, 2)) >= 2
    first = monitors[before]
    switched = refuge(adds=False)
    switched.enter()
    continued = mlflow.active_run().info.run_id
    after = steps(continued, 2)
    mlflow.end_run()
    switched.leave()
    first._process.join(60)
    assert not first._process.is_alive()  # nobody measures for the first one any more
    earlier = steps(before, 1)
    assert continued != before
    assert len(after) >= 2
    assert earlier[-1] < after[0]
    assert after[0] - first._logging_step in (0, 1)
