import numpy as np
import pytest
from sklearn import metrics as sk

from wsss_mm.evaluation import confusion_matrix, segmentation_metrics
from wsss_mm.evaluation.confusion import label_set_confusion

CODES = ["A", "B", "C", "D"]


@pytest.fixture
def maps():
    rng = np.random.default_rng(3)
    truth = rng.integers(0, 4, (5, 20, 30)).astype(np.uint8)
    prediction = np.where(rng.random(truth.shape) < 0.6, truth, rng.integers(0, 4, truth.shape)).astype(np.uint8)
    truth[rng.random(truth.shape) < 0.2] = 255
    return truth, prediction


class TestConfusionMatrix:
    def test_agrees_with_scikit_learn(self, maps):
        truth, prediction = maps
        valid = truth != 255
        expected = sk.confusion_matrix(truth[valid], prediction[valid], labels=range(4))
        np.testing.assert_array_equal(confusion_matrix(truth, prediction, 4), expected)

    def test_row_is_truth(self):
        assert confusion_matrix([0, 0], [1, 1], 2)[0, 1] == 2

    def test_matrices_of_parts_add_up(self, maps):
        truth, prediction = maps
        parts = sum(confusion_matrix(t, p, 4) for t, p in zip(truth, prediction, strict=True))
        np.testing.assert_array_equal(parts, confusion_matrix(truth, prediction, 4))

    def test_ignored_truth_does_not_count_whatever_is_predicted(self):
        assert confusion_matrix([255, 255], [1, 255], 2).sum() == 0

    def test_uint8_does_not_overflow(self):
        classes = 200
        confusion = confusion_matrix(np.array([199], np.uint8), np.array([198], np.uint8), classes)
        assert confusion[199, 198] == 1

    @pytest.mark.parametrize(("truth", "prediction"), [([0], [2]), ([2], [0]), ([0], [255]), ([0], [-1])])
    def test_unknown_value_is_refused(self, truth, prediction):
        with pytest.raises(ValueError, match="none of the 2 classes"):
            confusion_matrix(truth, prediction, 2)

    def test_shapes_must_agree(self):
        with pytest.raises(ValueError, match="shape"):
            confusion_matrix([0, 1], [0], 2)


class TestSegmentationMetrics:
    def test_agrees_with_scikit_learn(self, maps):
        truth, prediction = maps
        metrics = segmentation_metrics(confusion_matrix(truth, prediction, 4), CODES)
        valid = truth != 255
        t, p = truth[valid], prediction[valid]
        iou = sk.jaccard_score(t, p, average=None)
        np.testing.assert_allclose([metrics[f"iou.{c}"] for c in CODES], iou)
        np.testing.assert_allclose([metrics[f"dice.{c}"] for c in CODES], sk.f1_score(t, p, average=None))
        assert metrics["miou"] == pytest.approx(iou.mean())
        assert metrics["fw_iou"] == pytest.approx(sk.jaccard_score(t, p, average="weighted"))
        assert metrics["pixel_accuracy"] == pytest.approx(sk.accuracy_score(t, p))

    def test_absent_class_is_undefined_and_out_of_the_mean(self):
        # Class C is never true, though predicted once: no IoU of its own, but the miss still costs class B.
        metrics = segmentation_metrics([[2, 0, 0], [0, 1, 1], [0, 0, 0]], ["A", "B", "C"])
        assert metrics["iou.C"] is None
        assert metrics["dice.C"] is None
        assert metrics["iou.B"] == pytest.approx(0.5)
        assert metrics["miou"] == pytest.approx(0.75)
        assert metrics["fw_iou"] == pytest.approx(0.75)

    def test_class_never_found_is_zero_not_undefined(self):
        assert segmentation_metrics([[2, 0], [3, 0]], ["A", "B"])["iou.B"] == 0

    def test_no_pixels_at_all(self):
        assert set(segmentation_metrics(np.zeros((2, 2)), ["A", "B"]).values()) == {None}

    def test_perfect(self):
        metrics = segmentation_metrics(np.diag([5, 9]), ["A", "B"])
        assert set(metrics.values()) == {1.0}

    def test_codes_must_fit(self):
        with pytest.raises(ValueError, match="3 classes"):
            segmentation_metrics(np.zeros((2, 2)), ["A", "B", "C"])


def test_label_sets_alone_give_each_class_of_a_patch_an_equal_part():
    found = label_set_confusion([[8, 4], [6, 0], [5, 5]], [[True, True], [True, False], [False, False]])
    assert found.tolist() == [[10, 4], [2, 2]]
