"""What an augmentation must be; every one that a training's config names is asked, as it is set there."""

import numpy as np
import pytest

from tests.contracts.registered import augmentations
from wsss_mm.registry import TRANSFORMS

pytestmark = pytest.mark.parametrize("name", augmentations())
SIZE, SEEDS = 256, 6


def made(name):
    return TRANSFORMS.build(dict(augmentations()[name]))


def sample(seed):
    """Soft blocks of colour, and a label map whose blocks are theirs."""
    blocks = np.random.default_rng(7).integers(0, 4, (SIZE // 16, SIZE // 16)).astype(np.uint8)
    labels = np.kron(blocks, np.ones((16, 16), np.uint8))
    image = np.stack([90 + labels * 30, 60 + labels * 20, 100 + labels * 25], axis=-1).astype(np.uint8)
    rng = np.random.default_rng(seed)
    return {"img": image, "gt_seg_map": labels, "rng": rng, "patch_id": "a", "img_shape": image.shape[:2]}


@pytest.mark.parametrize("seed", range(SEEDS))
def test_it_gives_a_sample(name, seed):
    """Image and labels stay of one size and of their kinds, what else there is stays, nothing is changed in place."""
    given, before = sample(seed), sample(seed)
    result = made(name)(given)
    assert result["img"].dtype == result["gt_seg_map"].dtype == np.uint8
    assert result["img"].shape == (*result["gt_seg_map"].shape, 3)
    assert result["img_shape"] == result["img"].shape[:2]
    assert set(np.unique(result["gt_seg_map"])) <= {0, 1, 2, 3}
    assert result["patch_id"] == "a"
    np.testing.assert_array_equal(given["img"], before["img"])
    np.testing.assert_array_equal(given["gt_seg_map"], before["gt_seg_map"])


def test_its_chance_is_that_of_the_sample(name):
    transform = made(name)
    for seed in range(SEEDS):
        one, two = transform(sample(seed)), made(name)(sample(seed))
        np.testing.assert_array_equal(one["img"], two["img"])
        np.testing.assert_array_equal(one["gt_seg_map"], two["gt_seg_map"])


def test_labels_go_where_the_image_goes(name):
    """Pixels of one label have one colour before; after, the mean colours of the labels are in the same order."""
    for seed in range(SEEDS):
        result = made(name)(sample(seed))
        means = [result["img"][result["gt_seg_map"] == value].mean() for value in np.unique(result["gt_seg_map"])]
        assert means == sorted(means)


def test_it_works_without_labels(name):
    given = sample(0)
    del given["gt_seg_map"]
    result = made(name)(given)
    assert "gt_seg_map" not in result
    np.testing.assert_array_equal(result["img"], made(name)(sample(0))["img"])
