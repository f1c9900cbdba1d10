"""A lattice of windows that shows in a map is told from tissue, whatever made it show."""

import numpy as np
import pytest
import tifffile
from scipy import ndimage

from wsss_mm.errors import InputError
from wsss_mm.patches import IGNORE, VOCABULARIES
from wsss_mm.slides.pyramid import write_label_pyramid
from wsss_mm.wsi import SlideModel, segment_slide
from wsss_mm.wsi.seams import border_counts, seam_ratio, strongest_line

STEP = 56


def _scores(height=700, width=600, sigma=12, seed=0, classes=3):
    rng = np.random.default_rng(seed)
    noise = [rng.normal(size=(height, width)).astype(np.float32) for _ in range(classes)]
    return np.stack([sigma * ndimage.gaussian_filter(field, sigma) for field in noise])


def _tissue(**options):
    return _scores(**options).argmax(axis=0).astype(np.uint8)


def _ratios(labels, step=STEP):
    return [strongest_line(counts, step) for counts in border_counts([(0, labels)])]


def _tiles(height, width, step, shift=0):
    """Number of the lattice's tile that each pixel lies in."""
    y, x = ((np.arange(side) + shift) // step for side in (height, width))
    return y[:, None] * 1000 + x[None, :]


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("step", [28, 56, 112])
def test_tissue_does_not_know_the_step(seed, step):
    for ratio in _ratios(_tissue(seed=seed), step):
        assert ratio is None or ratio < 2.2


@pytest.mark.parametrize("shift", [0, 17])
@pytest.mark.parametrize(
    "artefact",
    [
        lambda scores, tiles, rng: scores + rng.normal(0, 0.3, (3, 1 + tiles.max()))[:, tiles],
        lambda scores, tiles, rng: np.stack([scores[0] + 9 * (rng.random(1 + tiles.max())[tiles] < 0.4), *scores[1:]]),
    ],
    ids=["normalised by itself", "of one class"],
)
def test_what_differs_from_window_to_window_shows(artefact, shift):
    scores = _scores()
    spoiled = artefact(scores, _tiles(*scores.shape[1:], STEP, shift), np.random.default_rng(1))
    for ratio in _ratios(spoiled.argmax(axis=0).astype(np.uint8)):
        assert ratio > 4


def test_padding_at_the_windows_edges_shows():
    scores = _scores()
    x = (np.arange(scores.shape[2]) + 20) % STEP
    scores[0] += np.where(np.minimum(x, STEP - x) < 3, 0.3, 0)
    across, down = _ratios(scores.argmax(axis=0).astype(np.uint8))
    assert across > 4
    assert down < 2.2


def test_straight_edges_of_tissue_are_no_seams():
    labels = _tissue()
    labels[:300] = 0
    labels[300:, 250:] = np.where(labels[300:, 250:] == 1, 1, 2)
    labels[:, 400:403] = 1
    for ratio in _ratios(labels):
        assert ratio < 2.2


@pytest.mark.parametrize("period", [50, 64, 90])
def test_a_lattice_of_another_step_is_no_seam(period):
    tiles = _tiles(1200, 1300, period)
    labels = np.random.default_rng(0).integers(0, 3, 1 + tiles.max(), np.uint8)[tiles]
    for ratio in _ratios(labels, 112):
        assert ratio is None or ratio < 2.5


@pytest.mark.parametrize(
    "labels",
    [
        np.full((500, 400), IGNORE, np.uint8),
        np.zeros((500, 400), np.uint8),
        np.pad(np.ones((4, 300), np.uint8), 60),  # a strip: too short down, and one edge across
        _tissue(height=100, width=90),
        np.zeros((1, 1), np.uint8),
    ],
    ids=["glass", "one class", "strip", "small", "pixel"],
)
def test_where_there_is_too_little_nothing_is_said(labels):
    assert _ratios(labels) == [None, None]


def test_the_outline_of_glass_is_no_border():
    labels = np.zeros((400, 400), np.uint8)
    labels[_tiles(400, 400, STEP) % 2 == 1] = IGNORE
    across, down = border_counts([(0, labels)])
    assert not across.any()
    assert not down.any()


def test_bands_do_not_matter(tmp_path):
    labels = _tissue(height=600, width=530)
    labels[200:350, 100:280] = IGNORE
    whole = border_counts([(0, labels)])
    for rows in (1, 7, 256):
        parts = border_counts((top, labels[top : top + rows]) for top in range(0, 600, rows))
        for one, other in zip(whole, parts, strict=True):
            np.testing.assert_array_equal(one, other)
    path = tmp_path / "segmentation.tif"
    write_label_pyramid(path, labels, 1.0, VOCABULARIES["lung"].palette)
    expected = max(ratio for ratio in _ratios(labels) if ratio is not None)
    assert seam_ratio(path, window=2 * STEP, overlap=0.5) == expected


def test_a_file_that_is_no_map_is_named(tmp_path):
    with pytest.raises(InputError, match=r"none\.tif: no such label map"):
        seam_ratio(tmp_path / "none.tif", 224, 0.5)
    tifffile.imwrite(tmp_path / "strips.tif", np.zeros((20, 20), np.uint8))
    with pytest.raises(InputError, match=r"strips\.tif: a map is one uint8 channel in tiles"):
        seam_ratio(tmp_path / "strips.tif", 224, 0.5)


def test_the_default_leaves_no_seams_and_uniform_windows_do(tmp_path):
    """With a network that is worse at its window's edge, as all are."""
    scores = _scores(height=500, width=500, sigma=16)
    image = np.clip(120 + 60 * np.moveaxis(scores, 0, -1), 0, 200).astype(np.uint8)
    tifffile.imwrite(tmp_path / "s.tiff", image, tile=(64, 64), photometric="rgb", compression="zlib", metadata=None)
    ramp = np.abs(np.linspace(-1, 1, 64)) ** 4

    def predict(images):
        found = images.transpose(0, 3, 1, 2) / 12.0
        rng = np.random.default_rng(images.sum() % 1000)
        found = found + 2 * np.maximum(ramp[:, None], ramp) * rng.normal(size=(len(images), 3, 1, 1))
        exponent = np.exp(found - found.max(axis=1, keepdims=True))
        return (exponent / exponent.sum(axis=1, keepdims=True)).astype(np.float32)

    model = SlideModel(predict, VOCABULARIES["luad_normal"].classes, 1.0, "a" * 32)
    ratios = []
    for name, options in (("default", {}), ("uniform", {"weighting": "uniform"})):
        out = tmp_path / name
        segment_slide(
            tmp_path / "s.tiff", model, out, mpp_override=1.0, window=64, batch_size=1, progress=False, **options
        )
        ratios.append(seam_ratio(out / "segmentation.tif", 64, 0.5))
    assert ratios[0] < 2.2
    assert ratios[1] > 4
