"""What is written here first is copied whole and once, whenever and however often that is tried."""

import errno
import json
import os
import shutil
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
from matplotlib.figure import Figure

from wsss_mm.active_run import active_run
from wsss_mm.cli.main import main
from wsss_mm.errors import InputError
from wsss_mm.tracking import copier, finding, local, log_gate, model_run, training_run
from wsss_mm.tracking.copier import ID_TAG, Copier, sync
from wsss_mm.tracking.evaluations import adding_run, judging_run
from wsss_mm.tracking.finding import EVALUATION_TAG, JUDGED_TAG, NUMBER_TAG, PARENT_TAG, WEIGHTS_TAG, newest_first
from wsss_mm.tracking.local import Head, begin, unsent_folder
from wsss_mm.tracking.machine import Machine
from wsss_mm.tracking.runs import tag_weights
from wsss_mm.tracking.store import connect

pytestmark = pytest.mark.xdist_group("mlflow")


@pytest.fixture
def weights(tracked, request):
    path = tracked / "weights.pth"
    path.write_text(request.node.name)
    return path


def waits(**head) -> local.LocalRun:
    """A run that was logged to its end and not sent."""
    run = begin(Head(experiment="segmenter", name="n", **head))
    run.metrics({"loss": 0.5, "most": float("inf"), "none": float("nan")}, 3)
    run.text("text", "a/note.txt")
    run.end("FINISHED")
    run.close()
    return run


def found(local_id: str) -> list:
    return newest_first(connect().MlflowClient(), f"tags.`{ID_TAG}` = '{local_id}'")


class TestCopies:
    def test_a_second_time_changes_nothing(self, tracked):
        run = waits()
        kept = shutil.copytree(run.folder, tracked / "kept")
        (first,) = sync()
        shutil.copytree(kept, run.folder)  # as if nobody had been told that it is there
        (again,) = sync()
        assert first.run_id == again.run_id
        client = connect().MlflowClient()
        for key in ("loss", "most", "none"):
            assert len(client.get_metric_history(first.run_id, key)) == 1
        assert [item.path for item in client.list_artifacts(first.run_id, "a")] == ["a/note.txt"]
        assert not unsent_folder().exists()

    def test_a_run_whose_making_was_not_answered_is_found(self, tracked, monkeypatch):
        client = connect().MlflowClient
        create = client.create_run

        def unanswered(*args, **kwargs):
            create(*args, **kwargs)
            raise RuntimeError("(sqlite3.OperationalError) database is locked")

        with monkeypatch.context() as patch:
            patch.setattr(client, "create_run", unanswered)
            with training_run("train_segmenter", {}) as run:
                pass
        list(sync())  # unless its second try has found it
        (made,) = found(run.local.head.id)
        assert made.info.status == "FINISHED"

    def test_a_run_that_somebody_deleted_meanwhile_is_made_again(self, tracked, monkeypatch):
        client = connect().MlflowClient
        with monkeypatch.context() as patch:
            patch.setattr(client, "set_terminated", lambda *_: 1 / 0)
            with training_run("train_segmenter", {}) as run:
                pass
        (before,) = found(run.local.head.id)
        client().delete_run(before.info.run_id)
        (done,) = sync()
        assert done.run_id != before.info.run_id
        assert client().get_run(done.run_id).info.status == "FINISHED"

    def test_what_the_store_refuses_is_said_and_stays(self, tracked, caplog, capsys):
        with training_run("train_segmenter", {}) as refused:
            active_run().metrics({"loss (%)": 0.5})
        assert ": refused; what is logged stays in" in caplog.text
        other = waits()
        assert main(["sync"]) == 2
        said = capsys.readouterr()
        assert f"run {found(other.head.id)[0].info.run_id} is complete" in said.out  # though it waited behind that one
        assert said.err.startswith(f"wsss-mm: error: {refused.local.folder}: the store refuses this run (")
        assert [path.name for path in unsent_folder().iterdir()] == [refused.local.head.id]

    def test_a_run_that_mlflow_made_twice_is_there_once(self, tracked, monkeypatch):
        """It repeats a request whose answer takes longer than its patience."""
        client = connect().MlflowClient
        create = client.create_run

        def twice(*args, **kwargs):
            create(*args, **kwargs)
            return create(*args, **kwargs)

        monkeypatch.setattr(client, "create_run", twice)
        with training_run("train_segmenter", {"lr": 0.5}) as run:
            active_run().metrics({"loss": 0.5})
        (made,) = found(run.local.head.id)
        assert (made.info.status, made.data.metrics["loss"]) == ("FINISHED", 0.5)

    def test_a_file_that_is_written_again_is_sent_again(self, tracked):
        with training_run("train_segmenter", {}) as run:
            for text in ("first", "again"):
                active_run().text(text, "note.txt")
                run_id = run.info.run_id  # the store has all until now
        assert connect().artifacts.load_text(f"runs:/{run_id}/note.txt") == "again"
        assert not unsent_folder().exists()

    def test_a_run_of_a_killed_process_ends_with_what_it_logged_last(self, tracked, caplog):
        run = begin(Head(begun=1000, experiment="segmenter", name="segmenter {number}: ce"))
        run.record(metrics={"loss": 0.5}, step=1, time=5000)
        run.close()
        list(sync())
        (killed,) = found(run.head.id)
        assert (killed.info.status, killed.info.end_time) == ("KILLED", 5000)
        assert "run segmenter: ce is KILLED now" in caplog.text

    def test_a_lost_store_is_waited_for_once(self, tracked, monkeypatch):
        waits()
        asked = []

        def lost(*_, **__):
            asked.append(1)
            raise RuntimeError("(sqlite3.OperationalError) database is locked")

        monkeypatch.setattr(connect().MlflowClient, "search_experiments", lost)
        with adding_run(Head(adds="model", md5="a" * 32)):
            active_run().tags({"gate.patches": "passed"})
        assert len(asked) == 1
        with local.waiting() as runs:
            assert len(runs) == 2
            for run in runs:
                run.remove()

    def test_a_long_value_that_the_store_cuts_off_is_there(self, tracked):
        with training_run("train_segmenter", {"long": "x" * 10_000}) as run:
            active_run().tags({"long": "y" * 10_000})
            run_id = run.info.run_id
        assert not unsent_folder().exists()
        assert set(connect().get_run(run_id).data.params["long"]) == {"x"}

    def test_of_two_who_send_at_once_the_second_says_so(self, tracked, monkeypatch, capsys):
        run = waits()
        monkeypatch.setattr(copier, "sync", lambda: iter(()))  # as if the other had taken it just now
        assert main(["sync"]) == 0
        assert capsys.readouterr().out == f"{unsent_folder()}: another process sends 1 at this moment\n"
        run.remove()

    def test_runs_keep_their_order(self, tracked):
        second, first = waits(begun=2000), waits(begun=1000)
        assert [item.run_id for item in sync()] == [found(run.head.id)[0].info.run_id for run in (first, second)]
        numbers = [found(run.head.id)[0].data.tags[NUMBER_TAG] for run in (first, second)]
        assert numbers == sorted(set(numbers))


class TestJournal:
    @pytest.mark.parametrize("content", ["", '{"uri": ', "[]", '{"format": 1, "kind": 1}', '{"format": 1}\n{"a"'])
    def test_a_damaged_one_does_not_stop_trainings(self, tracked, content, caplog, capsys):
        path = unsent_folder() / ("0" * 32) / "run.jsonl"
        path.parent.mkdir(parents=True)
        path.write_text(content, encoding="utf-8")
        with training_run("train_segmenter", {}) as run:
            assert run.info.status == "RUNNING"
        assert path.exists()
        assert f"{path}: " in caplog.text
        assert main(["sync"]) == 0
        assert capsys.readouterr().out == f"{unsent_folder()}: nothing else is unsent\n"

    def test_a_line_that_was_cut_off_costs_no_other(self, tracked):
        run = waits()
        path = run.folder / "run.jsonl"
        lines = path.read_text().splitlines()
        path.write_text("\n".join(lines[:2]) + "\n" + lines[2][:-5])
        with local.waiting() as runs:
            runs[0].metrics({"later": 1.0}, 1)
        assert [set(json.loads(line)) for line in path.read_text().splitlines()[3:]] == [{"metrics", "step", "time"}]
        (done,) = sync()
        assert connect().MlflowClient().get_run(done.run_id).data.metrics["later"] == 1.0

    def test_who_begins_while_the_last_one_is_removed_has_a_folder(self, project, monkeypatch):
        mkdir, raced = Path.mkdir, []

        def overtaken(self, *args, **kwargs):
            mkdir(self, *args, **kwargs)
            if not raced:
                raced.append(shutil.rmtree(unsent_folder()))

        monkeypatch.setattr(Path, "mkdir", overtaken)
        run = begin(Head())
        assert (run.folder / "run.jsonl").is_file()
        run.close()

    def test_nothing_is_open_in_the_folder_that_is_removed(self, project, monkeypatch):
        """NFS keeps what is open under another name, and then its folder cannot be removed."""
        run, closed = begin(Head()), []
        monkeypatch.setattr(local.shutil, "rmtree", lambda *_, **__: closed.append(run._stream.closed))
        run.remove()
        assert closed == [True]

    def test_a_process_that_was_forked_does_not_keep_it(self, project):
        """Such as a worker that loads data, which lives on for a while; it has the same open file."""
        run = begin(Head())
        inherited = os.dup(run._stream.fileno())
        run.close()
        with local.waiting() as runs:
            assert [item.head for item in runs] == [run.head]
        os.close(inherited)

    def test_a_folder_of_somebody_else_stays(self, project):
        kept = unsent_folder() / f"{'0' * 32}.bak"
        kept.mkdir(parents=True)
        with local.waiting():
            assert kept.is_dir()

    def test_a_disk_that_is_full_from_the_beginning_ends_no_training(self, tracked, monkeypatch, caplog):
        mkdir = Path.mkdir

        def full(self, *args, **kwargs):
            if unsent_folder() in self.parents:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(self))
            mkdir(self, *args, **kwargs)

        monkeypatch.setattr(Path, "mkdir", full)
        with training_run("train_segmenter", {}) as run:
            active_run().metrics({"loss": 0.5})
        (made,) = found(run.local.head.id)
        assert (made.info.status, made.data.metrics["loss"]) == ("FINISHED", 0.5)
        assert caplog.text.count("No space left on device") == 1

    def test_no_room_for_temporary_files_ends_no_training(self, project, monkeypatch, caplog):
        """MLflow writes there what becomes an artifact."""

        def full(*_, **__):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

        run = begin(Head())
        monkeypatch.setattr("mlflow.MlflowClient._log_artifact_helper", full)
        run.text("x", "note.txt")
        run.figure(Figure(), "figure.png")
        assert caplog.text.count("files of the run are not kept") == 1
        run.close()

    def test_one_that_was_half_removed_is_not_sent_again(self, tracked):
        run = waits()
        run.folder.rename(run.folder.with_name(f"{run.folder.name}.{'a' * 32}"))
        assert list(sync()) == []
        assert not list(unsent_folder().iterdir())

    def test_a_picture_is_called_as_mlflow_calls_it(self, tracked):
        with training_run("train_segmenter", {}) as run:
            active_run().image(np.zeros((4, 4, 3), np.uint8), "test/image", 7)
            run_id = run.info.run_id
        names = [item.path for item in connect().MlflowClient().list_artifacts(run_id, "images")]
        assert len([name for name in names if name.startswith("images/test~image+step+7+")]) == 2
        assert connect().get_run(run_id).data.tags["mlflow.loggedImages"] == "True"


class TestAdding:
    def test_an_evaluation_that_came_first_becomes_a_child_of_its_training(self, weights):
        md5 = "e" * 32
        evaluation = waits(tags={JUDGED_TAG: md5})
        assert len(list(sync())) == 1
        with training_run("train_segmenter", {}) as run:
            active_run().tags({WEIGHTS_TAG: md5})
            training = run.info.run_id
        (child,) = found(evaluation.head.id)
        assert child.data.tags[PARENT_TAG] == training

    def test_the_training_shows_the_rest_of_a_figure_that_was_broken_off(self, weights, monkeypatch):
        """That it shows an evaluation already is no reason to leave off: it is this one."""
        with training_run("train_segmenter", {}) as run:
            md5 = tag_weights(weights)
            training = run.info.run_id
        evaluation = waits(tags={JUDGED_TAG: md5})
        list(sync())
        with monkeypatch.context() as patch:
            patch.setattr(connect().MlflowClient, "log_artifact", lambda *_: 1 / 0)
            with adding_run(Head(adds="evaluation", md5=md5, of=evaluation.head.id, experiment="segmenter")):
                active_run().metrics({"test.ungated.miou": 0.5})
                active_run().figure(Figure(), "figures/iou.png")
        assert [item.run_id for item in sync()] == [training]
        shown = connect().get_run(training)
        assert shown.data.metrics["test.ungated.miou"] == 0.5
        assert shown.data.tags[EVALUATION_TAG] == found(evaluation.head.id)[0].info.run_id
        assert [item.path for item in connect().MlflowClient().list_artifacts(training, "figures")]

    def test_what_nobody_made_is_not_kept(self, weights, caplog):
        for opened in (judging_run(weights), model_run(weights)):
            with opened:
                log_gate("patches", True, [])
        assert not unsent_folder().exists()
        assert caplog.text.count("no MLflow run in") == 2

    def test_a_killed_stage_of_another_store_is_left_to_that(self, tracked, capsys):
        waits(store="another")
        with training_run("train_segmenter", {}):
            pass
        with local.waiting() as runs:
            assert len(runs) == 1
        assert main(["sync"]) == 2
        assert "sent where? set MLFLOW_TRACKING_URI" in capsys.readouterr().err

    def test_what_an_older_release_did_not_send_is_named(self, tracked, capsys):
        unsent_folder().mkdir(parents=True)
        (unsent_folder() / "mlflow.db").touch()
        assert main(["sync"]) == 2
        assert "an older release of wsss_mm did not send" in capsys.readouterr().err


def test_the_machine_is_measured_until_the_end(tracked, monkeypatch):
    monkeypatch.setenv("MLFLOW_SYSTEM_METRICS_SAMPLING_INTERVAL", "0.05")
    connect()
    run = begin(Head())
    machine = Machine(run)
    machine.start()
    while len(run.entries) < 3:
        machine._thread.join(0.01)
        assert machine._thread.is_alive()
    machine.end()
    count = len(run.entries)
    assert [entry["step"] for entry in run.entries] == list(range(count))
    assert "system/cpu_utilization_percentage" in run.entries[0]["metrics"]
    run.close()


def test_the_copier_is_quiet_about_small_files(tracked, capsys):
    with training_run("train_segmenter", {}):
        active_run().text("x", "note.txt")
    assert "Downloading" not in capsys.readouterr().err


def test_two_that_are_copied_at_once_get_two_numbers(tracked, monkeypatch):
    """As by two syncs, or a sync and a training, whatever each of them waits for between its two calls."""
    both, ask = threading.Barrier(2), finding.newest_first

    def slowly(*args, **how):
        found = ask(*args, **how)
        if how.get("most") == 1 and args[1] == "":
            with suppress(threading.BrokenBarrierError):
                both.wait(2)  # the other has asked, too, or cannot
        return found

    runs = [begin(Head(experiment="segmenter", name="segmenter {number} (0)")) for _ in range(2)]
    with monkeypatch.context() as patch, ThreadPoolExecutor(2) as pool:
        patch.setattr(finding, "newest_first", slowly)
        copied = list(pool.map(lambda run: Copier(run).finish(), runs))
    numbers = {connect().MlflowClient().get_run(run.run_id).data.tags[NUMBER_TAG] for run in copied}
    assert len(numbers) == 2


def test_a_deleted_runs_number_is_not_given_again(tracked):
    """It may be restored."""
    client, numbers = connect().MlflowClient(), []
    for _ in range(2):
        copied = Copier(begin(Head(experiment="segmenter", name="r"))).finish()
        numbers.append(client.get_run(copied.run_id).data.tags[NUMBER_TAG])
        client.delete_run(copied.run_id)
    assert int(numbers[1]) == int(numbers[0]) + 1


def test_a_project_that_takes_no_lock_has_numbers_all_the_same(tracked, monkeypatch):
    def full(path, **_):
        raise InputError(f"{path}: no space left on device")

    monkeypatch.setattr(finding, "locked", full)
    assert Copier(begin(Head(experiment="segmenter", name="r"))).finish().run_id
