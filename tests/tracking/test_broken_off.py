"""Ctrl-C and SIGTERM in a stage whose store stands still: one line, its exit code, and all that was logged is here."""

import json
import signal
import socket
import subprocess
import threading

import pytest

from tests import warm
from wsss_mm.interrupts import INTERRUPTED
from wsss_mm.tracking.copier import Copier, sync
from wsss_mm.tracking.finding import newest_first
from wsss_mm.tracking.local import Head, begin, unsent_folder
from wsss_mm.tracking.store import connect

pytestmark = pytest.mark.xdist_group("mlflow")

LONG = 100  # s, the end of what ends by itself
LINE = "interrupted; the same command goes on"
ENDED = 128 + signal.SIGTERM

STAGE = """
import os, signal, sys, time
from pathlib import Path
from wsss_mm.active_run import active_run
from wsss_mm.interrupts import interruptible, run_program, say_when_interrupted
from wsss_mm.tracking import log_gate, model_run, training_run
from wsss_mm.tracking.copier import Copier

say_when_interrupted("LINE")

def press(number=signal.SIGINT):
    os.kill(os.getpid(), number)
    time.sleep(600)

def training(then):
    with training_run("train_segmenter", {"lr": 0.5}):
        for step in range(5):
            active_run().metrics({"loss": step / 7}, step)
        then()

def adding(then):
    with model_run(Path("data/a.txt")):
        log_gate("cohort", True, [])
        then()

def passed_over():
    try:
        press()
    except KeyboardInterrupt:
        pass

def at_its_end():
    wait = Copier.end
    def end(self, **how):
        import threading
        main = threading.main_thread().ident
        threading.Timer(1, signal.pthread_kill, (main, signal.SIGINT)).start()
        wait(self, **how)
    Copier.end = end

def download_stands_still():
    from concurrent.futures import ThreadPoolExecutor
    from mlflow import MlflowClient
    pool = ThreadPoolExecutor(1)  # as MLflow has one for each run
    MlflowClient.download_artifacts = lambda *_: pool.submit(time.sleep, 600).result()

def last():
    active_run().text("text", "a.txt")
    download_stands_still()
    press()

def sending():
    import threading
    from concurrent.futures import ThreadPoolExecutor
    from mlflow import MlflowClient
    from wsss_mm.cli.main import main
    pool, main_thread = ThreadPoolExecutor(1), threading.main_thread().ident
    start = threading.Thread.start
    def pressed_before_it_is_noted(thread):
        start(thread)
        if thread.name.startswith("ThreadPoolExecutor"):
            signal.pthread_kill(main_thread, signal.SIGINT)
            time.sleep(1)
    threading.Thread.start = pressed_before_it_is_noted
    MlflowClient.download_artifacts = lambda *_: pool.submit(time.sleep, 600).result()
    sys.exit(main(["sync"]))

run_program(lambda: WORK, "LINE")
""".replace("LINE", LINE)


def ended(work):
    command = [warm.python(), "-c", STAGE.replace("WORK", work)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=LONG)
    return done.stderr.splitlines(), done.returncode


def logged():
    """What the journals here say."""
    found = []
    for path in unsent_folder().glob("*/run.jsonl"):
        text = path.read_text()
        assert text.endswith("\n")
        found += [json.loads(line) for line in text.splitlines()]
    return found


@pytest.fixture
def silent(project, monkeypatch):
    """A server that takes connections and never answers, where MLflow waits for long."""
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", "600")
    with socket.create_server(("127.0.0.1", 0)) as server:
        monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://127.0.0.1:{server.getsockname()[1]}")
        yield


@pytest.mark.parametrize(
    ("work", "code", "how"),
    [
        ("training(press)", INTERRUPTED, "KILLED"),
        ("training(lambda: press(signal.SIGTERM))", ENDED, "FAILED"),
        pytest.param("training(passed_over)", INTERRUPTED, "FINISHED", marks=pytest.mark.slow),
        pytest.param("training(at_its_end)", INTERRUPTED, "FINISHED", marks=pytest.mark.slow),
        ("adding(press)", INTERRUPTED, ""),
        pytest.param("adding(at_its_end)", INTERRUPTED, "", marks=pytest.mark.slow),
    ],
)
def test_a_silent_server_is_not_waited_for(silent, work, code, how):
    said, found = ended(work)
    assert found == code, said
    assert not [line for line in said if "Traceback" in line]
    assert said.count(LINE) == (code == INTERRUPTED)
    assert "when that answers again: wsss-mm sync" in "\n".join(said)
    entries = logged()
    assert [entry["end"] for entry in entries if "end" in entry] == [how] * bool(how)
    if work.startswith("training"):
        assert [entry["step"] for entry in entries if "loss" in entry.get("metrics", {})] == list(range(5))
    else:
        assert {"gate.cohort": "passed", "gate.cohort.failed": "none"} in [entry.get("tags") for entry in entries]


def test_it_is_sent_later(silent, store, monkeypatch):
    """To a store that answers."""
    ended("training(press)")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{store}/mlflow.db")
    (found,) = sync()
    run = connect().MlflowClient().get_run(found.run_id)
    assert (run.info.status, run.data.metrics["loss"]) == ("KILLED", 4 / 7)
    assert not unsent_folder().exists()


def test_a_download_that_stands_still_is_not_waited_for(tracked):
    """MLflow downloads in threads of its own, which Python would wait for."""
    assert ended("training(last)")[1] == INTERRUPTED
    (found,) = sync()
    assert connect().artifacts.load_text(f"runs:/{found.run_id}/a.txt") == "text"


def test_neither_does_sync_wait_for_it(tracked):
    run = begin(Head(experiment="segmenter", name="r"))
    run.text("text", "a.txt")
    run.end("FINISHED")
    run.close()
    said, code = ended("sending()")
    assert code == INTERRUPTED, said
    assert not [line for line in said if "Traceback" in line]
    (found,) = sync()
    assert connect().artifacts.load_text(f"runs:/{found.run_id}/a.txt") == "text"


@pytest.mark.slow
def test_a_store_that_answers_gets_all(tracked):
    said, code = ended("training(press)")
    assert (said[-1], code) == (LINE, INTERRUPTED)
    assert not unsent_folder().exists()
    assert newest_first(connect().MlflowClient(), "status = 'KILLED' and metrics.loss > 0.5", most=1)


def test_what_is_still_under_way_harms_no_journal(tracked, monkeypatch):
    """A request that is answered after nobody waited for it any more."""
    monkeypatch.setattr("wsss_mm.tracking.calls.STANDSTILL", 0.1)
    made, answer = connect().MlflowClient.create_run, threading.Event()

    def late(*args):
        answer.wait(LONG)
        return made(*args)

    monkeypatch.setattr(connect().MlflowClient, "create_run", late)
    run = begin(Head(experiment="segmenter", name="r"))
    run.metrics({"loss": 1.0})
    run.end("KILLED")
    copier = Copier(run)
    copier.end(broken_off=True)
    run.close()
    before = (run.folder / "run.jsonl").read_bytes()
    answer.set()
    copier._thread.join()
    assert (run.folder / "run.jsonl").read_bytes() == before
    assert len(list(sync())) == 1
    (found,) = newest_first(connect().MlflowClient(), f"tags.`local.id` = '{run.head.id}'")
    assert found.info.status == "KILLED"


def test_what_waits_from_before_is_left_for_later(tracked, monkeypatch):
    """By an end that is broken off; a normal one brings it home."""
    begin(Head(experiment="segmenter", name="before")).close()
    for broken_off in (True, False):
        run = begin(Head(experiment="segmenter", name="now"))
        run.end("FINISHED")
        Copier(run).end(broken_off=broken_off)
        assert unsent_folder().exists() == broken_off
        assert not run.folder.exists()


def test_a_closed_run_is_no_longer_this_ones_to_remove(project):
    run = begin(Head())
    run.close()
    run.tags({"late": "x"})
    run.remove()
    assert "late" not in (run.folder / "run.jsonl").read_text()
    assert run.folder.is_dir()
