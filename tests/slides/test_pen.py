import cv2
import numpy as np
import pytest

from studies.pen import INKS
from tests.slides.stains import density, ink, seen
from wsss_mm.slides import open_slide, pen
from wsss_mm.slides.pen import extremes, find_pen, white_of
from wsss_mm.slides.tissue import find_tissue, tissue_and_pen

SIDE, MPP = 160, 8.0
GLASS = np.zeros((SIDE, SIDE, 3))
KINDS = {
    "tumour": {"haematoxylin": 0.35, "eosin": 0.3},
    "lymphocytes": {"haematoxylin": 0.75, "eosin": 0.1, "texture": 0.15},
    "pale stroma": {"haematoxylin": 0.03, "eosin": 0.13, "texture": 0.12},
    "mucin": {"haematoxylin": 0.1, "eosin": 0.02, "texture": 0.12},
    "blood": {"haematoxylin": 0.0, "eosin": 0.08, "blood": 0.5, "texture": 0.1},
    "colloid": {"haematoxylin": 0.0, "eosin": 0.45, "texture": 0.005},
}


def on_glass(total, part=np.s_[40:120, 10:70]):
    """A block of tissue on glass, and where it is."""
    image, where = GLASS.copy(), np.zeros((SIDE, SIDE), bool)
    image[part], where[part] = total[part], True
    return image, where


@pytest.mark.parametrize("stain", [0.5, 1.0, 1.6])
@pytest.mark.parametrize("strength", [0.3, 1.0])
@pytest.mark.parametrize("color", INKS.values(), ids=INKS)
def test_ink_on_glass_is_no_tissue_and_tissue_beside_it_is(color, strength, stain):
    tissue, where = on_glass(density(SIDE, 0.3, 0.3) * stain)
    stroke, thickness = ink(SIDE, color, strength, column=115)
    found, drawn = tissue_and_pen(seen(tissue + stroke), MPP)
    assert not found[thickness > 0.05].mean() > 0.02
    assert drawn[thickness > 0.5].mean() >= 0.98
    assert found[where].mean() >= 0.99
    assert not drawn[where].any()


@pytest.mark.parametrize("stain", [0.5, 1.0, 1.6])
@pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS)
def test_what_stains_make_is_no_pen(kind, stain):
    image = seen(on_glass(density(SIDE, **kind) * stain)[0])
    assert not find_pen(image, MPP, np.ones((SIDE, SIDE), bool)).any()


def test_tissue_out_of_focus_is_no_pen():
    total = cv2.GaussianBlur(density(SIDE, 0.4, 0.2, texture=0.3), (0, 0), 1.0)
    assert not find_pen(seen(on_glass(total)[0]), MPP, np.ones((SIDE, SIDE), bool)).any()


@pytest.mark.parametrize("color", ["blue", "green", "yellow", "orange"])
def test_tissue_that_shows_under_ink_is_tissue(color):
    tissue, where = on_glass(density(SIDE, 0.35, 0.35))
    stroke, thickness = ink(SIDE, INKS[color], 0.3, column=40, width=40)
    found, drawn = tissue_and_pen(seen(tissue + stroke), MPP)
    assert found[where & (thickness > 0.5)].mean() > 0.9
    assert drawn[~where & (thickness > 0.5)].mean() > 0.95


@pytest.mark.parametrize(("haematoxylin", "eosin"), [(0.3, 0.1), (0.3, 0.3), (0.4, 0.15), (0.25, 0.25)])
def test_tissue_near_ink_of_its_own_colour_is_no_edge_of_it(haematoxylin, eosin):
    """It begins 48 um beside a stroke of purple, within the reach of an edge that fades."""
    stroke, thickness = ink(SIDE, INKS["purple"], 0.3, width=40)
    tissue, where = on_glass(density(SIDE, haematoxylin, eosin, texture=0.3), np.s_[30:130, 106:158])
    found, drawn = tissue_and_pen(seen(tissue + stroke), MPP)
    assert (where & ~found).sum() <= 0.005 * where.sum()
    assert drawn[thickness > 0.5].mean() >= 0.98
    assert not found[(thickness > 0.05) & ~where].any()


def test_pale_tissue_stays_tissue_beside_strong_ink():
    tissue, where = on_glass(density(SIDE, 0.03, 0.1))
    stroke, _ = ink(SIDE, INKS["yellow"], column=115)
    alone, _ = tissue_and_pen(seen(tissue), MPP)
    beside, _ = tissue_and_pen(seen(tissue + stroke), MPP)
    assert alone[where].mean() > 0.9
    assert beside[alone].all()


class TestAllThatIsThere:
    """One rule: smooth and in a colour that stains make, it is tissue where little else is stained."""

    @staticmethod
    def seen(color, width, tissue=np.s_[60:80, 8:28]):
        stroke, thickness = ink(SIDE, INKS[color], width=width, column=SIDE - width // 2)
        total, where = on_glass(density(SIDE, 0.3, 0.3), tissue)
        return seen(total + stroke), where, thickness > 0.5

    def test_of_a_colour_that_no_stain_makes_it_is_pen_whatever_is_left(self):
        image, where, inked = self.seen("green", 110)
        found, drawn = tissue_and_pen(image, MPP)
        assert inked.sum() > 40 * where.sum()
        assert drawn[inked].mean() > 0.98
        assert found[where].mean() > 0.95
        assert found[~where].mean() < 0.01

    @pytest.mark.parametrize(("side", "is_pen"), [(0, False), (12, True)])
    def test_in_a_colour_that_stains_make_a_hundredth_must_be_left(self, side, is_pen):
        """Else it is tissue out of focus, or without texture."""
        image, where, inked = self.seen("purple", 30, np.s_[20 : 20 + side, 4 : 4 + side])
        found, drawn = tissue_and_pen(image, MPP)
        assert (drawn[inked].mean() > 0.95) == is_pen
        assert (found[inked].mean() < 0.02) == is_pen
        assert found[where].sum() >= 0.9 * where.sum()

    @pytest.mark.parametrize("color", INKS)
    def test_of_what_is_alone_the_colour_tells(self, color):
        tissue, drawn = tissue_and_pen(seen(ink(SIDE, INKS[color])[0]), MPP)
        assert drawn.any() == (color not in ("red", "purple"))
        assert not (tissue & drawn).any()

    def test_nothing_is_left_out_where_nothing_is_looked_for(self):
        image, where, inked = self.seen("green", 40)
        found, drawn = tissue_and_pen(image, MPP, leave_out_pen=False)
        assert not drawn.any()
        assert found[where | inked].mean() > 0.98


@pytest.mark.parametrize("times", [0.25, 2.0])
def test_images_may_be_finer_or_coarser(times):
    stroke, thickness = ink(SIDE, INKS["green"])
    image = seen(stroke)
    image = np.kron(image, np.ones((4, 4, 1), np.uint8)) if times < 1 else cv2.resize(image, None, fx=0.5, fy=0.5)
    layer = cv2.resize(thickness, image.shape[1::-1])
    drawn = find_pen(image, MPP * times, image.min(axis=2) <= 225)
    assert drawn[layer > 0.5].mean() > 0.95
    assert not drawn[layer < 0.01].any()


def test_nothing_is_told_of_what_is_smaller_than_a_stroke():
    image = np.full((30, 30, 3), INKS["green"], np.uint8)
    assert not find_pen(image, 0.5, np.ones((30, 30), bool)).any()


def test_how_many_rows_are_looked_at_together_does_not_matter(monkeypatch):
    stroke, _ = ink(SIDE, INKS["purple"])
    image = seen(on_glass(density(SIDE, 0.3, 0.3))[0] + stroke)
    whole = tissue_and_pen(image, MPP)
    monkeypatch.setattr(pen, "_STRIP", 37)
    for one, other in zip(whole, tissue_and_pen(image, MPP), strict=True):
        np.testing.assert_array_equal(one, other)


def test_glass_is_what_is_bright_and_grey():
    image = np.full((50, 50, 3), (120, 60, 130), np.uint8)
    assert white_of(image).tolist() == [245, 245, 245]
    image[:5] = (236, 232, 238)
    assert white_of(image).tolist() == [236, 232, 238]


def test_a_phantom_has_no_pen(phantom):
    folder, slides = phantom
    for path in slides["path"]:
        with open_slide(folder / path) as reader:
            assert not find_tissue(reader).pen.any()


@pytest.mark.real_data
@pytest.mark.parametrize("name", ["CMU-1-Small-Region", "tcga-cr-7395-01a-01-ts1"])
def test_real_slides_without_pen_have_none(real_data, name):
    with open_slide(real_data / f"slides/{name}.svs", mpp=0.5) as reader:
        assert not find_tissue(reader).pen.any()


def test_the_greatest_and_the_least_value_of_a_pixel_are_numpys():
    image = np.random.default_rng(0).integers(0, 256, (30, 40, 3), dtype=np.uint8)
    for seen_as in (image, image[:, ::-1], image[::2, 1::3]):
        greatest, least = extremes(seen_as)
        assert (greatest == seen_as.max(axis=2)).all()
        assert (least == seen_as.min(axis=2)).all()
