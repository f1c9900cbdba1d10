"""The vectorised vote equals a loop over pixels, for any number of maps and labels."""

from collections import Counter

import numpy as np
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as st_numpy

from wsss_mm.cam import vote
from wsss_mm.cam.voting import vote_with_agreement

_MAPS = st_numpy.arrays(
    np.uint8,
    st.tuples(st.integers(1, 5), st.integers(1, 3), st.integers(1, 4), st.integers(1, 4)),
    elements=st.sampled_from([0, 1, 2, 3, 255]),
)


def _brute_force(values: list[int]) -> tuple[int, int]:
    counts = Counter(values)
    most = max(counts.values())
    return next(value for value in values if counts[value] == most), most


@given(_MAPS)
def test_equals_a_loop(maps):
    winner, votes = vote_with_agreement(maps)
    for index in np.ndindex(maps.shape[1:]):
        expected = _brute_force([int(value) for value in maps[(slice(None), *index)]])
        assert (winner[index], votes[index]) == expected


def test_three_way_tie_takes_the_first_map():
    maps = np.array([2, 0, 1]).reshape(3, 1, 1, 1)
    assert vote(maps).item() == 2


def test_ignore_votes_like_any_label():
    maps = np.array([0, 255, 255], dtype=np.uint8).reshape(3, 1, 1, 1)
    assert vote(maps).item() == 255


def test_keeps_type():
    maps = np.zeros((3, 2, 4, 4), dtype=np.uint8)
    assert isinstance(vote(maps), np.ndarray)
    assert vote(maps).dtype == np.uint8
    result = vote(torch.from_numpy(maps))
    assert isinstance(result, torch.Tensor)
    assert result.dtype == torch.uint8
