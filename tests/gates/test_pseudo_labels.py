"""What of a mean IoU label sets give already."""

import shutil

import numpy as np
import pytest

from wsss_mm.gates.pseudo_labels import _splits, measure

CODES = ["A", "B"]
SETS = np.array([[True, True], [True, True], [True, False]])


@pytest.mark.parametrize(
    ("matrix", "gain"),
    [
        ([[50, 0], [0, 50]], 1 - (50 / 150 + 50 / 150) / 2),  # each pixel right: label sets have a third of each class
        ([[25, 25], [25, 25]], 0),  # no better than a coin
        ([[0, 50], [50, 0]], -1 / 3),
    ],
)
def test_the_gain_is_over_equal_parts_of_each_class(matrix, gain):
    counts = np.array([matrix, matrix])
    table = _splits(np.array(["valid", "valid"]), counts, {"valid": {"miou": _miou(counts)}}, SETS[:2], CODES)
    assert table["gain"].tolist() == [pytest.approx(gain)]


def _miou(counts):
    from wsss_mm.evaluation import segmentation_metrics

    return segmentation_metrics(counts.sum(axis=0), CODES)["miou"]


def test_patches_of_one_class_say_nothing():
    counts = np.array([[[100, 0], [0, 0]]])
    table = _splits(np.array(["test"]), counts, {"test": {"miou": 1.0}}, SETS[2:], CODES)
    assert table["gain"].isna().all()


def test_pseudo_labels_are_of_all_classifiers_that_lie_there(project, params):
    """One more beside the first, or another in its place, and the digest is no longer that of what made them."""

    def compared():
        table = next(iter(measure(params, project))).frame
        return table["classifier"].item() == table["gated_classifier"].item() == table["gated_metrics"].item()

    assert compared()
    shutil.copytree(project / "models/segmenter", project / "models/classifier/members/1")
    assert not compared()
