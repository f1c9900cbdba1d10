"""The figures watched in training are those that are reported."""

import numpy as np
import pytest
import torch

from wsss_mm.engine.metrics import MultiLabelAP, TissueIoU
from wsss_mm.evaluation import confusion_matrix, multilabel_metrics, segmentation_metrics

CODES = ("A", "B", "C", "D")


@pytest.mark.parametrize("absent", [None, 2])
def test_iou_equals_the_evaluation(absent):
    rng = np.random.default_rng(0)
    truth = rng.integers(0, 4, (3, 1, 20, 20))
    if absent is not None:
        truth[truth == absent] = 0
    truth[:, :, :4] = 255
    prediction = rng.integers(0, 4, truth.shape)
    metric = TissueIoU()
    metric.dataset_meta = {"classes": CODES}
    samples = [
        {"gt_sem_seg": {"data": torch.from_numpy(t)}, "pred_sem_seg": {"data": torch.from_numpy(p)}}
        for t, p in zip(truth, prediction, strict=True)
    ]
    metric.process({}, samples[:1])
    metric.process({}, samples[1:])
    found = metric.evaluate(3)
    expected = segmentation_metrics(confusion_matrix(truth, prediction, 4), CODES)
    assert found == {
        f"valid/{name}": pytest.approx(value)
        for name, value in expected.items()
        if value is not None and (name == "miou" or name.startswith("iou."))
    }


def test_average_precision_equals_the_evaluation():
    rng = np.random.default_rng(1)
    labels, scores = rng.random((30, 4)) < 0.4, rng.random((30, 4)).astype(np.float32)
    labels[:, 3] = False
    metric = MultiLabelAP()
    metric.dataset_meta = {"classes": CODES}
    pairs = zip(labels.astype(np.float32), scores, strict=True)
    metric.process({}, [{"label": torch.from_numpy(a), "scores": torch.from_numpy(b)} for a, b in pairs])
    expected = multilabel_metrics(labels, scores, CODES)
    assert metric.evaluate(30) == {
        f"valid/{name}": pytest.approx(value)
        for name, value in expected.items()
        if value is not None and (name == "mean_ap" or name.startswith("ap."))
    }


def test_average_precision_is_of_what_is_known():
    rng = np.random.default_rng(2)
    labels, scores, known = rng.random((30, 4)) < 0.4, rng.random((30, 4)), rng.random((30, 4)) < 0.7
    metric = MultiLabelAP()
    metric.dataset_meta = {"classes": CODES}
    rows = zip(labels, scores, known, strict=True)
    names = ("label", "scores", "known")
    metric.process({}, [{name: torch.from_numpy(a) for name, a in zip(names, row, strict=True)} for row in rows])
    assert metric.evaluate(30)["valid/mean_ap"] == multilabel_metrics(labels, scores, CODES, known=known)["mean_ap"]
