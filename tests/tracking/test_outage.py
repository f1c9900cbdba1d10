"""The MLflow server is killed (SIGKILL) at the start, in the middle, while unsent runs are sent: nothing is lost."""

import fcntl
import json
import shutil
import signal
import socket
import sqlite3
import subprocess
import time
from contextlib import ExitStack, closing

import numpy as np
import pytest
from matplotlib.figure import Figure
from mlflow.protos import databricks_pb2
from mlflow.utils.request_utils import _cached_get_request_session

from tests import warm
from tests.tracking.server import Server
from wsss_mm.active_run import active_run
from wsss_mm.cli.main import main
from wsss_mm.engine.mlflow_backend import MLflowBackend
from wsss_mm.errors import InputError
from wsss_mm.interrupts import INTERRUPTED
from wsss_mm.tracking import copier, log_gate, model_run, tag_weights, training_run
from wsss_mm.tracking.copier import ID_TAG, sync
from wsss_mm.tracking.finding import newest_first, refuse_unsent
from wsss_mm.tracking.local import unsent_folder
from wsss_mm.tracking.store import connect
from wsss_mm.uris import shown

pytestmark = pytest.mark.xdist_group("mlflow")

STEPS = 12


@pytest.fixture
def server(project, store, tmp_path_factory, monkeypatch):
    """A server that is not started yet."""
    folder = tmp_path_factory.mktemp("server")
    shutil.copyfile(store / "empty.db", folder / "mlflow.db")
    server = Server(folder)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", server.uri)
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    yield server
    server.kill()
    _cached_get_request_session.cache_clear()  # MLflow keeps a connection to each server for ever


def train(weights, *, then=lambda step, run: None):
    """A training as the stages do it: parameters, a curve, pictures, a figure, the digest of its weights."""
    weights.parent.mkdir(parents=True, exist_ok=True)
    weights.write_bytes(weights.as_posix().encode())
    backend = MLflowBackend()
    with training_run(f"train_{weights.parent.name}", {"lr": 0.5}, [weights], tags={"note": "n"}) as run:
        for step in range(STEPS):
            backend.add_scalars({"loss": 1 / (step + 1), "nan": float("nan")}, step)
            then(step, run)
        backend.add_image("test/image", np.full((4, 4, 3), 9, np.uint8), STEPS)
        figure = Figure()
        active_run().figure(figure, "figures/f.png")
        tag_weights(weights)
    return run.local.head.id


def sent(local_id):
    """The id on the server of what was logged here."""
    (found,) = newest_first(connect().MlflowClient(), f"tags.`{ID_TAG}` = '{local_id}'")
    return found.info.run_id


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
    whole = sent(train(project / "models/whole/weights.pth"))
    complete(whole)
    assert not unsent_folder().exists()

    known = []

    def then(step, run):
        if step == 4:
            known.append(run.info.run_id)  # which has all until now
            server.kill()

    broken = train(project / "models/segmenter/weights.pth", then=then)
    made = train(project / "models/classifier/weights.pth")  # the server is down from the start
    with model_run(project / "models/whole/weights.pth"):  # that run is on the server
        log_gate("patches", True, [])
    with model_run(project / "models/segmenter/weights.pth"):  # a part of that one is
        log_gate("segmenter", True, [])
    with pytest.raises(InputError, match="first: wsss-mm sync"):
        refuse_unsent(project / "models/segmenter/weights.pth")
    assert main(["sync"]) == 2
    assert "does not answer" in capsys.readouterr().err

    server.start()
    for calls in (0, 2, 5):  # a sync that breaks off, at several places
        with monkeypatch.context() as patch:
            _break_after(patch, calls)
            assert main(["sync"]) == INTERRUPTED
    with ExitStack() as stack:
        for path in unsent_folder().glob("*/run.jsonl"):
            fcntl.flock(stack.enter_context(path.open()), fcntl.LOCK_EX)  # as trainings have them that are at work
        count = len(list(unsent_folder().glob("*/run.jsonl")))
        assert main(["sync"]) == 0
        assert f"{count} more at work" in capsys.readouterr().out
    assert main(["sync"]) == 0
    assert known == [sent(broken)]
    assert complete(sent(broken)).data.tags["gate.segmenter"] == "passed"
    complete(sent(made))
    assert complete(whole).data.tags["gate.patches"] == "passed"
    assert not unsent_folder().exists()

    before = counts(server)
    assert main(["sync"]) == 0
    assert "nothing is unsent" in capsys.readouterr().out
    assert counts(server) == before
    assert len(before[1]) == len(set(before[1])) + 2 * 2  # figures and environments, a set for each of 3 runs


@pytest.mark.slow
def test_what_waits_goes_home_with_the_next_run(server, project, monkeypatch):
    """And the curve of one that is at work is on the server while it is at work."""
    monkeypatch.setattr(copier, "_EVERY", 0.05)
    waited = train(project / "models/classifier/weights.pth")
    server.start()

    def then(step, run):
        if step == STEPS - 1:
            end, client = time.monotonic() + 240, connect().MlflowClient()
            while not newest_first(client, f"metrics.loss >= 0 and tags.`{ID_TAG}` = '{run.local.head.id}'"):
                assert time.monotonic() < end
                time.sleep(0.05)
            while len(curve(sent(run.local.head.id))) < STEPS or not newest_first(client, "status = 'FINISHED'"):
                assert time.monotonic() < end
                time.sleep(0.05)
            complete(sent(waited))

    complete(sent(train(project / "models/segmenter/weights.pth", then=then)))
    assert not unsent_folder().exists()


def test_a_silent_server_holds_up_no_step(project, monkeypatch, caplog):
    """It takes the connection and never answers."""
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", "1")
    with socket.create_server(("127.0.0.1", 0)) as silent:
        monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://127.0.0.1:{silent.getsockname()[1]}")
        with training_run("train_segmenter", {}) as run:
            for step in range(1000):
                active_run().metrics({"loss": step / 7}, step)
            lines = (run.local.folder / "run.jsonl").read_text().splitlines()
        assert [json.loads(line)["step"] for line in lines if '"loss"' in line] == list(range(1000))
    assert caplog.text.count("does not answer; what is logged stays in") == 1
    assert "when that answers again: wsss-mm sync" in caplog.text
    assert run.local.folder.is_dir()
    _cached_get_request_session.cache_clear()


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
    output = subprocess.run([warm.python(), "-c", _KILLED], capture_output=True, text=True, check=False).stdout
    client, killed = connect().MlflowClient(), output.strip()
    assert client.get_run(killed).info.status == "RUNNING"
    with training_run("train_classifier", {}) as next_one:
        assert next_one.info.status == "RUNNING"
        run = client.get_run(killed)
    assert run.info.status == "KILLED"
    assert run.info.end_time is not None
    assert "SIGKILL" in run.data.tags["error"]
    assert not unsent_folder().exists()


_KILLED_ADDING = """
import os, signal
from pathlib import Path
from wsss_mm.tracking import log_gate, model_run
with model_run(Path("data/a.txt")):
    log_gate("cohort", True, [])
    os.kill(os.getpid(), signal.SIGKILL)
"""


def test_a_finished_run_that_a_killed_stage_adds_to_is_as_it_was(tracked):
    client, weights = connect().MlflowClient(), tracked / "data/a.txt"
    with training_run("train_segmenter", {}) as run:
        tag_weights(weights)
        run_id = run.info.run_id
    before = client.get_run(run_id).info
    killed = subprocess.run([warm.python(), "-c", _KILLED_ADDING], capture_output=True, check=False)
    assert killed.returncode == 128 + signal.SIGKILL, killed.stderr
    with model_run(weights):
        log_gate("patches", True, [])
    after = client.get_run(run_id)
    assert (after.info.status, after.info.end_time) == ("FINISHED", before.end_time)
    assert (after.data.tags["gate.cohort"], after.data.tags["gate.patches"]) == ("passed", "passed")
    assert "error" not in after.data.tags


def test_a_run_that_is_at_work_stays_open(tracked):
    with training_run("train_segmenter", {}) as run:
        other = subprocess.run(
            [warm.python(), "-c", "from wsss_mm.tracking.copier import sync; print(list(sync()))"],
            capture_output=True,
            text=True,
            check=True,
        )
        assert other.stdout.strip() == "[]"
        assert run.info.status == "RUNNING"
    assert not unsent_folder().exists()


def test_nothing_is_removed_before_the_server_gives_it_back(tracked, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(connect().MlflowClient, "log_artifact", lambda *_, **__: None)
        with training_run("train_segmenter", {}) as run:
            active_run().text("text", "a/b.txt")
        with pytest.raises(InputError, match=r"lacks b\.txt, .*, though they were sent; nothing local is removed"):
            list(sync())
    assert (run.local.files / "a/b.txt").read_text() == "text"
    (done,) = sync()
    assert done.files == 2
    assert not unsent_folder().exists()
    assert connect().artifacts.load_text(f"runs:/{done.run_id}/a/b.txt") == "text"


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
