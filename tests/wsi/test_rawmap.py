"""A map in a file behaves as the array it holds."""

import numpy as np
import pytest

from wsss_mm.patches import IGNORE
from wsss_mm.wsi.engine import Rows
from wsss_mm.wsi.rawmap import OnTissue, RawMap, write_probabilities


@pytest.fixture
def array():
    return np.random.default_rng(0).integers(0, 256, (23, 7), np.uint8)


@pytest.fixture
def raw(tmp_path, array):
    with RawMap(tmp_path / "a.raw", array.shape) as made:
        made.write(10, array[10:])
        made.write(0, array[:10])
        yield made


@pytest.mark.parametrize(
    "rows",
    [slice(None), slice(3, 9), slice(20, 99), slice(1, None, 4), slice(22, 23, 8), slice(5, 5), slice(30, 40)],
)
def test_slices_are_numpys(raw, array, rows):
    np.testing.assert_array_equal(raw[rows], array[rows])


def test_rows_are_numpys(raw, array):
    np.testing.assert_array_equal(raw[4], array[4])
    np.testing.assert_array_equal(raw[np.int64(22)], array[22])
    assert raw.size == array.size


def test_a_file_is_opened_as_it_is(raw, array):
    with RawMap(raw.path, array.shape) as again:
        np.testing.assert_array_equal(again[:], array)


def test_a_map_that_ends_early_is_an_error(raw, array):
    with RawMap(raw.path, (24, 7)) as longer, pytest.raises(OSError, match=r"a\.raw"):
        longer[20:24]


def test_probabilities_are_bytes_and_zero_on_background(tmp_path):
    labels = np.array([[0, 1, IGNORE]], np.uint8)
    probabilities = np.array([[[1.0, 0.25, 0.5]], [[0.0, 0.75, 0.5]]], np.float32)
    maps = [RawMap(tmp_path / f"{index}.raw", (1, 3)) for index in range(2)]
    write_probabilities(maps, Rows(0, labels, probabilities))
    shown = [OnTissue(item, labels) for item in maps]
    assert shown[0].shape == (1, 3)
    assert shown[0][0:1].tolist() == [[255, 64, 0]]
    assert shown[1][0:1].tolist() == [[0, 191, 0]]
    for item in maps:
        item.close()
