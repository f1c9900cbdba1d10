"""The slides of the scripted reader: nothing in the project knows what they show, and the reader knows it all."""

import numpy as np
import pytest

from tests.labelling.unlabelled import make_unlabelled
from wsss_mm.patches.cutting import cut_rows
from wsss_mm.patches.truth import read_map_truth


@pytest.fixture(scope="module")
def oracle(tmp_path_factory):
    return make_unlabelled(tmp_path_factory.mktemp("unlabelled"))


def test_there_is_something_to_label_on_every_slide(oracle):
    counts = oracle.candidates()["slide_id"].value_counts()
    assert sorted(counts.index) == ["phantom-test-01", "phantom-train-01", "phantom-valid-01"]
    assert counts.min() >= 20
    assert not any(slide.known_whole for slide in oracle.cohort())
    assert oracle.cohort().labels is None


def test_the_reader_says_what_the_truth_shows(oracle):
    frame = oracle.candidates()
    labels = oracle.truth_labels(frame["patch_id"])
    assert labels.shape == (len(frame), 4)
    assert labels.any(axis=1).mean() > 0.9
    assert (labels.sum(axis=0) > 0).sum() >= 2
    row = frame.iloc[7]
    slide = next(slide for slide in oracle.cohort() if slide.slide_id == row.slide_id)
    with slide.open() as reader:
        truth = read_map_truth(oracle.hidden / f"{row.slide_id}.tif", reader, oracle.vocabulary)
    shares = np.bincount(truth.mask(row.x, row.y, 64, 1.0).ravel(), minlength=256)[:4] / 64**2
    assert oracle.true_codes(row.patch_id) == [
        code for code, share in zip(oracle.vocabulary.codes, shares, strict=True) if share >= 0.03
    ]


def test_nothing_else_knows(oracle, tmp_path):
    keep = lambda *_, **__: pytest.fail("a patch was cut")  # noqa: E731
    assert cut_rows(oracle.cohort(), keep, settings=oracle.params.patches, vocabulary=oracle.vocabulary) == []
