"""The stage writes metrics with intervals, tables and the sheet, and adds figures to the segmenter's run."""

import shutil

import mlflow
import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image

from pipelines import evaluate
from wsss_mm import models, places
from wsss_mm.choosing import Choice, write_choice
from wsss_mm.evaluation import segmentation_metrics
from wsss_mm.evaluation.calibration import Calibration
from wsss_mm.evaluation.tables import counts_of
from wsss_mm.files import digest, read_json, rounded, write_json
from wsss_mm.models import members
from wsss_mm.patches import VOCABULARIES, write_manifest
from wsss_mm.patches.images import store_patch
from wsss_mm.settings import load_profile
from wsss_mm.tracking.finding import WEIGHTS_TAG
from wsss_mm.tracking.store import connect
from wsss_mm.tracking.tracker import Tracker

VOCABULARY = VOCABULARIES["luad_normal"]


class Colours(torch.nn.Module):
    """Classifier and segmenter of three colours."""

    head_weight = torch.eye(3)

    def normalize(self, images):
        return images / 255

    def features(self, images):
        return torch.nn.functional.avg_pool2d(images, 4)

    def predict(self, images):
        return (images.float().mean(dim=(2, 3)) > 20).float()

    def predict_probabilities(self, images):
        return images.float().softmax(dim=1)


@pytest.fixture
def project(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(models, "load_model", lambda *_: (Colours(), {"temperature": 2.0}))
    monkeypatch.setattr(members, "load_classifiers", lambda *_: ([Colours()], {}))
    rng, rows = np.random.default_rng(0), []
    for number in range(8):
        mask = np.full((64, 64), number % 3, np.uint8)
        mask[rng.integers(20, 44) :] = (number + 1) % 3
        image = (np.eye(3)[mask] * 150 + rng.integers(0, 20, (64, 64, 3))).astype(np.uint8)
        mask[: 2 * number] = 2  # the later, the more of the truth differs from the colours
        row = store_patch(
            tmp_path / "data/patches", f"p{number}", "test", image=image, mask=mask, vocabulary=VOCABULARY
        )
        flags = {code: bool((mask == index).any()) for index, code in enumerate(VOCABULARY.codes)}
        slide = f"s{number // 3}"
        rows.append(row | flags | {"slide_id": slide, "patient_id": slide, "x": 0, "y": 0, "mpp": 1.0, "tissue": 1.0})
    write_manifest(pd.DataFrame(rows), tmp_path / "data/patches")
    write_json(evaluate.PSEUDO_LABELS, {})
    settings = load_profile("phantom").pseudo_labels.model_dump()
    write_choice(places.CHOICE_FILE, Choice(settings, settings, "params", "by hand"))
    write_json(evaluate.CLASSES, {"mean_ap": 0.9})
    for folder in (evaluate.SEGMENTER, evaluate.CLASSIFIER):
        folder.mkdir(parents=True)
        (folder / "weights.pth").write_bytes(folder.name.encode())
    return tmp_path


@pytest.fixture
def params():
    params = load_profile("phantom")
    cohort = params.cohort.model_copy(update={"vocabulary": VOCABULARY.name})
    return params.model_copy(update={"cohort": cohort, "threads": 1})


def test_reports_and_run(project, params, empty_store, monkeypatch):
    shutil.copyfile(empty_store, project / "mlflow.db")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{project}/mlflow.db")
    connect()
    mlflow.set_experiment(experiment_id=mlflow.create_experiment("segmenter", f"file://{project}/artifacts"))
    with mlflow.start_run(tags={WEIGHTS_TAG: digest(evaluate.SEGMENTER / "weights.pth", "md5")}) as run:
        pass
    evaluate.main(params, Tracker())
    metrics = read_json(evaluate.METRICS)
    assert metrics["format"] == 1
    assert read_json(evaluate.SUMMARY).keys() == {"miou", "miou_gated", "miou_pseudo_labels", "classifier_mean_ap"} | {
        f"iou.{code}" for code in VOCABULARY.codes
    }
    assert (metrics["bootstrap"]["unit"], metrics["bootstrap"]["units"]) == ("slide", 3)
    low, high = metrics["bootstrap"]["ungated"]["miou"]
    assert low < metrics["ungated"]["miou"] < high
    with Image.open(evaluate.PICTURE) as picture:
        assert picture.height > 6 * 224
    logged = {item.path for item in mlflow.MlflowClient().list_artifacts(run.info.run_id, "figures")}
    assert logged == {f"figures/test_{name}.png" for name in ("confusion", "iou", "risk_coverage")}
    assert [item.path for item in mlflow.MlflowClient().list_artifacts(run.info.run_id, "pictures")] == [
        "pictures/test.png"
    ]
    values = mlflow.get_run(run.info.run_id).data.metrics
    assert values["test.ungated.miou"] == pytest.approx(metrics["ungated"]["miou"], abs=1e-6)
    assert values["test.gated.miou"] == pytest.approx(metrics["gated"]["miou"], abs=1e-6)
    assert metrics["weights_md5"]["classifier"] == digest(evaluate.CLASSIFIER / "weights.pth", "md5")
    counts = counts_of(pd.read_csv(places.TEST_COUNTS), "gated", VOCABULARY.codes)
    again = segmentation_metrics(counts.sum(axis=0), VOCABULARY.codes)
    assert again["miou"] == pytest.approx(metrics["gated"]["miou"], abs=1e-6)
    table = pd.read_csv(places.TEST_CALIBRATION)
    assert rounded(Calibration.of_table(table, 2.0).figures()) == metrics["calibration"]
    assert table["pixels"].sum() == 2 * counts.sum()
    assert metrics["calibration"]["temperature"] == 2.0
    plots = places.TEST_CONFUSION, places.TEST_COUNTS, places.TEST_CALIBRATION
    first = {path: path.read_bytes() for path in (evaluate.METRICS, evaluate.PICTURE, *plots)}
    evaluate.main(params, Tracker())
    assert all(path.read_bytes() == content for path, content in first.items())
