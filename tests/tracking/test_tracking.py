"""Runs say what they were made from and how they ended; weights find their run and become one version each."""

import os
import platform
import signal
import subprocess
import sys
import time
from pathlib import Path
from urllib.parse import urlparse

import numpy as np
import pytest
import yaml
from pydantic import BaseModel

from tests import warm
from wsss_mm.active_run import active_run
from wsss_mm.errors import InputError
from wsss_mm.tracking import (
    download_model,
    list_versions,
    model_run,
    register_segmenter,
    resolve_uri,
    tag_weights,
    training_run,
)
from wsss_mm.tracking.finding import NUMBER_TAG
from wsss_mm.tracking.lineage import dvc_digest, dvc_digests, git_diff, git_state
from wsss_mm.tracking.store import adding, connect, experiment_id, project_root, tracking_uri
from wsss_mm.tracking.surroundings import flatten

pytestmark = pytest.mark.xdist_group("mlflow")

LOOKS = 20  # s


class Settings(BaseModel):
    lr: float = 0.1
    scales: tuple[float, ...] = (0.5, 1.0)


def get_run(run):
    return connect().MlflowClient().get_run(run.info.run_id)


class TestStore:
    def test_the_default_is_a_database_in_the_project(self, project, monkeypatch):
        assert tracking_uri() == f"sqlite:///{project}/mlflow.db"
        monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:5000")
        assert tracking_uri() == "http://127.0.0.1:5000"

    def test_queued_experiments_log_to_the_project_they_were_copied_from(self, project, monkeypatch):
        monkeypatch.setenv("DVC_ROOT", str(project / ".dvc/tmp/exps/tmpabc"))
        assert project_root() == project

    def test_several_processes_may_make_a_new_store_at_once(self, project):
        code = "from wsss_mm.tracking.store import experiment_id; experiment_id('segmenter')"
        command = [warm.python(), "-c", code]
        processes = [subprocess.Popen(command, cwd=project, stderr=subprocess.PIPE, text=True) for _ in range(3)]
        errors = [process.communicate()[1] for process in processes]
        assert [process.returncode for process in processes] == [0, 0, 0], errors

    def test_a_process_killed_while_it_makes_a_store_leaves_none(self, project):
        """What it began would never be finished: MLflow's migrations cannot go on in the middle."""
        code = "from wsss_mm.tracking.store import experiment_id; experiment_id('segmenter')"
        with warm.WarmProcess(code, cwd=project) as process:
            while process.poll() is None and not any(path.stat().st_size for path in project.glob("mlflow.db*")):
                time.sleep(0.01)
            process.kill()
        assert process.returncode == 128 + signal.SIGKILL
        assert not (project / "mlflow.db").exists()
        assert list(project.glob("mlflow.db.new*"))
        subprocess.run([warm.python(), "-c", code], cwd=project, check=True)
        assert not list(project.glob("mlflow.db.new*"))

    def test_several_processes_may_bring_the_same_data_set_at_once(self, project):
        """Each of them finds no such data set, and then adds it; the lookup is held back until all have looked."""
        code = f"""
import time
from pathlib import Path
from sqlalchemy.orm import Query
from wsss_mm.tracking.store import connect, experiment_id
from wsss_mm.tracking.batches import add_inputs
there = Query.all
def late(query):
    found = there(query)
    if "datasets.digest IN" in str(query) and not found:
        Path(f"looked-{{id(query)}}-{{time.time_ns()}}").touch()
        end = time.monotonic() + {LOOKS}
        while len(list(Path().glob("looked-*"))) < 2 and time.monotonic() < end:
            time.sleep(0.01)
    return found
Query.all = late
mlflow = connect()
with mlflow.start_run(experiment_id=experiment_id("segmenter")) as run:
    add_inputs(mlflow.MlflowClient(), run.info.run_id, {{"data/patches": "0" * 32, "models/classifier": "1" * 32}})
"""
        connect().MlflowClient().search_experiments()
        processes = [
            subprocess.Popen([warm.python(), "-c", code], cwd=project, stderr=subprocess.PIPE, text=True)
            for _ in range(2)
        ]
        errors = [process.communicate()[1] for process in processes]
        assert [process.returncode for process in processes] == [0, 0], errors
        client = connect().MlflowClient()
        found = client.search_runs([client.get_experiment_by_name("segmenter").experiment_id])
        names = [{item.dataset.name for item in run.inputs.dataset_inputs} for run in found]
        assert names == [{"data/patches", "models/classifier"}] * 2

    def test_an_error_that_is_no_race_is_raised_at_once(self):
        from mlflow.exceptions import MlflowException

        calls = []

        def call():
            calls.append(1)
            raise MlflowException("no such run")

        with pytest.raises(MlflowException, match="no such run"):
            adding(call)
        assert calls == [1]


class TestLineage:
    def test_digests_are_those_of_dvc(self, project):
        (project / "images/sub").mkdir(parents=True)
        for name in ("sub/b.txt", "Z.txt", "a.txt", "sub-b.txt"):
            (project / "images" / name).write_text(name)
        for command in (["init", "-q"], ["add", "-q", "images"]):
            subprocess.run([warm.dvc(), *command], check=True)
        md5 = yaml.safe_load((project / "images.dvc").read_text())["outs"][0]["md5"]
        assert dvc_digest(Path("images")) == md5
        assert md5.endswith(".dir")

    def test_the_lock_is_believed_inside_a_stage_only(self, project, monkeypatch):
        lock = {"schema": "2.0", "stages": {"patches": {"outs": [{"path": "data", "md5": "1" * 32 + ".dir"}]}}}
        (project / "dvc.lock").write_text(yaml.safe_dump(lock))
        assert dvc_digests([Path("data")], project) == {"data": dvc_digest(Path("data"))}
        monkeypatch.setenv("DVC_STAGE", "train_classifier")
        expected = {"data": "1" * 32 + ".dir", "data/a.txt": dvc_digest(Path("data/a.txt"))}
        assert dvc_digests([Path("data"), Path("data/a.txt")], project) == expected

    def test_a_missing_input_is_named(self, project):
        with pytest.raises(InputError, match="data/none"):
            dvc_digest(Path("data/none"))

    def test_git_state(self, project, tmp_path_factory):
        clean = git_state(project)
        assert len(clean.commit) == 40
        assert not clean.dirty
        (project / "untracked").touch()
        assert git_state(project) == clean
        (project / ".gitignore").write_text("")
        assert git_state(project).dirty
        assert git_state(tmp_path_factory.mktemp("no-repository")).commit is None

    def test_what_git_refuses_is_said(self, project, monkeypatch):
        monkeypatch.setenv("GIT_TEST_ASSUME_DIFFERENT_OWNER", "1")  # git's own switch
        monkeypatch.setenv("GIT_CONFIG_GLOBAL", "/dev/null")
        state = git_state(project / "data")
        assert state.commit is None
        assert "dubious ownership" in state.problem
        assert state.problem.endswith(f"git config --global --add safe.directory {project}")

    def test_a_broken_checkout_is_not_taken_for_a_clean_one(self, project):
        (project / ".git/index").write_bytes(b"broken")
        state = git_state(project)
        assert (len(state.commit), state.dirty) == (40, True)
        assert "index" in state.problem

    def test_without_git(self, project, monkeypatch):
        monkeypatch.setenv("PATH", "")
        assert "git does not start" in git_state(project).problem

    def test_a_diff_keeps_no_secrets_and_still_applies(self, project, caplog):
        code, clone = project / "data/a.txt", project / "clone"
        for name in (".dvc/config", "deploy/my.env", "a/credentials.json", "blank name.pem"):
            (project / name).parent.mkdir(exist_ok=True)
            (project / name).write_text("before\n")
        code.write_text("here\n")
        git = ["git", "-c", "user.name=t", "-c", "user.email=t@example.org"]
        for command in (["add", "-A"], ["commit", "-q", "-m", "second"], ["clone", "-q", ".", str(clone)]):
            subprocess.run([*git, *command], cwd=project, check=True)
        for path in (project / name for name in (".dvc/config", "deploy/my.env", "a/credentials.json")):
            path.write_text("key = hunter2\n")
        code.write_text("here\n")
        assert git_diff(project) == ""
        uris = "postgresql://me:hunter2@db/x git+ssh://git@host/y https://host/z?token=hunter2&page=1 a[i];key=1"
        code.write_text(f"here\n{uris}\x0chttp://u:hunter2@h/\n")
        (project / "blank name.pem").write_text("hunter2")
        diff = git_diff(project)
        assert "hunter2" not in diff
        assert "blank name.pem: may hold secrets" in caplog.text
        subprocess.run([*git, "apply"], cwd=clone, input=diff.encode(), check=True)
        kept = "postgresql://db/x git+ssh://git@host/y https://host/z?token=***&page=1 a[i];key=1"
        assert (clone / "data/a.txt").read_text() == f"here\n{kept}\x0chttp://h/\n"

    def test_a_diff_in_another_encoding_is_no_error(self, project):
        (project / "data/a.txt").write_bytes("Gewebe, gef\xe4rbt".encode("latin-1"))
        assert "+Gewebe, gef\N{REPLACEMENT CHARACTER}rbt" in git_diff(project)


def test_flatten():
    nested = {"seed": 0, "classifier": Settings(), "a": {"b": {"c": None}}}
    assert flatten(nested) == {"seed": 0, "classifier.lr": 0.1, "classifier.scales": [0.5, 1.0], "a.b.c": None}


class TestTrainingRun:
    def test_a_run_says_what_it_was_made_from(self, tracked, monkeypatch):
        monkeypatch.setenv("DVC_STAGE", "train_classifier")
        monkeypatch.setenv("DVC_EXP_NAME", "brave-pine")
        params = {"seed": 3, "classifier": Settings(), **{f"p{i}": i for i in range(150)}}
        with training_run("train_classifier", params, [Path("data")], tags={"cohort": "phantom"}) as run:
            active_run().metrics({"loss": 0.5}, 1)
        found = get_run(run)
        assert connect().get_experiment(found.info.experiment_id).name == "classifier"
        assert found.info.run_name == "brave-pine"
        assert found.info.status == "FINISHED"
        assert found.data.params["classifier.lr"] == "0.1"
        assert len(found.data.params) == 153
        expected = {
            "git.commit": git_state(tracked).commit,
            "git.dirty": "false",
            "host": platform.node(),
            "dvc.stage": "train_classifier",
            "dvc.experiment": "brave-pine",
            "dvc.md5.data": dvc_digest(Path("data")),
            "cohort": "phantom",
        }
        assert expected.items() <= found.data.tags.items()
        (dataset,) = found.inputs.dataset_inputs
        assert (dataset.dataset.name, dataset.dataset.digest) == ("data", dvc_digest(Path("data")))

    def test_the_run_of_a_job_around_it_is_left_alone(self, tracked, monkeypatch):
        with connect().start_run(experiment_id=experiment_id("outer")) as outer:
            pass
        for stage, lr in (("train_classifier", 0.1), ("train_segmenter", 0.2)):
            monkeypatch.setenv("MLFLOW_RUN_ID", outer.info.run_id)
            with training_run(stage, {"lr": lr}) as run:
                pass
            found = get_run(run)
            assert connect().get_experiment(found.info.experiment_id).name == stage.removeprefix("train_")
            assert found.data.tags["outer_run"] == outer.info.run_id
        assert get_run(outer).data.params == {}

    def test_a_run_without_a_commit_says_why(self, tracked, monkeypatch, caplog):
        monkeypatch.setenv("GIT_TEST_ASSUME_DIFFERENT_OWNER", "1")
        monkeypatch.setenv("GIT_CONFIG_GLOBAL", "/dev/null")
        with training_run("segmenter", {}) as run:
            pass
        tags = get_run(run).data.tags
        assert tags["git.commit"] == "none"
        assert "safe.directory" in tags["git.problem"]
        assert caplog.text.count("dubious ownership") == 1

    def test_by_hand_its_name_says_what_it_is_and_which_commit(self, tracked):
        params = {"segmenter": {"encoder": "resnet38", "loss": "ce", "iterations": 300, "lr": 0.1}}
        names = []
        for _ in range(2):
            with training_run("train_segmenter", params) as run:
                pass
            names.append(get_run(run).info.run_name)
            number = int(get_run(run).data.tags[NUMBER_TAG])
            commit = git_state(tracked).commit[:8]
            assert names[-1] == f"segmenter {number}: resnet38, ce, 300 iterations ({commit})"
        assert len(set(names)) == 2
        with training_run("evaluate", {}, experiment="evaluation") as run:
            pass
        assert get_run(run).info.run_name.startswith("evaluate ")

    @pytest.mark.parametrize(
        ("error", "status", "tag"),
        [(ValueError("no patches"), "FAILED", "ValueError: no patches"), (KeyboardInterrupt(), "KILLED", None)],
    )
    def test_a_run_that_breaks_off_says_so(self, tracked, error, status, tag):
        with pytest.raises(type(error)), training_run("segmenter", {}) as run:
            raise error
        assert get_run(run).info.status == status
        assert get_run(run).data.tags.get("error") == tag
        assert connect().active_run() is None

    def test_no_tag_holds_a_secret(self, tracked, monkeypatch):
        """MLflow keeps the address of the git remote, and an error may name a server."""
        remote = "https://anna:hunter2@127.0.0.1/lab.git?private_token=hunter2"
        subprocess.run(["git", "remote", "add", "origin", remote], check=True)
        script = tracked / "train.py"
        script.write_text(
            "from wsss_mm.tracking import training_run\n"
            "with training_run('segmenter', {}) as run:\n"
            "    print(run.info.run_id)\n"
            "    raise RuntimeError('no answer from postgresql://anna:hunter2@127.0.0.1/db')\n"
        )
        done = subprocess.run([sys.executable, str(script)], capture_output=True, text=True, check=False)
        tags = connect().get_run(done.stdout.strip()).data.tags
        assert tags["mlflow.source.git.repoURL"].startswith("https://127.0.0.1/lab.git")
        assert tags["error"] == "RuntimeError: no answer from postgresql://127.0.0.1/db"
        assert [key for key, value in tags.items() if "hunter2" in value] == []

    def test_the_environment_and_uncommitted_changes_are_kept(self, tracked):
        (tracked / "data/a.txt").write_text("b")
        (tracked / "dvc.lock").write_text("written by the line")
        subprocess.run(["git", "add", "-N", "dvc.lock"], check=True)
        with training_run("segmenter", {}) as run:
            pass
        text = {
            name: connect().artifacts.load_text(f"{run.info.artifact_uri}/{name}")
            for name in ("git.diff", "environment.txt")
        }
        assert "dvc.lock" not in text["git.diff"]
        assert f"mlflow=={connect().__version__}" in text["environment.txt"].splitlines()
        (tracked / "data/a.txt").write_text("a")
        subprocess.run(["git", "apply"], input=text["git.diff"], text=True, check=True)
        assert (tracked / "data/a.txt").read_text() == "b"

    def test_sigterm_is_a_failure_that_says_so(self, tracked):
        before = signal.getsignal(signal.SIGTERM)
        with pytest.raises(SystemExit) as exit_, training_run("segmenter", {}) as run:
            os.kill(os.getpid(), signal.SIGTERM)
            time.sleep(5)
        assert exit_.value.code == 143
        assert get_run(run).info.status == "FAILED"
        assert "SIGTERM" in get_run(run).data.tags["error"]
        assert signal.getsignal(signal.SIGTERM) is before

    def test_a_missing_input_starts_no_run(self, tracked):
        before = len(connect().search_runs(search_all_experiments=True, output_format="list"))
        with pytest.raises(InputError), training_run("segmenter", {}, [Path("none")]):
            pass
        assert len(connect().search_runs(search_all_experiments=True, output_format="list")) == before


class TestModelRun:
    def test_the_newest_run_of_the_weights_is_opened_again(self, tracked):
        weights = tracked / "weights.pth"
        weights.write_bytes(b"found again")
        runs = []
        for stage in ("train_classifier", "train_segmenter"):
            with training_run(stage, {}) as run:
                tag_weights(weights)
                runs.append(run.info.run_id)
        ended = get_run(run).info.end_time
        time.sleep(0.01)
        with pytest.raises(RuntimeError), model_run(weights) as run:
            assert run.info.run_id == runs[1]
            active_run().metrics({"test.miou": 0.8})
            raise RuntimeError  # a later stage fails: that does not make the training a failure
        assert get_run(run).data.metrics == {"test.miou": 0.8}
        assert (get_run(run).info.status, get_run(run).info.end_time) == ("FINISHED", ended)

    def test_unknown_weights_give_a_warning(self, tracked, caplog):
        (tracked / "weights.pth").write_bytes(b"pulled")
        with model_run(tracked / "weights.pth"):
            active_run().tags({"seen": "by nobody"})
        assert "no MLflow run" in caplog.text


@pytest.fixture
def folder(tracked, request):
    """A model folder with weights of its own; what they are matters only to who loads them."""
    folder = tracked / "models/segmenter"
    folder.mkdir(parents=True)
    (folder / "weights.pth").write_bytes(request.node.name.encode())
    (folder / "model.json").write_text("{}")
    return folder


def test_an_experiment_that_someone_else_makes_at_the_same_moment_is_used(tracked, monkeypatch):
    made, mlflow, looked = experiment_id("both"), connect(), []
    look = mlflow.get_experiment_by_name

    def look_too_early(name):
        looked.append(name)
        return look(name) if len(looked) > 1 else None

    monkeypatch.setattr(mlflow, "get_experiment_by_name", look_too_early)
    assert experiment_id("both") == made
    assert len(looked) == 2


class TestRegistry:
    def test_versions_and_aliases(self, folder):
        with training_run("segmenter", {}) as run:
            tag_weights(folder / "weights.pth")
        first = register_segmenter(folder, "aliases", tags={"test.miou": 0.8})
        again = register_segmenter(folder, "aliases", tags={"test.miou": 0.9})
        (folder / "weights.pth").write_bytes(b"others")
        second = register_segmenter(folder, "aliases")
        assert (first.version, first.created) == ("1", True)
        assert (again.version, again.created) == ("1", False)
        assert (second.version, second.created) == ("2", True)
        client = connect().MlflowClient()
        assert client.get_model_version("aliases", "1").run_id == run.info.run_id
        versions = list_versions("aliases").set_index("version")
        assert versions["aliases"].to_dict() == {2: "challenger", 1: "champion"}
        assert versions["test.miou"].to_dict() == {2: "", 1: "0.9"}
        assert versions["weights_md5"].to_dict() == {2: second.weights_md5, 1: first.weights_md5}

    def test_a_champion_stays_until_someone_says_otherwise(self, folder):
        register_segmenter(folder, "champions")
        (folder / "weights.pth").write_bytes(b"newer")
        newer = register_segmenter(folder, "champions")
        downloaded = {
            alias: (download_model(f"models:/champions@{alias}") / "weights.pth").read_bytes()
            for alias in ("champion", "challenger")
        }
        assert newer.version == "2"
        assert downloaded == {
            "champion": b"test_a_champion_stays_until_someone_says_otherwise",
            "challenger": b"newer",
        }
        assert resolve_uri("models:/champions@challenger") == {
            "name": "champions",
            "version": "2",
            "alias": "challenger",
        }
        assert resolve_uri("models:/champions/1") == {"name": "champions", "version": "1"}

    def test_weights_that_rotted_in_the_store_are_refused(self, folder):
        register_segmenter(folder, "rotten")
        client = connect().MlflowClient()
        model = client.get_logged_model(client.get_model_version("rotten", "1").source.removeprefix("models:/"))
        (weights,) = Path(urlparse(model.artifact_location).path).rglob("weights.pth")
        weights.write_bytes(weights.read_bytes()[:-1] + b"?")
        with pytest.raises(InputError, match=r"weights.pth: damaged where it is stored"):
            download_model("models:/rotten@champion")

    def test_what_is_not_there_is_named(self, tracked):
        for call in (
            lambda: list_versions("none"),
            lambda: download_model("models:/none@champion"),
            lambda: resolve_uri("models:/none@champion"),
            lambda: register_segmenter(tracked / "models/none", "none"),
        ):
            with pytest.raises(InputError, match="none"):
                call()

    @pytest.mark.slow
    def test_the_model_runs_where_the_project_is_not(self, tracked, project_root, tmp_path_factory):
        """Logged, registered and loaded in a fresh process, the model gives the network's own probabilities."""
        folder = write_segmenter(tracked / "models/segmenter", project_root)
        register_segmenter(folder, "travels")
        images = np.random.default_rng(0).integers(0, 256, (3, 64, 48, 3), dtype=np.uint8)
        elsewhere = tmp_path_factory.mktemp("elsewhere")
        np.save(elsewhere / "images.npy", images)
        environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
        subprocess.run([warm.python(), "-c", LOAD], check=True, cwd=elsewhere, env=environment)
        model, _ = load_model_of(folder)
        expected = model.predict_probabilities(torch_images(images)).numpy()
        probabilities, labels = np.load(elsewhere / "probabilities.npy"), np.load(elsewhere / "labels.npy")
        assert np.allclose(probabilities, expected, atol=1e-5)
        assert labels.dtype == np.uint8
        assert np.array_equal(labels, expected.argmax(1))
        assert "mlartifacts" in (elsewhere / "code.txt").read_text()  # the code that travelled, not the checkout


LOAD = """
import json
import os
from pathlib import Path
from urllib.parse import urlparse
import mlflow, numpy as np
model = mlflow.pyfunc.load_model("models:/travels@champion")
images = np.load("images.npy")
np.save("probabilities.npy", model.predict(images, params={"output": "probabilities"}))
np.save("labels.npy", model.predict(images))
import wsss_mm
Path("code.txt").write_text(wsss_mm.__file__)
refused = (
    (images.astype(np.float32), {}),
    (images[..., :2], {}),
    (images[0], {}),
    (images[:, :16], {}),
    (images, {"output": "colours"}),
)
for wrong, params in refused:
    try:
        model.predict(wrong, params=params)
    except mlflow.exceptions.MlflowException as error:
        assert error.get_http_status_code() == 400, error
    else:
        raise SystemExit(f"{wrong.shape} {wrong.dtype} {params} passes")
assert model.predict(images[:0]).shape == (0, 64, 48)
assert model.predict(images[:0], params={"output": "probabilities"}).shape == (0, 4, 64, 48)
assert model.predict(np.repeat(images, 6, 0)).shape == (18, 64, 48)  # more than one batch


def answer(body):  # of the function behind POST /invocations
    from mlflow.pyfunc.scoring_server import invocations

    try:
        return invocations(json.dumps(body), "application/json", model, model.metadata.get_input_schema()).status
    except mlflow.exceptions.MlflowException as error:
        return error.get_http_status_code()


inputs = images.tolist()
assert answer({"inputs": inputs, "params": {"output": "probabilities"}}) == 200
wrong = ({"inputs": "x"}, {"inputs": [[1, 2]]}, {}, {"inputs": [[[[300, 0, 0]]]]})
assert [answer(body) for body in wrong] == [400] * 4
assert answer({"inputs": inputs, "params": {"output": "x"}}) == 400
"""


def write_segmenter(folder: Path, project_root: Path) -> Path:
    """An untrained segmenter, as narrow as can be."""
    import torch
    from mmengine.config import Config

    from wsss_mm.models import build_network, save_model

    model = Config.fromfile(project_root / "mmconfigs/segmenter.py").model.to_dict()
    model["backbone"]["width"] = 1 / 32
    for head, inputs in (("decode_head", 128), ("auxiliary_head", 32)):
        model[head] |= {"in_channels": inputs, "channels": 8, "num_classes": 4}
    torch.manual_seed(0)
    classes = [{"code": f"C{index}", "name": "tissue", "color": [0, 0, 0]} for index in range(4)]
    info = {"kind": "segmenter", "classes": classes, "mpp": 1.0, "size": 64, "width": 1 / 32, "model": model}
    save_model(folder, state=build_network(model).state_dict(), info=info, config_text="", card="")
    return folder


def load_model_of(folder: Path):
    from wsss_mm.models import load_model

    return load_model(folder)


def torch_images(images: np.ndarray):
    import torch

    return torch.from_numpy(images).permute(0, 3, 1, 2)
