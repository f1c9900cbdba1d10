"""Stains of known vectors are found again, and slides are made to look like others without touching glass."""

import cv2
import numpy as np
import pytest
import tifffile

from wsss_mm.errors import InputError
from wsss_mm.slides import open_slide
from wsss_mm.slides.stain import METHODS, Stain, fit_stain, recolour, stain_of_slide, typical

H_AND_E = np.array([[0.65, 0.70, 0.29], [0.07, 0.99, 0.11]])
OTHER = np.array([[0.55, 0.75, 0.37], [0.20, 0.85, 0.49]])


def image_of(vectors, amounts=(1.2, 0.8), side=128, seed=0):
    """An image by Beer-Lambert's law: pixels of pure stains, mixtures of both, and a tenth of glass."""
    rng = np.random.default_rng(seed)
    vectors = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    found = rng.uniform(0.3, 1.0, (side * side, 2)) * amounts
    kind = rng.random(side * side)
    found[kind < 0.25, 1] = 0
    found[(kind >= 0.25) & (kind < 0.5), 0] = 0
    found[kind > 0.9] = 0
    density = found @ vectors
    return np.clip(np.rint(256 * np.exp(-density) - 1), 0, 255).astype(np.uint8).reshape(side, side, 3)


@pytest.mark.parametrize("vectors", [H_AND_E, OTHER], ids=["h-and-e", "other"])
def test_macenko_finds_the_vectors_and_amounts_that_an_image_was_made_with(vectors):
    stain = fit_stain(image_of(vectors, (1.5, 0.9)), "macenko")
    known = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    np.testing.assert_allclose(np.reshape(stain.numbers[:6], (2, 3)), known, atol=0.02)
    np.testing.assert_allclose(stain.numbers[6:], (1.5, 0.9), rtol=0.05)


def test_reinhard_has_mean_and_spread_of_the_tissue_alone():
    image = image_of(H_AND_E)
    stain = fit_stain(image, "reinhard")
    tissue = image.reshape(-1, 3)[-np.log((image.reshape(-1, 3) + 1.0) / 256).mean(axis=1) > 0.15]
    lab = cv2.cvtColor((tissue[None] / 255).astype(np.float32), cv2.COLOR_RGB2Lab)[0]
    np.testing.assert_allclose(stain.numbers, [*lab.mean(axis=0), *lab.std(axis=0)], atol=1e-3)


@pytest.mark.parametrize("method", METHODS)
class TestRecolouring:
    def test_an_image_that_is_stained_like_the_target_stays_as_it_is(self, method):
        image = image_of(H_AND_E)
        stain = fit_stain(image, method)
        nearly = Stain(method, (stain.numbers[0] + 1e-6, *stain.numbers[1:]))
        assert np.array_equal(recolour(stain, stain)(image), image)
        assert np.abs(recolour(stain, nearly)(image).astype(int) - image).max() <= 1

    def test_another_is_then_stained_like_the_target(self, method):
        target = fit_stain(image_of(H_AND_E, (1.2, 0.8)), method)
        image = image_of(OTHER, (0.8, 1.1), seed=1)
        changed = recolour(fit_stain(image, method), target)(image)
        before, after = (
            np.abs(np.subtract(fit_stain(item, method).numbers, target.numbers)) for item in (image, changed)
        )
        assert after.max() < 0.05 * before.max() + 0.03 * np.abs(target.numbers).max()

    def test_glass_stays_glass_and_batches_are_changed_as_images_are(self, method):
        source, target = (fit_stain(image_of(item), method) for item in (OTHER, H_AND_E))
        change = recolour(source, target)
        white = np.full((8, 8, 3), 255, np.uint8)
        assert (change(white) == 255).all()
        images = np.stack([image_of(OTHER, seed=seed) for seed in (3, 4)])
        assert np.array_equal(change(images), np.stack([change(image) for image in images]))
        assert change(images).dtype == np.uint8

    def test_of_glass_black_or_one_colour_nothing_is_told(self, method):
        for value in (255, 240):
            assert fit_stain(np.full((64, 64, 3), value, np.uint8), method) is None
        assert fit_stain(np.zeros((64, 64, 3), np.uint8), method) is None
        assert fit_stain(np.full((64, 64, 3), (150, 60, 150), np.uint8), method) is None
        assert fit_stain(np.zeros((0, 3), np.uint8), method) is None
        assert fit_stain(image_of(H_AND_E, side=16), method) is None, "too little tissue"

    def test_json_and_back(self, method):
        stain = fit_stain(image_of(H_AND_E), method)
        assert Stain.from_json(stain.to_json(), "here") == stain

    def test_a_slide_is_told_by_its_tissue(self, method, tmp_path):
        image = np.full((1024, 1536, 3), 255, np.uint8)
        image[256:768, 512:1024] = image_of(OTHER, (0.8, 1.1), side=512)
        path = tmp_path / "slide.tif"
        tifffile.imwrite(path, image, tile=(256, 256), photometric="rgb", metadata=None)
        with open_slide(path, 1.0) as slide:
            found = stain_of_slide(slide, method, 1.0)
            assert found == stain_of_slide(slide, method, 1.0)
        known = fit_stain(image, method)
        np.testing.assert_allclose(found.numbers, known.numbers, rtol=0.05, atol=0.3 if method == "reinhard" else 0.02)

    def test_a_slide_of_glass_says_nothing(self, method, tmp_path):
        path = tmp_path / "glass.tif"
        white = np.full((512, 512, 3), 255, np.uint8)
        tifffile.imwrite(path, white, tile=(256, 256), photometric="rgb", metadata=None)
        with open_slide(path, 1.0) as slide:
            assert stain_of_slide(slide, method, 1.0) is None


def test_one_stain_alone_is_no_pair():
    alone = np.stack([H_AND_E[0], H_AND_E[0]])
    assert fit_stain(image_of(alone), "macenko") is None


def test_what_is_outside_of_the_plane_of_both_stains_stays():
    source, target = (fit_stain(image_of(item), "macenko") for item in (OTHER, H_AND_E))
    known = np.reshape(source.numbers[:6], (2, 3))
    outside = np.cross(known[0], known[1])
    pen = np.rint(256 * np.exp(-(0.6 + 0.4 * outside / np.linalg.norm(outside))) - 1).astype(np.uint8)
    density = -np.log((recolour(source, target)(pen.reshape(1, 1, 3)) + 1.0) / 256)
    kept = (density @ outside / np.linalg.norm(outside)).item()
    theirs = np.reshape(target.numbers[:6], (2, 3))
    amounts = -np.log((pen + 1.0) / 256) @ np.linalg.pinv(known) * np.divide(target.numbers[6:], source.numbers[6:])
    mixed = (amounts @ theirs) @ (outside / np.linalg.norm(outside))
    assert kept == pytest.approx(0.4 + 0.6 * outside.sum() / np.linalg.norm(outside) + mixed, abs=0.03)


def test_the_typical_stain_is_the_median_and_of_length_one():
    stains = [fit_stain(image_of(H_AND_E, amounts), "macenko") for amounts in ((1.0, 0.8), (1.2, 0.9), (3.0, 2.0))]
    found = typical(stains)
    assert found.numbers[6:] == stains[1].numbers[6:]
    np.testing.assert_allclose(np.linalg.norm(np.reshape(found.numbers[:6], (2, 3)), axis=1), 1, atol=1e-6)
    assert typical([]) is None


@pytest.mark.parametrize(
    "content",
    [
        None,
        [],
        {},
        {"method": "macenko"},
        {"method": "magic", "numbers": [1.0] * 8},
        {"method": "reinhard", "numbers": [1.0] * 8},
        {"method": "reinhard", "numbers": [50, 20, -10, 10, 5, 0]},
        {"method": "reinhard", "numbers": [50, 20, -10, 10, 5, "1"]},
        {"method": "reinhard", "numbers": [50, 20, -10, 10, 5, True]},
        {"method": "reinhard", "numbers": [50, 20, -10, 10, 5, float("nan")]},
        {"method": "macenko", "numbers": [0.6, 0.7, 0.3, 0.6, 0.7, 0.3, 1.0, 1.0]},
    ],
)
def test_what_is_no_stain_is_refused_in_one_line(content):
    with pytest.raises(InputError, match=r"^model\.json: is no stain, [^\n]*; make it again: dvc repro$"):
        Stain.from_json(content, "model.json")
