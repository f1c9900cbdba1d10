"""Small holes in the tissue are filled with what is beneath them, and nothing else is touched."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as st_numpy
from scipy import ndimage

from wsss_mm.patches import IGNORE
from wsss_mm.wsi import runs
from wsss_mm.wsi.holes import covered, fill_holes


class _Written:
    """What is written, as an array."""

    def __init__(self, shape):
        self.rows = np.full(shape, 77, np.uint8)

    def write(self, start, rows):
        self.rows[start : start + len(rows)] = rows


def _filled(labels, beneath, max_area):
    target = _Written(labels.shape)
    fill_holes(covered(labels, beneath), target, max_area)
    return target.rows


def _expected(labels, beneath, max_area):
    """By SciPy's components, one after the other."""
    result = labels.copy()
    components, count = ndimage.label(labels == IGNORE, np.ones((3, 3)))
    edge = np.ones(labels.shape, bool)
    edge[1:-1, 1:-1] = False
    for number in range(1, count + 1):
        here = components == number
        if here.sum() < max_area and not (here & edge).any() and (beneath[here] != IGNORE).all():
            result[here] = beneath[here]
    return result


@given(
    st_numpy.arrays(np.uint8, st.tuples(st.integers(1, 12), st.integers(1, 12)), elements=st.integers(0, 9)),
    st.integers(0, 30),
    st.integers(1, 40),
)
@settings(deadline=None, max_examples=300)
def test_equals_whole_components(drawn, max_area, band):
    labels = np.where(drawn >= 6, IGNORE, drawn % 3).astype(np.uint8)
    beneath = np.where(drawn == 9, IGNORE, drawn % 3).astype(np.uint8)
    before = runs._BAND_PIXELS
    try:
        runs._BAND_PIXELS = band
        found = _filled(labels, beneath, max_area)
    finally:
        runs._BAND_PIXELS = before
    np.testing.assert_array_equal(found, _expected(labels, beneath, max_area))


def test_speckled_map_in_any_bands(monkeypatch):
    rng = np.random.default_rng(0)
    field = ndimage.gaussian_filter(rng.normal(size=(150, 130)), 1)
    beneath = rng.integers(0, 3, field.shape).astype(np.uint8)
    labels = np.where(field > 0.15, IGNORE, beneath).astype(np.uint8)
    expected = _expected(labels, beneath, 40)
    assert (expected != labels).sum() > 500
    assert (expected[1:-1, 1:-1] == IGNORE).any()
    for rows in (1, 2, 7, 150, 1000):
        monkeypatch.setattr(runs, "_BAND_PIXELS", rows * 130)
        np.testing.assert_array_equal(_filled(labels, beneath, 40), expected)


@pytest.mark.parametrize(("area", "filled"), [(4, False), (4.5, True), (5, True), (0, False)])
def test_a_hole_of_just_that_size_stays(area, filled):
    labels = np.zeros((6, 6), np.uint8)
    labels[2:4, 2:4] = IGNORE
    found = _filled(labels, np.ones((6, 6), np.uint8), area)
    assert (found[2:4, 2:4] == (1 if filled else IGNORE)).all()
    assert (np.delete(found.ravel(), [14, 15, 20, 21]) == 0).all()


def test_pixels_that_touch_by_a_corner_are_one_hole():
    labels = np.zeros((6, 6), np.uint8)
    labels[2, 2] = labels[3, 3] = IGNORE
    assert (_filled(labels, np.zeros_like(labels), 2) == IGNORE).sum() == 2
    assert (_filled(labels, np.zeros_like(labels), 3) == IGNORE).sum() == 0
    labels[4, 4] = labels[5, 5] = IGNORE  # which reaches the edge of the map
    assert (_filled(labels, np.zeros_like(labels), 30) == IGNORE).sum() == 4


def test_classes_and_nothing_are_told_apart():
    every = np.arange(128, dtype=np.uint8)[None]
    np.testing.assert_array_equal(_filled(every, every, 10), every)
    nothing = np.full((3, 3), IGNORE, np.uint8)
    np.testing.assert_array_equal(_filled(nothing, nothing, 100), nothing)
