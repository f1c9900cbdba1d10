import cv2
import numpy as np
import openslide
import pytest
import tifffile
from sklearn.ensemble import HistGradientBoostingClassifier

from wsss_mm.errors import InputError
from wsss_mm.files import digest
from wsss_mm.patches import IGNORE, get_vocabulary
from wsss_mm.slides import open_slide
from wsss_mm.slides.labels import read_label_tiff, resample_labels
from wsss_mm.slides.phantom import PHANTOM_MPP, generate_cohort, layout, nuclei
from wsss_mm.slides.table import COLUMNS


def both(folder, slide):
    """Image and truth of a slide at 1 um/px."""
    with open_slide(folder / slide.path) as reader:
        image = reader.read(0, 0, 1024, 1.0)
    return image, resample_labels(read_label_tiff(folder / f"truth/{slide.slide_id}.tif"), 0, 0, 1024, 2)


def test_the_truth_has_the_order_of_the_vocabulary():
    lung, breast = (layout.values_of(get_vocabulary(name)) for name in ("lung", "breast"))
    assert lung[:4].tolist() == [0, 1, 2, 3]
    assert [get_vocabulary("breast").codes[value] for value in breast[:4]] == ["TUM", "NEC", "LYM", "STR"]
    assert set(lung[4:]) == set(breast[4:]) == {IGNORE}
    with pytest.raises(InputError, match=r"no class of 'luad_normal' has role necrosis"):
        layout.values_of(get_vocabulary("luad_normal"))


@pytest.mark.parametrize("kind", [nuclei.TUMOUR, nuclei.SPINDLE, nuclei.GHOST, nuclei.DEBRIS])
@pytest.mark.parametrize("which", [[], [0], [5, 17, 287], range(3, 200, 7)])
def test_a_nucleus_is_the_same_whichever_others_are_rendered(kind, which):
    library, which = nuclei.draw_library(np.random.default_rng(0), kind), np.array(which, int)
    some, whole = library.render(which), library.render(np.arange(len(library)))
    for name in ("opacity", "haematoxylin", "halo"):
        assert getattr(some, name).tobytes() == getattr(whole, name)[which].tobytes()


class TestFiles:
    def test_openslide_knows_scanner_resolution_and_levels(self, phantom):
        folder, slides = phantom
        for slide in slides.itertuples():
            with openslide.OpenSlide(folder / slide.path) as opened:
                assert opened.properties["openslide.vendor"] == "aperio"
                assert float(opened.properties["openslide.mpp-x"]) == PHANTOM_MPP
                assert opened.properties["openslide.objective-power"] == "20"
                assert opened.level_dimensions == ((2048, 2048), (512, 512))

    def test_truth_lies_on_the_slides_grid(self, phantom):
        folder, slides = phantom
        for slide_id in slides["slide_id"]:
            with tifffile.TiffFile(folder / f"truth/{slide_id}.tif") as tiff:
                assert tiff.pages[0].shape == (2048, 2048)
                assert tiff.pages[0].get_resolution("MICROMETER")[0] == pytest.approx(1 / PHANTOM_MPP)
                assert set(np.unique(tiff.asarray())) == {0, 1, 2, 3, 255}

    def test_a_patient_a_slide_and_the_columns_of_the_slide_table(self, phantom):
        _, slides = phantom
        assert list(slides["split"]) == ["train", "train", "test"]
        assert slides["patient_id"].is_unique
        assert set(COLUMNS) - set(slides.columns) == {"site", "bytes", "quickhash"}


class TestSeed:
    def make(self, folder, seed, workers, slides=2):
        generate_cohort(folder, {"train": slides}, 512, seed, workers=workers, progress=False)
        return [digest(path) for path in sorted(folder.glob("*/*.tif*"))]

    def test_same_seed_same_bytes_however_many_processes(self, tmp_path):
        first = self.make(tmp_path / "a", seed=1, workers=1)
        assert first == self.make(tmp_path / "b", seed=1, workers=2)
        assert len(set(first)) == len(first) == 4

        other = self.make(tmp_path / "c", seed=2, workers=1, slides=1)
        assert not set(first) & set(other)


class TestTissue:
    def test_every_class_is_well_represented(self, phantom):
        folder, slides = phantom
        for slide in slides.itertuples():
            labels = read_label_tiff(folder / f"truth/{slide.slide_id}.tif")
            shares = np.bincount(labels[labels != IGNORE], minlength=4) / (labels != IGNORE).sum()
            assert shares.min() > 0.1
            assert shares.max() < 0.45
            assert 0.05 < np.mean(labels == IGNORE) < 0.45

    def test_truth_is_aligned_with_the_picture(self, phantom):
        """Glass is bright and tissue is not, up to the blur at the border."""
        folder, slides = phantom
        for slide in slides.itertuples():
            image, labels = both(folder, slide)
            grey = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
            empty = (labels == IGNORE).astype(np.uint8)
            well_inside = cv2.erode(empty, np.ones((5, 5))) > 0
            assert (grey[well_inside] > 210).mean() > 0.995
            assert (grey[labels != IGNORE] > 200).mean() < 0.08
            # the best match of the truth's glass with bright pixels is where it is
            bright = (grey > 215).astype(np.float32)
            overlap = {
                (dx, dy): float((np.roll(bright, (dy, dx), (0, 1)) * empty).sum())
                - float((np.roll(bright, (dy, dx), (0, 1)) * (1 - empty)).sum())
                for dx in (-2, -1, 0, 1, 2)
                for dy in (-2, -1, 0, 1, 2)
            }
            assert max(overlap, key=overlap.get) == (0, 0)

    def test_nuclei_are_small_and_many_in_lymphocytes_and_large_in_tumour(self, phantom):
        """Median area of dark, well separated blobs."""
        folder, slides = phantom
        image, labels = both(folder, slides.iloc[0])
        red = cv2.GaussianBlur(image[..., 0], (0, 0), 1)
        areas = {}
        for label in (layout.TUMOUR, layout.LYMPHOCYTES):
            inside = cv2.erode((labels == label).astype(np.uint8), np.ones((9, 9)))
            threshold = np.quantile(red[inside > 0], 0.3)
            _, _, stats, _ = cv2.connectedComponentsWithStats(((red < threshold) & (inside > 0)).astype(np.uint8))
            areas[label] = np.median([area for area in stats[1:, cv2.CC_STAT_AREA] if area > 8])
        assert areas[layout.TUMOUR] > 1.7 * areas[layout.LYMPHOCYTES]


def test_colour_alone_does_not_tell_the_classes(phantom):
    """A pixel classifier trained on the truth stays under 0.55 mIoU on the test slide."""
    folder, slides = phantom
    pixels = {"train": [], "test": []}
    rng = np.random.default_rng(0)
    for slide in slides.itertuples():
        image, labels = both(folder, slide)
        chosen = rng.choice(np.flatnonzero(labels != IGNORE), 30_000, replace=False)
        colours = image.reshape(-1, 3)[chosen]
        lab = cv2.cvtColor(colours[None], cv2.COLOR_RGB2LAB)[0]
        pixels[slide.split].append((np.hstack([colours, lab]), labels.ravel()[chosen]))
    train, test = ([np.concatenate(part) for part in zip(*pixels[split], strict=True)] for split in ("train", "test"))
    predicted = HistGradientBoostingClassifier(max_iter=60, random_state=0).fit(*train).predict(test[0])
    iou = [
        np.mean((predicted == label) & (test[1] == label)) / np.mean((predicted == label) | (test[1] == label))
        for label in range(4)
    ]
    assert 0.25 < np.mean(iou) < 0.55  # better than chance (1/7), or the test would prove nothing
