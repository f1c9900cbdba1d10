import numpy as np
import pandas as pd
import pytest

from wsss_mm.evaluation.bootstrap import bootstrap, intervals
from wsss_mm.evaluation.confusion import segmentation_metrics
from wsss_mm.evaluation.judge import Judgement

CODES = ("A", "B", "C")


@pytest.fixture
def matrices():
    """Twelve patches; class C is in the first three alone, and everywhere wrong in two."""
    matrices = np.random.default_rng(0).integers(1, 50, (12, 3, 3))
    matrices[:, range(3), range(3)] += 100
    matrices[3:, 2] = 0
    return matrices


def _judgement(matrices, slides):
    names = [f"p{index}" for index in range(len(matrices))]
    return Judgement(matrices, matrices, pd.DataFrame({"patch_id": names, "slide_id": slides}))


def test_equals_a_loop_over_resamples(matrices):
    rng = np.random.default_rng(7)
    found = intervals(matrices, CODES, resamples=50, seed=7)
    counts = rng.multinomial(12, np.full(12, 1 / 12), size=50)
    metrics = [segmentation_metrics(np.einsum("u,uij->ij", row, matrices), CODES) for row in counts]
    for name, interval in found.items():
        values = [item[name] for item in metrics if item[name] is not None]
        assert interval == pytest.approx(np.quantile(values, [0.025, 0.975]))
    assert any(item["iou.C"] is None for item in metrics)  # resamples without the class are met


def test_the_same_seed_gives_the_same_interval_and_the_estimate_lies_in_it(matrices):
    first, second = (intervals(matrices, CODES, resamples=2500, seed=1) for _ in range(2))
    assert first == second
    low, high = first["miou"]
    assert low < segmentation_metrics(matrices.sum(axis=0), CODES)["miou"] < high


def test_covers_as_often_as_it_says():
    """Pixel accuracy of 40 units of equal size is a mean; its interval covers the truth about 19 times in 20."""
    rng, covered = np.random.default_rng(3), 0
    for seed in range(200):
        hits = rng.binomial(100, rng.beta(8, 2, 40))
        matrices = np.zeros((40, 2, 2), dtype=np.int64)
        matrices[:, 0, 0], matrices[:, 0, 1] = hits, 100 - hits
        low, high = intervals(matrices, ("A", "B"), resamples=400, seed=seed)["pixel_accuracy"]
        covered += low <= 0.8 <= high
    assert 0.88 <= covered / 200 <= 0.99


def test_slides_are_drawn_whole(matrices):
    """Two slides: a resample is one of them twice or both, so the interval ends at the slides' own metrics."""
    found = bootstrap(_judgement(matrices, ["s"] * 6 + ["t"] * 6), CODES, resamples=500)
    own = [segmentation_metrics(part.sum(axis=0), CODES)["pixel_accuracy"] for part in (matrices[:6], matrices[6:])]
    assert (found["unit"], found["units"]) == ("slide", 2)
    assert found["ungated"]["pixel_accuracy"] == pytest.approx(sorted(own))


def test_patches_are_drawn_where_there_is_one_slide(matrices):
    found = bootstrap(_judgement(matrices, "s"), CODES, resamples=50)
    assert (found["unit"], found["units"], found["resamples"], found["level"]) == ("patch", 12, 50, 0.95)


def test_a_class_without_truth_has_no_interval(matrices):
    matrices[:, 2] = 0
    assert intervals(matrices, CODES, resamples=20)["iou.C"] is None
