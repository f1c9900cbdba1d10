import numpy as np
import pandas as pd
import pytest
from sklearn import metrics as sk

from wsss_mm.evaluation import multilabel_metrics
from wsss_mm.evaluation.multilabel import classifier_metrics

CODES = ["A", "B", "C"]


@pytest.fixture
def sample():
    rng = np.random.default_rng(1)
    truth = rng.random((40, 3)) < 0.4
    return truth, np.clip(0.5 * truth + 0.6 * rng.random((40, 3)), 0, 1)


def test_agrees_with_scikit_learn_macro_averages(sample):
    truth, scores = sample
    metrics = multilabel_metrics(truth, scores, CODES)
    assert metrics["mean_ap"] == pytest.approx(sk.average_precision_score(truth, scores, average="macro"))
    assert metrics["mean_auc"] == pytest.approx(sk.roc_auc_score(truth, scores, average="macro"))
    assert metrics["mean_f1"] == pytest.approx(sk.f1_score(truth, scores >= 0.5, average="macro"))


def test_average_precision_by_hand():
    # Ranked: hit, miss, hit -> (1/1 + 2/3) / 2.
    metrics = multilabel_metrics([[1], [0], [1]], [[0.9], [0.8], [0.7]], ["A"])
    assert metrics["ap.A"] == pytest.approx((1 + 2 / 3) / 2)


def test_class_nobody_has_is_undefined_and_out_of_the_means(sample):
    truth, scores = sample
    truth[:, 2] = False
    metrics = multilabel_metrics(truth, scores, CODES)
    assert metrics["ap.C"] is metrics["auc.C"] is metrics["f1.C"] is None
    assert metrics["mean_ap"] == pytest.approx((metrics["ap.A"] + metrics["ap.B"]) / 2)


def test_class_everybody_has_has_no_auc(sample):
    truth, scores = sample
    truth[:, 0] = True
    metrics = multilabel_metrics(truth, scores, CODES)
    assert metrics["auc.A"] is None
    assert metrics["ap.A"] == pytest.approx(1)


def test_nothing_defined_gives_no_means():
    assert multilabel_metrics([[0], [0]], [[0.1], [0.2]], ["A"])["mean_ap"] is None


@pytest.mark.parametrize("scores", [[[np.nan]], [[0.1, 0.2]]])
def test_bad_scores_are_refused(scores):
    with pytest.raises(ValueError, match="scores"):
        multilabel_metrics([[1]], scores, ["A"])


def test_what_is_reported_keeps_training_patches_apart():
    manifest = pd.DataFrame(
        {"patch_id": ["a", "b", "c", "d"], "split": ["train", "valid", "valid", "train"], "X": [1, 1, 0, 0]}
    )
    scores = pd.DataFrame({"patch_id": ["c", "b", "a", "d"], "X": [0.2, 0.9, 0.1, 0.8]})
    metrics = classifier_metrics(scores, manifest, ["X"])
    assert (metrics["n"], metrics["ap.X"], metrics["prior.X"]) == (2, 1.0, 0.5)
    assert metrics["train"] == {"mean_ap": 0.5, "n": 2}


class TestUnsure:
    """The figures of a class are those of the patches of which it is known."""

    def test_known_patches_alone_count(self, sample):
        truth, scores = sample
        known = np.random.default_rng(2).random(truth.shape) < 0.7
        metrics = multilabel_metrics(truth ^ ~known, scores, CODES, known=known)  # what is not known may say anything
        for index, code in enumerate(CODES):
            rows = known[:, index]
            alone = multilabel_metrics(truth[rows, index][:, None], scores[rows, index][:, None], [code])
            for name in ("ap", "auc", "f1", "prior", "predicted_positive", "calibration_error"):
                assert metrics[f"{name}.{code}"] == alone[f"{name}.{code}"]
        assert metrics["mean_ap"] == pytest.approx(np.mean([metrics[f"ap.{code}"] for code in CODES]))

    def test_by_hand(self):
        # Ranked: hit, unknown, miss, hit -> of the known ones hit, miss, hit.
        truth, scores = [[1], [1], [0], [1]], [[0.9], [0.8], [0.7], [0.6]]
        metrics = multilabel_metrics(truth, scores, ["A"], known=[[1], [0], [1], [1]])
        assert metrics["ap.A"] == pytest.approx((1 + 2 / 3) / 2)
        assert metrics["prior.A"] == pytest.approx(2 / 3)

    def test_all_known_changes_nothing(self, sample):
        truth, scores = sample
        assert multilabel_metrics(truth, scores, CODES, known=np.ones_like(truth)) == multilabel_metrics(
            truth, scores, CODES
        )

    def test_a_class_that_is_known_nowhere_is_undefined(self, sample):
        truth, scores = sample
        known = np.ones_like(truth)
        known[:, 1] = False
        metrics = multilabel_metrics(truth, scores, CODES, known=known)
        assert {metrics[f"{name}.B"] for name in ("ap", "auc", "f1", "prior", "calibration_error")} == {None}
        assert metrics["mean_ap"] == pytest.approx((metrics["ap.A"] + metrics["ap.C"]) / 2)
        assert metrics["calibration_error"] == pytest.approx(
            (metrics["calibration_error.A"] + metrics["calibration_error.C"]) / 2
        )

    def test_what_is_reported_asks_the_manifest(self):
        manifest = pd.DataFrame(
            {
                "patch_id": ["a", "b", "c"],
                "split": "valid",
                "X": [True, False, False],
                "Y": [True, False, True],
                "unsure": [None, None, "X"],
            }
        )
        scores = pd.DataFrame({"patch_id": ["a", "b", "c"], "X": [0.8, 0.2, 0.9], "Y": [0.9, 0.1, 0.8]})
        metrics = classifier_metrics(scores, manifest, ["X", "Y"])
        assert (metrics["ap.X"], metrics["prior.X"], metrics["n"]) == (1.0, 0.5, 3)
