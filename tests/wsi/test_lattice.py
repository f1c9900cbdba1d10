"""Every pixel lies in as many windows as any other."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from wsss_mm.errors import InputError
from wsss_mm.wsi.lattice import mirrored, window_starts, window_stride


@given(st.integers(1, 3000), st.integers(1, 256), st.integers(1, 256))
def test_coverage_is_even(length, window, stride):
    stride = min(stride, window)
    starts = window_starts(length, window, stride)
    counts = np.zeros(length, int)
    for start in starts:
        counts[max(start, 0) : max(start + window, 0)] += 1
    assert set(np.unique(counts)) <= {window // stride, -(-window // stride)}
    assert (np.diff(starts) == stride).all()
    # no window holds a mere sliver of the slide
    held = [min(start + window, length) - max(start, 0) for start in starts]
    assert min(held) >= min(length, max(1, stride // 2))


@pytest.mark.parametrize(("overlap", "stride"), [(0, 224), (0.5, 112), (0.75, 56), (0.999, 1)])
def test_stride(overlap, stride):
    assert window_stride(224, overlap) == stride


@pytest.mark.parametrize("overlap", [-0.1, 1, 2])
def test_impossible_overlap(overlap):
    with pytest.raises(InputError, match="overlap"):
        window_stride(224, overlap)


@given(st.integers(1, 20), st.integers(0, 60), st.integers(0, 60))
def test_mirrored_equals_numpy(length, before, after):
    expected = np.pad(np.arange(length), (before, after), mode="symmetric")
    np.testing.assert_array_equal(mirrored(-before, length + after, length), expected)
