import numpy as np
import pytest

from wsss_mm.slides import open_slide
from wsss_mm.slides.labels import read_label_tiff
from wsss_mm.slides.tissue import TissueMask, find_tissue, tissue_mask

MASK = TissueMask(np.array([[True, True, False, False], [True, False, False, False]]), (10.0, 10.0))


@pytest.mark.parametrize(
    ("rectangle", "share"),
    [
        ((0, 0, 10, 10), 1.0),
        ((0, 0, 20, 20), 0.75),
        ((0, 0, 40, 20), 0.375),
        ((20, 0, 20, 20), 0.0),
        ((5, 0, 10, 20), 0.75),
        ((15, 0, 10, 10), 0.5),
        ((-10, 0, 20, 10), 0.5),
        ((100, 100, 5, 5), 0.0),
    ],
)
def test_share_of_a_rectangle(rectangle, share):
    assert MASK.share([rectangle]) == pytest.approx([share])


def test_many_rectangles_at_once_agree_with_counting():
    rng = np.random.default_rng(0)
    mask = rng.random((50, 60)) < 0.4
    boxes = np.stack([rng.integers(0, 40, 30), rng.integers(0, 30, 30), *rng.integers(1, 20, (2, 30))], axis=1)
    expected = [mask[y : y + h, x : x + w].mean() for x, y, w, h in boxes]
    np.testing.assert_allclose(TissueMask(mask, (1, 1)).share(boxes), expected)


class TestMask:
    def noise(self, colour, side=200):
        rng = np.random.default_rng(0)
        return np.clip(rng.normal(colour, 2, (side, side, 3)), 0, 255).astype(np.uint8)

    def test_glass_alone_holds_no_tissue(self):
        assert not tissue_mask(self.noise((243, 241, 243)), 8).any()

    def test_tissue_alone_is_all_tissue(self):
        assert tissue_mask(self.noise((205, 130, 180)), 8).mean() > 0.99

    def test_pale_and_dark_tissue_on_grey_glass(self):
        image = self.noise((220, 219, 221))
        image[50:100, 50:150] = self.noise((225, 190, 212))[50:100, 50:150]
        image[100:150, 50:150] = self.noise((110, 60, 130))[100:150, 50:150]
        expected = np.zeros((200, 200), bool)
        expected[50:150, 50:150] = True
        assert (tissue_mask(image, 8) == expected).mean() > 0.98

    def test_dust_goes_and_small_holes_are_filled(self):
        image = self.noise((243, 241, 243))
        image[100:190, 100:190] = (205, 130, 180)
        image[140:143, 140:143] = 243
        image[20:23, 20:23] = (205, 130, 180)
        mask = tissue_mask(image, 8)
        assert mask[141, 141]
        assert not mask[:50, :50].any()


def test_finds_the_tissue_of_a_phantom_slide(phantom):
    folder, slides = phantom
    slide = slides.iloc[0]
    with open_slide(folder / slide.path) as reader:
        found = find_tissue(reader, mpp=4.0)
    assert found.mask.shape == (256, 256)
    truth = read_label_tiff(folder / f"truth/{slide.slide_id}.tif")[4::8, 4::8] != 255
    assert ((found.mask & truth).sum() / (found.mask | truth).sum()) > 0.93


@pytest.mark.real_data
@pytest.mark.parametrize(
    ("name", "low", "high"), [("CMU-1-Small-Region", 0.3, 0.42), ("tcga-cr-7395-01a-01-ts1", 0.58, 0.7)]
)
def test_real_slides(real_data, name, low, high):
    with open_slide(real_data / f"slides/{name}.svs", mpp=0.5) as reader:
        assert low < find_tissue(reader).mask.mean() <= high
