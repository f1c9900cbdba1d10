"""Planted duplicates are found by features and pixels, however they lie; what only looks alike is not."""

import cv2
import numpy as np
import pytest

from wsss_mm.features.shared import nearest_pairs, shared_tissue, small_grey
from wsss_mm.features.statistics import simple_features

SIDE = 112


def _tissue(number, height=SIDE, width=SIDE):
    """Nuclei on stroma, drawn anew for each number."""
    rng = np.random.default_rng(number)
    image = np.full((height, width, 3), (225, 175, 205), np.uint8)
    for _ in range(height * width // 110):
        place, axes = rng.integers(0, (width, height)), rng.integers(2, 6, 2)
        colour = (110 + rng.integers(0, 50), 70 + rng.integers(0, 40), 150)
        cv2.ellipse(
            image, [*map(int, place)], [*map(int, axes)], int(rng.integers(180)), 0, 360, [*map(int, colour)], -1
        )
    return cv2.GaussianBlur(image, (0, 0), 0.8)


def _jpeg(image):
    coded = cv2.imencode(".jpg", np.ascontiguousarray(image), [cv2.IMWRITE_JPEG_QUALITY, 75])[1]
    return cv2.imdecode(coded, cv2.IMREAD_COLOR)


PLANTED = {
    "re-encoded": (0, 0, lambda image: image),
    "flipped": (0, 0, lambda image: image[:, ::-1]),
    "shifted": (28, 0, lambda image: image),
    "shifted both ways": (40, 28, lambda image: image),
    "shifted and turned": (28, 14, np.rot90),
    "shifted, flipped and darker": (14, 28, lambda image: (image[::-1] * 0.9).astype(np.uint8)),
}


@pytest.fixture(scope="module")
def cohort():
    """24 patches of each split that share nothing, and behind them the planted pairs: of train and of test."""
    images, splits = [_tissue(number) for number in range(48)], ["train", "test"] * 24
    for number, (x, y, change) in enumerate(PLANTED.values()):
        whole = _tissue(100 + number, 200, 200)
        images += [whole[:SIDE, :SIDE], _jpeg(change(whole[y : y + SIDE, x : x + SIDE]))]
        splits += ["train", "test"]
    return images, splits, np.concatenate([simple_features(image[None]) for image in images])


def test_planted_pairs_and_no_others_are_found(cohort):
    images, splits, features = cohort
    found = shared_tissue(nearest_pairs(features, splits), lambda row: small_grey(images[row]))
    assert {(pair.first, pair.second) for pair in found} == {(49 + 2 * n, 48 + 2 * n) for n in range(len(PLANTED))}
    said = {name: next(pair for pair in found if pair.first == 49 + 2 * n) for n, name in enumerate(PLANTED)}
    assert str(said["re-encoded"]) == "as it is"
    assert str(said["flipped"]) == "mirrored or turned"
    assert str(said["shifted"]) == "shifted by 25% and 0% of its side"
    assert str(said["shifted, flipped and darker"]).startswith("mirrored or turned and shifted by")
    assert [pair.shifted for pair in said.values()] == [False, False, True, True, True, True]
    assert all(pair.likeness > 0.8 for pair in found)


def test_patches_of_one_split_are_not_compared(cohort):
    images, _, features = cohort
    assert nearest_pairs(features, ["test"] * len(images)) == []
    assert nearest_pairs(features, ["train"] * len(images)) == []


def test_each_pair_is_asked_for_once(cohort):
    _, splits, features = cohort
    pairs = nearest_pairs(features, ["valid" if split == "train" else split for split in splits], 5)
    assert len({frozenset(pair) for pair in pairs}) == len(pairs)


def test_glass_shows_nothing(cohort):
    white = np.full((SIDE, SIDE, 3), 244, np.uint8)
    assert shared_tissue([(0, 1)], lambda row: small_grey(white)) == []
