import numpy as np
import pandas as pd
import pytest

from wsss_mm.evaluation.judge import Judgement, failed_patches
from wsss_mm.evaluation.report import headline, site_metrics, split_metrics
from wsss_mm.patches import VOCABULARIES

LUNG = VOCABULARIES["lung"]


@pytest.fixture
def metrics():
    ungated = np.diag([8, 8, 8, 8])
    ungated[0, 1] = 8
    rows = pd.DataFrame({"slide_id": ["a", "a", "b"]})
    judgement = Judgement(ungated[None], np.diag([4, 4, 4, 4])[None], pd.DataFrame())
    return split_metrics(judgement, rows, LUNG, threshold=0.1)


def test_split_metrics_count_slides_and_keep_both_matrices_apart(metrics):
    assert (metrics["n_patches"], metrics["n_slides"]) == (3, 2)
    assert metrics["ungated"]["iou.TE"] == pytest.approx(0.5)
    assert metrics["gated"]["miou"] == 1.0


def test_the_headline_is_the_test_splits(metrics):
    pseudo = {"coverage": 0.9, "train": {"miou": 0.1}, "test": {"miou": 0.6}}
    numbers = headline(metrics, pseudo, {"mean_ap": 0.8}, LUNG.codes)
    assert numbers["miou"] == pytest.approx((0.5 + 0.5 + 1 + 1) / 4)
    assert (numbers["miou_gated"], numbers["miou_pseudo_labels"], numbers["classifier_mean_ap"]) == (1.0, 0.6, 0.8)
    assert numbers["iou.NEC"] == pytest.approx(0.5)


def test_pseudo_labels_that_could_not_be_judged_have_no_number(metrics):
    assert headline(metrics, {"coverage": 0.9}, {"mean_ap": None}, LUNG.codes)["miou_pseudo_labels"] is None


def test_failed_patches_are_those_with_the_lowest_iou_of_the_class():
    """b misses TE, a gets half of it; in c it is a sliver, which says nothing; d is as bad as b and has more of it."""
    names = ["a", "b", "c", "d"]
    matrices = np.zeros((4, 4, 4), dtype=np.int64)
    matrices[0, 0, :2] = 5
    matrices[1, 0, 1] = 10
    matrices[2, 0, 1], matrices[2, 3, 3] = 1, 99
    matrices[3, 0, 1] = 20
    judgement = Judgement(matrices, matrices, pd.DataFrame({"patch_id": names}))
    assert failed_patches(judgement, LUNG.codes) == {"TE": ["d", "b", "a"], "NEC": [], "LYM": [], "TAS": ["c"]}


def of_sites(*sites):
    """Four patches of three slides: TE is found in the first two, and taken for NEC in the others."""
    matrices = np.zeros((4, 4, 4), dtype=np.int64)
    matrices[:2, 0, 0], matrices[2:, 0, 1] = 10, 10
    patches = pd.DataFrame({"patch_id": ["a", "b", "c", "d"], "slide_id": ["1", "1", "2", "3"]})
    judgement = Judgement.of(patches, matrices, matrices, LUNG.codes)
    return site_metrics(judgement, patches.assign(site=sites)[::-1], LUNG.codes)


def test_each_site_is_judged_by_itself():
    found = of_sites("A", "A", "B", "B")["sites"]
    assert list(found) == ["A", "B"]
    assert [(of["n_patches"], of["n_slides"], of["iou.TE"]) for of in found.values()] == [(2, 1, 1.0), (2, 2, 0.0)]
    assert found["B"]["miou"] == 0.0


@pytest.mark.parametrize("sites", [[None] * 4, ["A"] * 4, ["A", "A", None, ""]])
def test_where_there_are_no_two_sites_nothing_is_said_of_them(sites):
    assert of_sites(*sites) == {}
