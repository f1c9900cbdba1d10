"""Background is bright and large; specks stay tissue."""

import numpy as np

from wsss_mm.patches.background import background_mask, without_glass
from wsss_mm.vocabulary import IGNORE


def _image(bright: np.ndarray, value: int = 240) -> np.ndarray:
    image = np.full((*bright.shape, 3), 120, dtype=np.uint8)
    image[bright] = value
    return image


def test_components_below_the_area_are_dropped():
    bright = np.zeros((40, 40), dtype=bool)
    bright[2:12, 2:7] = True  # 50 px
    bright[20:29, 20:25] = True  # 45 px
    bright[29, 20:24] = True  # 49 px
    expected = np.zeros_like(bright)
    expected[2:12, 2:7] = True
    np.testing.assert_array_equal(background_mask(_image(bright)), expected)


def test_threshold_is_exclusive():
    bright = np.ones((10, 10), dtype=bool)
    assert not background_mask(_image(bright, 200)).any()
    assert background_mask(_image(bright, 201)).all()


def test_dark_image_has_none():
    assert not background_mask(np.zeros((10, 10, 3), dtype=np.uint8)).any()


def test_diagonal_pixels_belong_together():
    bright = np.eye(60, dtype=bool)
    np.testing.assert_array_equal(background_mask(_image(bright)), bright)


def test_no_minimum_keeps_specks():
    bright = np.zeros((8, 8), dtype=bool)
    bright[3, 3] = True
    np.testing.assert_array_equal(background_mask(_image(bright), min_area=0), bright)


def test_labels_end_at_glass_and_not_at_small_holes_as_a_map_does():
    image = np.full((60, 60, 3), 120, np.uint8)
    image[:, 40:] = 245  # glass
    image[10:15, 10:15] = 245  # 25 px: 25 um2 at 1 um/px, 400 um2 at 4 um/px
    labels = np.ones((60, 60), np.uint8)
    for mpp, hole in ((1.0, 1), (4.0, IGNORE)):
        shown = without_glass(image, labels, mpp)
        assert (shown[:, 40:] == IGNORE).all()
        assert (shown[10:15, 10:15] == hole).all()
        assert (shown[30:, :40] == 1).all()
    assert (labels == 1).all()
