import cv2
import numpy as np
import pytest

from studies.pen import INKS
from tests.slides.stains import density, field, ink, seen
from wsss_mm.slides.artefacts import find_artefacts, find_folds, fine_detail, is_affordable

SIDE, MPP = 160, 8.0
EVERYWHERE = np.ones((SIDE, SIDE), bool)


class Slide:
    """A slide of 2 um/px that is an array, with what is asked of a reader."""

    mpp, steps = 2.0, (1.0,)

    def __init__(self, image):
        self.image = image
        self.size = image.shape[1], image.shape[0]

    def read(self, x, y, size, mpp):
        assert mpp == pytest.approx(self.mpp)
        return self.image[round(y) : round(y) + size[1], round(x) : round(x) + size[0]]

    def thumbnail(self, side):
        return cv2.resize(self.image, (side, side), interpolation=cv2.INTER_AREA)


@pytest.fixture(scope="module")
def slide():
    """1.3 mm of tissue: the left quarter out of focus, and a green stroke at the right."""
    side = 640
    nuclei = field(side, 0.5, seed=5, grain=1.5)[..., None]
    total = density(side, 0.3, 0.3, texture=0.3) * nuclei
    total[:, :160] = cv2.GaussianBlur(total, (0, 0), 3)[:, :160]
    total[:, 440:] = 0
    return Slide(seen(total + ink(side, INKS["green"], width=160, column=550)[0]))


def test_each_is_found_where_it_is(slide):
    found = find_artefacts(slide)
    assert list(found.masks) == ["pen", "folds", "blur"]
    assert found.tissue[:, :108].mean() > 0.98
    blur, drawn = found.masks["blur"], found.masks["pen"]
    assert blur[:, :32].mean() > 0.9
    assert not blur[:, 48:].any()
    assert drawn[:, 122:153].mean() > 0.98
    assert not drawn[:, :108].any()
    assert not found.masks["folds"].any()
    assert not sum(mask.astype(int) for mask in found.masks.values()).max() > 1


def test_areas_are_of_all_or_of_a_part(slide):
    found = find_artefacts(slide)
    whole = found.areas()
    assert whole["pen"] == pytest.approx(160 * 640 * 4e-6, rel=0.1)
    assert whole["blur"] == pytest.approx(160 * 640 * 4e-6, rel=0.25)
    assert found.areas(np.zeros_like(found.tissue)) == {"pen": 0, "folds": 0, "blur": 0}


def test_a_fold_is_dense_in_both_stains():
    total = density(SIDE, 0.25, 0.25, texture=0.1)
    crowd = total.copy()
    crowd[60:70] = density(SIDE, 0.9, 0.1, texture=0.1)[60:70]
    assert not find_folds(seen(crowd), MPP, EVERYWHERE).any()
    total[60:70] *= 2.2
    found = find_folds(seen(total), MPP, EVERYWHERE)
    assert found[61:69].mean() > 0.9
    assert not found[:56].any()
    assert not found[74:].any()


def test_no_tissue_has_no_folds():
    assert not find_folds(seen(np.zeros((SIDE, SIDE, 3))), MPP, ~EVERYWHERE).any()


def test_fine_detail_depends_on_focus_and_not_on_contrast():
    sharp = density(64, 0.3, 0.3, texture=0.3)
    values = [fine_detail(seen(image)) for image in (sharp, 1.6 * sharp, cv2.GaussianBlur(sharp, (0, 0), 2))]
    assert values[1] == pytest.approx(values[0], rel=0.2)
    assert values[2] < 0.5 * values[0]
    assert np.isnan(fine_detail(np.full((64, 64, 3), 240, np.uint8)))


def test_a_large_slide_without_a_small_level_is_not_read_for_this():
    slide = Slide(np.zeros((8, 8, 3), np.uint8))
    assert is_affordable(slide)
    slide.size = 40_000, 40_000
    assert not is_affordable(slide)
    slide.steps = (1.0, 16.0)
    assert is_affordable(slide)
