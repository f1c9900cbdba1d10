"""What an image looks like, in numbers: as its definition says it, however it is computed."""

import cv2
import numpy as np
import pytest

from wsss_mm.patches.appearance import DENSITY, image_statistics, unmixing
from wsss_mm.patches.images import GLASS_GREY


@pytest.mark.parametrize("side", [8, 47, 224, 500])
@pytest.mark.parametrize("seed", range(3))
def test_stain_is_the_mean_over_the_pixels_of_tissue_to_the_last_bit(side, seed):
    rng = np.random.default_rng([side, seed])
    image = rng.integers(60 * seed, 256, (side, side, 3), dtype=np.uint8)
    tissue = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY) <= GLASS_GREY
    expected = cv2.LUT(image, DENSITY)[tissue].mean(axis=0, dtype=np.float64) @ unmixing()
    found = image_statistics(image)
    assert (found["haematoxylin"], found["eosin"]) == (expected[0], expected[1])


def test_of_a_part_of_an_image():
    image = np.random.default_rng(0).integers(0, 200, (64, 64, 3), dtype=np.uint8)
    assert image_statistics(image[::2, 5:40]) == image_statistics(image[::2, 5:40].copy())
