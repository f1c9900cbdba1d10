"""Outlines are valid, and cover exactly the pixels of their regions."""

import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as st_numpy
from scipy import ndimage
from shapely.geometry import Polygon

from wsss_mm.wsi import polygons, runs
from wsss_mm.wsi.polygons import trace_regions
from wsss_mm.wsi.rawmap import RawMap


def _shape(region):
    return Polygon(region.exterior, region.holes)


def _fill(shape, size):
    """Pixels whose centres a polygon holds."""
    from shapely import contains_xy

    height, width = size
    x, y = np.meshgrid(np.arange(width) + 0.5, np.arange(height) + 0.5)
    return contains_xy(shape, x.ravel(), y.ravel()).reshape(size)


def _check(labels):
    for value in np.unique(labels):
        mask = labels == value
        covered = np.zeros(mask.shape, int)
        regions = list(trace_regions(labels, value))
        assert len(regions) == ndimage.label(mask)[1]
        for region in regions:
            shape = _shape(region)
            assert shape.is_valid
            assert shape.area == region.area
            covered += _fill(shape, mask.shape)
        np.testing.assert_array_equal(covered, mask)


def test_one_pixel():
    labels = np.zeros((3, 3), np.uint8)
    labels[1, 1] = 5
    (region,) = trace_regions(labels, 5)
    assert {tuple(point) for point in region.exterior} == {(1, 1), (2, 1), (2, 2), (1, 2)}
    assert region.area == 1


def test_hole():
    labels = np.ones((5, 6), np.uint8)
    labels[2, 2:4] = 0
    (region,) = trace_regions(labels, 1)
    assert len(region.exterior) == 4
    (hole,) = region.holes
    assert Polygon(hole).area == 2
    assert region.area == 28


def test_diagonal_pixels_are_two_regions():
    assert len(list(trace_regions(np.eye(2, dtype=np.uint8), 1))) == 2


def test_ring_that_closes_by_a_corner_is_valid():
    """A loop of pixels whose ends meet diagonally: exterior and hole touch in a point."""
    mask = np.array([[1, 1, 1, 0], [1, 0, 1, 0], [1, 1, 0, 0], [0, 0, 0, 0]], np.uint8)
    _check(mask)
    mask = np.array([[0, 1, 1, 1], [1, 0, 0, 1], [1, 0, 0, 1], [1, 1, 1, 1]], np.uint8)
    _check(mask)


@given(st_numpy.arrays(np.uint8, st.tuples(st.integers(1, 9), st.integers(1, 9)), elements=st.integers(0, 2)))
@settings(max_examples=150, deadline=None)
def test_any_map(labels):
    _check(labels)


def test_bands_do_not_show(monkeypatch):
    labels = (ndimage.gaussian_filter(np.random.default_rng(0).normal(size=(97, 61)), 2) > 0).astype(np.uint8)
    whole = list(trace_regions(labels, 1))
    for band in (1, 16, 97):
        monkeypatch.setattr(runs, "_BAND_PIXELS", band * 61)
        for one, other in zip(whole, trace_regions(labels, 1), strict=True):
            np.testing.assert_array_equal(one.exterior, other.exterior)
            assert len(one.holes) == len(other.holes)
    _check(labels)


@pytest.mark.parametrize("turns", [1, 7, 100])
def test_groups_do_not_show(monkeypatch, tmp_path, turns):
    labels = (ndimage.gaussian_filter(np.random.default_rng(0).normal(size=(97, 61)), 2) > 0).astype(np.uint8)
    whole = list(trace_regions(labels, 1))
    monkeypatch.setattr(polygons, "_TURNS_AT_ONCE", turns)
    for one, other in zip(whole, trace_regions(labels, 1, scratch=tmp_path), strict=True):
        np.testing.assert_array_equal(one.exterior, other.exterior)
        assert len(one.holes) == len(other.holes)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("least", [0, 5, 6])
def test_small_regions_are_dropped(least):
    labels = np.zeros((10, 10), np.uint8)
    labels[0, :5] = 1
    labels[4:8, 4:8] = 1
    assert [region.area for region in trace_regions(labels, 1, least)] == ([5, 16] if least < 6 else [16])


def test_absent_class():
    assert list(trace_regions(np.zeros((4, 4), np.uint8), 3)) == []


def test_memory_does_not_follow_the_number_of_regions(monkeypatch, tmp_path):
    monkeypatch.setattr(runs, "_BAND_PIXELS", 1 << 14)
    monkeypatch.setattr(polygons, "_TURNS_AT_ONCE", 1 << 11)
    block = (ndimage.gaussian_filter(np.random.default_rng(0).normal(size=(256, 256)), 2) > 0.01).astype(np.uint8)
    block[-1] = 0
    peaks, numbers = [], []
    for height in (4, 16):
        with RawMap(tmp_path / f"{height}.raw", (256 * height, 256)) as labels:
            for index in range(height):
                labels.write(256 * index, block)
            found = []
            for _ in range(3):  # what else is at work in this process is counted, too, but not each time
                tracemalloc.start()
                number = sum(1 for _ in trace_regions(labels, 1, scratch=tmp_path))
                found.append(tracemalloc.get_traced_memory()[1])
                tracemalloc.stop()
            numbers.append(number)
            peaks.append(min(found))
    assert numbers[1] == 4 * numbers[0] > 100
    assert peaks[1] < 2 * peaks[0]
