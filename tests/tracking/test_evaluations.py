"""An evaluation is a run of its own: what an experiment finds out later leaves the finished training as it was."""

import json
from pathlib import Path
from types import SimpleNamespace
from uuid import uuid4

import numpy as np
import pytest
import sqlalchemy
from PIL import Image

from pipelines import register
from tests.tracking.test_tampering import write_model, write_reports
from wsss_mm.cli.main import main
from wsss_mm.files import digest
from wsss_mm.patches import VOCABULARIES
from wsss_mm.tracking import judging_run, log_evaluation, log_gate, model_run, tag_weights, training_run
from wsss_mm.tracking.evaluations import EVALUATIONS
from wsss_mm.tracking.finding import JUDGED_TAG, NUMBER_TAG, PARENT_TAG, newest_first, newest_run
from wsss_mm.tracking.registry import find_version
from wsss_mm.tracking.report import find_run_of, render_report
from wsss_mm.tracking.store import connect

pytestmark = pytest.mark.xdist_group("mlflow")

LUNG = VOCABULARIES["lung"]


def train(weights: Path) -> str:
    with training_run("train_segmenter", {"vocabulary": "lung"}) as run:
        tag_weights(weights)
    return run.info.run_id


def evaluate(weights, miou: float, *, flip: bool) -> None:
    """What the stage logs."""
    picture = weights.with_name("test.png")
    Image.fromarray(np.full((4, 4, 3), int(255 * miou), np.uint8)).save(picture)
    figures = {"miou": miou, **{f"iou.{item.code}": miou for item in LUNG.classes}, "iou.LYM": None}
    metrics = {"ungated": figures, "gated": figures, "bootstrap": {"ungated": {}, "gated": {}}}
    log_evaluation(
        *(weights, metrics, np.eye(len(LUNG), dtype=np.int64), LUNG, picture),
        params={"vocabulary": "lung", "evaluate": {"flip": flip}},
    )


def contents(run_id: str) -> dict:
    """All that a run holds."""
    client = connect().MlflowClient()
    run = client.get_run(run_id)
    folder = client.download_artifacts(run_id, "")
    return {
        "points": {
            key: [(item.step, item.timestamp, item.value) for item in client.get_metric_history(run_id, key)]
            for key in run.data.metrics
        },
        "params": run.data.params,
        "tags": run.data.tags,
        "info": (run.info.status, run.info.end_time),
        "files": {
            path.relative_to(folder).as_posix(): digest(path) for path in Path(folder).rglob("*") if path.is_file()
        },
    }


@pytest.fixture
def weights(tracked):
    folder = write_model(
        *(tracked / "models/segmenter", uuid4().bytes), **{"cohort": "phantom", "train_patches": 1, "size": 64}
    )
    return folder / "weights.pth"


def children(run_id: str) -> list:
    return newest_first(connect().MlflowClient(), f"tags.`{PARENT_TAG}` = '{run_id}'")


class TestEvaluation:
    def test_it_is_a_child_of_the_training_which_shows_the_first_ones_figures(self, weights):
        training = train(weights)
        evaluate(weights, 0.9313, flip=True)
        (child,) = children(training)
        assert child.data.metrics["test.ungated.miou"] == 0.9313
        assert child.data.params["evaluate.flip"] == "True"
        assert child.data.tags[JUDGED_TAG] == digest(weights, "md5")
        shown = contents(training)
        assert [value for *_, value in shown["points"]["test.ungated.miou"]] == [0.9313]
        assert shown["tags"][EVALUATIONS] == child.info.run_id
        assert {"figures/test_iou.png", "pictures/test.png"} <= set(shown["files"])

    @pytest.mark.parametrize("experiment", [None, "noflip"])
    def test_a_later_one_leaves_the_training_as_it_was(self, weights, monkeypatch, experiment):
        training = train(weights)
        evaluate(weights, 0.9313, flip=True)
        before = contents(training)
        if experiment:
            monkeypatch.setenv("DVC_EXP_NAME", experiment)
        evaluate(weights, 0.9302, flip=False)
        assert contents(training) == before
        later, first = children(training)
        assert (later.data.metrics["test.ungated.miou"], first.data.metrics["test.ungated.miou"]) == (0.9302, 0.9313)
        assert later.data.params["evaluate.flip"] == "False"

    def test_the_first_one_of_another_experiment_is_not_the_trainings(self, weights, monkeypatch):
        training = train(weights)
        monkeypatch.setenv("DVC_EXP_NAME", "noflip")
        evaluate(weights, 0.9302, flip=False)
        assert not any(key.startswith("test.") for key in contents(training)["points"])
        monkeypatch.delenv("DVC_EXP_NAME")
        evaluate(weights, 0.9313, flip=True)
        assert contents(training)["points"]["test.ungated.miou"][0][2] == 0.9313

    def test_the_report_finds_it_by_its_experiment_and_names_the_training(self, weights, monkeypatch):
        training = train(weights)
        name = f"noflip-{uuid4().hex}"
        monkeypatch.setenv("DVC_EXP_NAME", name)
        evaluate(weights, 0.9302, flip=False)
        assert main(["report", name]) == 0
        page = (weights.parents[2] / "report.html").read_text()
        assert "0.930</span> mIoU on the test split" in page
        assert f"run {training}" in page
        assert "Epithelium" in page or "epithelium" in page

    def test_an_experiment_that_trained_is_found_by_its_training(self, weights, monkeypatch):
        name = f"onss-{uuid4().hex}"
        monkeypatch.setenv("DVC_EXP_NAME", name)
        training = train(weights)
        evaluate(weights, 0.9, flip=True)
        assert find_run_of(name)[0].info.run_id == training

    def test_without_the_training_it_is_kept_all_the_same(self, weights, monkeypatch):
        name = f"pulled-{uuid4().hex}"
        monkeypatch.setenv("DVC_EXP_NAME", name)
        evaluate(weights, 0.9, flip=True)
        run, _ = find_run_of(name)
        assert PARENT_TAG not in run.data.tags
        assert "0.900</span> mIoU" in render_report(run, name)


class TestGates:
    def test_those_of_a_later_experiment_are_on_its_own_run(self, weights, monkeypatch):
        training = train(weights)
        with judging_run(weights) as run:
            assert run.info.run_id == training
            log_gate("segmenter", True, [])
        before = contents(training)
        monkeypatch.setenv("DVC_EXP_NAME", "strict")
        evaluate(weights, 0.4, flip=True)
        for gate in ("segmenter", "slides"):
            with judging_run(weights):
                log_gate(gate, False, ["miou"])
        assert contents(training) == before
        (child,) = children(training)
        assert child.data.tags["gate.segmenter"] == child.data.tags["gate.slides"] == "failed"
        assert child.data.tags["gate.slides.failed"] == "miou"

    def test_an_experiment_that_evaluates_nothing_gets_a_run_for_them(self, weights, monkeypatch):
        training = train(weights)
        monkeypatch.setenv("DVC_EXP_NAME", "strict")
        monkeypatch.setenv("DVC_STAGE", "gate@segmenter")
        with judging_run(weights):
            log_gate("segmenter", False, ["miou"])
        (child,) = children(training)
        assert (child.data.tags["stage"], child.data.tags["gate.segmenter"]) == ("gate@segmenter", "failed")


class TestRegistration:
    @pytest.fixture
    def line(self, tracked, weights):
        name = f"later-{uuid4().hex}"
        settings = SimpleNamespace(register_=SimpleNamespace(model_name=name))
        return name, lambda: register.main(settings)

    def test_a_later_experiment_leaves_version_and_evidence(self, line, tracked, weights, monkeypatch, caplog):
        name, run_stage = line
        training = train(weights)
        write_reports(tracked, 0.9313)
        run_stage()
        before, version = contents(training), find_version(name, "1")
        monkeypatch.setenv("DVC_EXP_NAME", "noflip")
        write_reports(tracked, 0.9302)
        caplog.set_level("INFO")
        run_stage()
        again = find_version(name, "1")
        assert contents(training) == before
        assert (again.tags, again.description) == (version.tags, version.description)
        assert "keeps its evidence" in caplog.text
        assert json.loads((tracked / "reports/registered.json").read_text())["test"] == {"miou": 0.9302}

    def test_the_project_itself_may_bring_new_evidence(self, line, tracked, weights):
        name, run_stage = line
        train(weights)
        for miou in (0.9313, 0.9302):
            write_reports(tracked, miou)
            run_stage()
        assert find_version(name, "1").tags["test.miou"] == "0.9302"

    def test_no_name_registers_nothing(self, tracked, weights):
        write_reports(tracked, 0.5)
        client = connect().MlflowClient()
        before = {model.name for model in client.search_registered_models()}
        register.main(SimpleNamespace(register_=SimpleNamespace(model_name=None)))
        assert {model.name for model in client.search_registered_models()} == before
        found = json.loads((tracked / "reports/registered.json").read_text())
        assert found["model"] is None
        assert found["weights_md5"] == digest(weights, "md5")


class TestNewest:
    def test_a_wrong_clock_makes_no_run_the_newest(self, weights):
        """The first run began in a year to come."""
        first, second = train(weights), train(weights)
        client = connect().MlflowClient()
        store = client._tracking_client.store
        with store.engine.begin() as connection:
            update = "UPDATE runs SET start_time = 4102444800000 WHERE run_uuid = :run"
            connection.execute(sqlalchemy.text(update), {"run": first})
        assert newest_run(digest(weights, "md5")).info.run_id == second
        with model_run(weights) as run:
            assert run.info.run_id == second

    def test_runs_without_a_number_are_older(self, weights):
        first, second = train(weights), train(weights)
        connect().MlflowClient().delete_tag(second, NUMBER_TAG)
        assert newest_run(digest(weights, "md5")).info.run_id == first

    def test_the_run_of_the_experiment_at_work_comes_first(self, weights, monkeypatch):
        monkeypatch.setenv("DVC_EXP_NAME", "mine")
        mine = train(weights)
        monkeypatch.setenv("DVC_EXP_NAME", "theirs")
        theirs = train(weights)
        assert newest_run(digest(weights, "md5")).info.run_id == theirs
        monkeypatch.setenv("DVC_EXP_NAME", "mine")
        assert newest_run(digest(weights, "md5")).info.run_id == mine

    def test_numbers_rise(self, weights):
        client = connect().MlflowClient()
        numbers = [client.get_run(train(weights)).data.tags[NUMBER_TAG] for _ in range(3)]
        assert numbers == sorted(set(numbers))
