"""Label pyramids read back in bands, and whether their levels are samples of the finest."""

import numpy as np
import pytest
import tifffile
from hypothesis import given, settings
from hypothesis import strategies as st

from wsss_mm.errors import InputError
from wsss_mm.patches import VOCABULARIES
from wsss_mm.slides import bands
from wsss_mm.slides.bands import count_wrong_samples, open_label_pyramid
from wsss_mm.slides.pyramid import write_label_pyramid

PALETTE = VOCABULARIES["lung"].palette


def written(folder, labels, mpp=2.0):
    write_label_pyramid(folder / "map.tif", labels, mpp, PALETTE)
    return folder / "map.tif"


@settings(max_examples=15, deadline=None)
@given(st.integers(1, 700), st.integers(1, 700), st.integers(0, 2**32 - 1))
def test_what_is_read_is_what_was_written(tmp_path_factory, height, width, seed):
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 6, (height, width), dtype=np.uint8)
    with open_label_pyramid(written(tmp_path_factory.mktemp("map"), labels)) as pyramid:
        level = pyramid.levels[0]
        first, stop = sorted(rng.integers(0, height + 1, 2))
        rows, columns = rng.integers(0, height, 50), rng.integers(0, width, 50)
        assert np.array_equal(level[first:stop], labels[first:stop])
        assert np.array_equal(level.at(rows, columns), labels[rows, columns])
        assert np.array_equal(np.concatenate([band for _, band in level.bands()]), labels)
        assert count_wrong_samples(pyramid.levels) == 0
        assert pyramid.mpp == (2.0,) * 4
        assert pyramid.colors.ravel().tolist() == PALETTE


@pytest.fixture
def three_levels(tmp_path, monkeypatch):
    monkeypatch.setattr(bands, "_BAND_PIXELS", 5000)
    labels = np.random.default_rng(0).integers(0, 4, (700, 900), dtype=np.uint8)
    with open_label_pyramid(written(tmp_path, labels)) as pyramid:
        yield pyramid.levels


def test_one_pixel_of_a_level_is_noticed(three_levels):
    class Altered:
        shape = three_levels[1].shape

        def __getitem__(self, rows):
            band = three_levels[1][rows].copy()
            band[200 - rows.start if rows.start <= 200 < rows.stop else [], 77] += 1
            return band

    assert count_wrong_samples(three_levels) == 0
    assert count_wrong_samples([three_levels[0], Altered(), three_levels[2]]) == 1


def test_levels_too_few_too_many_or_of_another_size_are_wrong(three_levels):
    first, second, third = three_levels
    assert count_wrong_samples([first, second]) == 175 * 225
    assert count_wrong_samples([*three_levels, third]) == 175 * 225
    assert count_wrong_samples([first, third, third]) == 350 * 450


@pytest.mark.parametrize(
    ("image", "options", "says"),
    [
        (np.zeros((300, 300, 3), np.uint8), {"photometric": "rgb"}, "one uint8 channel"),
        (np.zeros((300, 300), np.uint16), {}, "one uint8 channel"),
        (np.zeros((300, 300), np.uint8), {"resolutionunit": "INCH"}, "not per centimetre"),
    ],
)
def test_what_is_no_label_map(tmp_path, image, options, says):
    options = {"resolution": (1e4, 1e4), "resolutionunit": "CENTIMETER"} | options
    tifffile.imwrite(tmp_path / "map.tif", image, tile=(256, 256), metadata=None, **options)
    with pytest.raises(InputError, match=says), open_label_pyramid(tmp_path / "map.tif"):
        pass
