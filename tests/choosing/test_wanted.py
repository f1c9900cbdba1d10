"""Which candidates would tell classes apart that stand beside each other in all labels."""

import numpy as np
import pandas as pd
import pytest

from wsss_mm.choosing.rules import Pair
from wsss_mm.choosing.wanted import COLUMNS, in_queue, wanted_patches, write_wanted
from wsss_mm.errors import InputError

CODES = ("A", "B", "C")


@pytest.fixture
def candidates():
    rows = [(f"s{slide}-{x}-0", f"s{slide}", x, 0) for slide in range(3) for x in range(30)]
    return pd.DataFrame(rows, columns=["patch_id", "slide_id", "x", "y"])


def _scores(candidates, **good):
    """All hold A and B; some hold A alone, the first ones the more surely."""
    scores = np.full((len(candidates), 3), 0.9, np.float32)
    for patch, value in good.items():
        scores[candidates.index[candidates["patch_id"] == patch.replace("_", "-")], 1] = value
    return scores


def test_the_likeliest_come_first_and_no_slide_takes_all(candidates):
    scores = _scores(candidates, s1_3_0=0.0, s2_7_0=0.1)
    scores[:30, 1] = 0.3  # all of slide s0
    found = wanted_patches([Pair("A", "B", 50, 0)], candidates, scores, CODES)
    assert list(found.columns) == list(COLUMNS)
    assert len(found) == 20
    assert found["patch_id"].tolist()[:2] == ["s1-3-0", "s2-7-0"]
    assert found["chance"].tolist()[:2] == pytest.approx([0.9, 0.81])
    assert (found.iloc[2:7]["slide_id"] == "s0").all()
    assert found["slide_id"].nunique() == 3


def test_labelled_and_unread_patches_are_left_out_and_pairs_take_turns(candidates):
    scores = _scores(candidates, s1_3_0=0.0)
    scores[60:] = np.nan
    pairs = [Pair("A", "B", 50, 0), Pair("C", "B", 9, 0)]
    found = wanted_patches(pairs, candidates, scores, CODES, labelled={"s1-3-0"})
    assert "s1-3-0" not in set(found["patch_id"])
    assert "s2" not in set(found["slide_id"])
    assert found["patch_id"].is_unique
    assert 0 < (found["wanted"] == "C").sum() < 20


def test_the_table_opens_as_a_queue(candidates, tmp_path):
    path = tmp_path / "wanted.csv"
    found = wanted_patches([Pair("A", "B", 50, 0)], candidates, _scores(candidates), CODES, most=3)
    write_wanted(found, path)
    queue = in_queue(candidates, path)
    assert set(queue["patch_id"]) == set(found["patch_id"])
    assert queue["patch_id"].is_monotonic_increasing
    with pytest.raises(InputError, match="none of its 3 patches is a candidate"):
        in_queue(candidates.assign(patch_id="gone"), path)
    with pytest.raises(InputError, match="wsss-mm labels wanted"):
        in_queue(candidates, tmp_path / "none.csv")
