"""The MLflow server is killed (SIGKILL) at the start, in the middle, while unsent runs are sent: nothing is lost."""

import fcntl
import shutil
import signal
import sqlite3
import subprocess
import sys
from contextlib import closing

import numpy as np
import pytest
from matplotlib.figure import Figure
from mlflow.protos import databricks_pb2
from mlflow.utils.request_utils import _cached_get_request_session

from tests.tracking.server import Server
from wsss_mm.cli.main import main
from wsss_mm.engine.mlflow_backend import MLflowBackend
from wsss_mm.errors import InputError
from wsss_mm.interrupts import INTERRUPTED
from wsss_mm.outage import send, shown
from wsss_mm.tracking import log_gate, model_run, tag_weights, training_run
from wsss_mm.tracking.finding import refuse_unsent
from wsss_mm.tracking.store import connect, tracking_uri
from wsss_mm.tracking.sync import sync
from wsss_mm.tracking.unsent import Refuge, unsent_folder

pytestmark = pytest.mark.xdist_group("mlflow")

STEPS = 12


@pytest.fixture
def server(project, store, tmp_path_factory, monkeypatch):
    """A server that is not started yet, and the store of the project."""
    folder = tmp_path_factory.mktemp("server")
    shutil.copyfile(store / "empty.db", folder / "mlflow.db")
    server = Server(folder)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", server.uri)
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    unsent_folder().mkdir(parents=True)
    shutil.copyfile(store / "empty.db", unsent_folder() / "mlflow.db")
    yield server
    connect().end_run()
    server.kill()
    _cached_get_request_session.cache_clear()  # MLflow keeps a connection to each server for ever


def train(weights, *, then=lambda step: None):
    """A training as the stages do it: parameters, a curve, pictures, a figure, the digest of its weights."""
    weights.parent.mkdir(parents=True, exist_ok=True)
    weights.write_bytes(weights.as_posix().encode())
    backend = MLflowBackend()
    with training_run(f"train_{weights.parent.name}", {"lr": 0.5}, [weights], tags={"note": "n"}) as run:
        for step in range(STEPS):
            backend.add_scalars({"loss": 1 / (step + 1), "nan": float("nan")}, step)
            then(step)
        backend.add_image("test/image", np.full((4, 4, 3), 9, np.uint8), STEPS)
        figure = Figure()
        send(connect().log_figure, figure, "figures/f.png")
        tag_weights(weights)
    return run.info.run_id


def curve(run_id, key="loss"):
    return sorted((item.step, item.value) for item in connect().MlflowClient().get_metric_history(run_id, key))


def complete(run_id):
    """What the server has of a training."""
    run = connect().MlflowClient().get_run(run_id)
    files = {item.path for item in connect().MlflowClient().list_artifacts(run_id)}
    assert run.info.status == "FINISHED"
    assert run.info.end_time is not None
    assert run.data.params == {"lr": "0.5"}
    assert run.data.tags["note"] == "n"
    assert {"environment.txt", "figures", "images"} <= files
    assert len(run.inputs.dataset_inputs) == 1
    assert curve(run_id) == [(step, 1 / (step + 1)) for step in range(STEPS)]
    assert len(curve(run_id, "nan")) == STEPS
    return run


def counts(server):
    """Rows and files of the server: what grows if something is sent twice."""
    with closing(sqlite3.connect(server.database)) as database:
        tables = ("runs", "metrics", "params", "tags", "inputs")
        rows = [database.execute(f"select count(*) from {table}").fetchone()[0] for table in tables]
    return rows, sorted(path.name for path in (server.folder / "a").rglob("*") if path.is_file())


@pytest.mark.slow
def test_every_point_arrives(server, project, capsys, monkeypatch):
    server.start()
    whole = train(project / "models/whole/weights.pth")
    complete(whole)
    assert not list((project / "work_dirs/open_runs").glob("*.json"))

    broken = train(project / "models/segmenter/weights.pth", then=lambda step: server.kill() if step == 4 else None)
    train(project / "models/classifier/weights.pth")  # the server is down from the start
    with model_run(project / "models/whole/weights.pth"):  # that run is on the server
        log_gate("patches", True, {"failed": 3}, [])
    with model_run(project / "models/segmenter/weights.pth"):  # a part of that one is
        log_gate("segmenter", True, {"failed": 0}, [])
    with pytest.raises(InputError, match="first: wsss-mm sync"):
        refuse_unsent(project / "models/segmenter/weights.pth")
    assert main(["sync"]) == 2
    assert "does not answer" in capsys.readouterr().err

    server.start()
    for calls in (0, 2, 5):  # a sync that breaks off, at several places
        with monkeypatch.context() as patch:
            _break_after(patch, calls)
            assert main(["sync"]) == INTERRUPTED
    with (unsent_folder() / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_SH)  # as a training has it that logs there
        assert main(["sync"]) == 2
    assert "sync again when it has ended" in capsys.readouterr().err
    assert main(["sync"]) == 0
    found = connect().search_runs(search_all_experiments=True, output_format="list")
    (made,) = [run.info.run_id for run in found if "unsent.id" in run.data.tags]
    assert complete(broken).data.tags["gate.segmenter"] == "passed"
    complete(made)
    assert complete(whole).data.metrics["gate.patches.failed"] == 3
    assert not unsent_folder().exists()

    before = counts(server)
    assert main(["sync"]) == 0
    assert "nothing is unsent" in capsys.readouterr().out
    assert counts(server) == before
    assert len(before[1]) == len(set(before[1])) + 2 * 2  # figures and environments, a set for each of 3 runs


def _break_after(patch, calls):
    """Sending breaks off after so many calls that write."""
    left = [calls]
    client = connect().MlflowClient

    def breaking(original):
        def call(self, *args, **kwargs):
            if self.tracking_uri.startswith("http"):
                if left[0] == 0:
                    raise KeyboardInterrupt
                left[0] -= 1
            return original(self, *args, **kwargs)

        return call

    for name in ("log_batch", "log_artifact", "create_run", "log_inputs", "set_terminated"):
        patch.setattr(client, name, breaking(getattr(client, name)))


_KILLED = """
import os, signal
from wsss_mm.tracking import training_run
with training_run("train_segmenter", {}) as run:
    print(run.info.run_id, flush=True)
    os.kill(os.getpid(), signal.SIGKILL)
"""


def test_a_killed_run_is_closed_by_the_next_one(tracked):
    output = subprocess.run([sys.executable, "-c", _KILLED], capture_output=True, text=True, check=False).stdout
    client, killed = connect().MlflowClient(), output.strip()
    assert client.get_run(killed).info.status == "RUNNING"
    with training_run("train_classifier", {}):
        run = client.get_run(killed)
    assert run.info.status == "KILLED"
    assert run.info.end_time is not None
    assert "SIGKILL" in run.data.tags["error"]
    assert not list((tracked / "work_dirs/open_runs").iterdir())


_KILLED_ADDING = """
import os, signal
from pathlib import Path
from wsss_mm.tracking import model_run
with model_run(Path("data/a.txt")) as run:
    assert run is not None
    os.kill(os.getpid(), signal.SIGKILL)
"""


def test_a_finished_run_that_a_killed_stage_left_open_is_as_it_was(tracked):
    client, weights = connect().MlflowClient(), tracked / "data/a.txt"
    with training_run("train_segmenter", {}) as run:
        tag_weights(weights)
    before = client.get_run(run.info.run_id).info
    killed = subprocess.run([sys.executable, "-c", _KILLED_ADDING], capture_output=True, check=False)
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    assert client.get_run(run.info.run_id).info.status == "RUNNING"
    with model_run(weights):
        log_gate("patches", True, {}, [])
    after = client.get_run(run.info.run_id)
    assert (after.info.status, after.info.end_time) == ("FINISHED", before.end_time)
    assert "error" not in after.data.tags


def test_a_run_that_is_at_work_stays_open(tracked):
    client = connect().MlflowClient()
    with training_run("train_segmenter", {}) as run:
        other = subprocess.run(
            [sys.executable, "-c", "from wsss_mm.tracking.open_runs import close_abandoned as c; print(c())"],
            capture_output=True,
            text=True,
            check=True,
        )
        assert other.stdout.strip() == "[]"
        assert client.get_run(run.info.run_id).info.status == "RUNNING"


def test_nothing_is_removed_before_the_server_gives_it_back(tracked, store, monkeypatch):
    unsent_folder().mkdir(parents=True)
    shutil.copyfile(store / "empty.db", unsent_folder() / "mlflow.db")
    refuge = Refuge("segmenter", tracking_uri(), adds=False)
    refuge.enter()
    run = refuge.start_run({"note": "kept"})
    connect().log_text("text", "a/b.txt")
    connect().end_run()
    refuge.leave()

    with monkeypatch.context() as patch:
        patch.setattr(connect().MlflowClient, "log_artifact", lambda *_, **__: None)
        with pytest.raises(InputError, match=r"lacks b\.txt, though they were sent; nothing local is removed"):
            list(sync())
    assert (unsent_folder() / "artifacts" / run.run_id / "artifacts/a/b.txt").read_text() == "text"
    (sent,) = sync()
    assert sent.files == 1
    assert not unsent_folder().exists()
    assert connect().artifacts.load_text(f"runs:/{sent.run_id}/a/b.txt") == "text"


def test_what_needs_the_server_says_so_in_one_line(project, monkeypatch, capsys):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://someone:secret@127.0.0.1:9")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    assert main(["models", "list", "--name", "segmenter"]) == 2
    message = capsys.readouterr().err
    assert "http://127.0.0.1:9: the MLflow server does not answer" in message
    assert "wsss-mm sync" in message
    assert "secret" not in message
    assert message.count("\n") == 1


def test_a_password_is_not_shown():
    assert shown("https://a:b@host:1/path") == "https://host:1/path"


@pytest.mark.parametrize("arguments", [["list"], ["promote"], ["card"]])
@pytest.mark.parametrize("code", ["UNAUTHENTICATED", "PERMISSION_DENIED"])
def test_who_is_not_let_in_is_told_what_to_correct(project, monkeypatch, capsys, arguments, code):
    mlflow = connect()
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")

    def refuse(*_, **__):
        raise mlflow.exceptions.MlflowException("not authenticated", getattr(databricks_pb2, code))

    for name in ("search_model_versions", "get_model_version_by_alias"):
        monkeypatch.setattr(mlflow.MlflowClient, name, refuse)
    assert main(["models", *arguments, "--name", "segmenter"]) == 2
    message = capsys.readouterr().err
    assert "http://127.0.0.1:9: the MLflow server refuses this user or password (not authenticated)" in message
    assert "MLFLOW_TRACKING_PASSWORD" in message
    assert message.count("\n") == 1
