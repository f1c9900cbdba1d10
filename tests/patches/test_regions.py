import numpy as np
import pytest

from wsss_mm.patches.regions import cut_region, tile_starts
from wsss_mm.vocabulary import IGNORE


@pytest.mark.parametrize("length", [1, 5, 15, 16, 17, 31, 32, 33, 100])
def test_starts_stay_inside_and_cover_every_pixel_once(length):
    covered = np.zeros(length, int)
    for start, fresh in tile_starts(length, 16):
        assert start >= 0
        assert start + 16 <= max(length, 16)
        assert start <= fresh
        covered[fresh : start + 16] += 1
    assert (covered == 1).all()


@pytest.mark.parametrize("shape", [(16, 16), (40, 23), (17, 64), (7, 30), (3, 3), (1, 1)])
def test_every_truth_pixel_is_evaluated_exactly_once_and_lies_on_its_image_pixel(shape):
    rng = np.random.default_rng(0)
    mask = rng.integers(0, 3, shape).astype(np.uint8)
    mask[rng.random(shape) < 0.1] = IGNORE
    image = np.repeat(mask[..., None], 3, axis=2)  # an image that shows where each pixel went
    seen = np.zeros(shape, int)
    for tile in cut_region(image, mask, 16):
        assert tile.image.shape == (16, 16, 3)
        assert tile.mask.shape == tile.seen.shape == (16, 16)
        rows, columns = np.nonzero(tile.mask != IGNORE)
        np.testing.assert_array_equal(tile.image[rows, columns, 0], tile.mask[rows, columns])
        np.testing.assert_array_equal(tile.seen[rows, columns], tile.mask[rows, columns])
        np.add.at(seen, (rows + tile.y, columns + tile.x), 1)
    np.testing.assert_array_equal(seen, mask != IGNORE)


def test_label_set_of_a_shifted_tile_sees_what_an_earlier_tile_evaluates():
    mask = np.zeros((16, 20), np.uint8)
    mask[:, 6] = 1  # inside both tiles, evaluated in the first
    first, last = cut_region(np.zeros((16, 20, 3), np.uint8), mask, 16)
    assert last.x == 4
    assert 1 in first.mask
    assert 1 not in last.mask
    assert 1 in last.seen
