import numpy as np
import pytest

from studies.corruption import corrupt
from wsss_mm.patches import IGNORE

CLASSES = 4


@pytest.fixture
def mask():
    y, x = np.mgrid[:128, :128]
    labels = (np.hypot(y - 50, x - 40) < 30).astype(np.uint8)
    labels[(y > 90) & (x > 60)] = 3
    labels[:10] = IGNORE
    return labels


def wrong_share(mask, spoiled):
    return (spoiled != mask).sum() / (mask != IGNORE).sum()


@pytest.mark.parametrize("kind", ["pixels", "regions"])
@pytest.mark.parametrize("level", [0.1, 0.2, 0.4, 0.6])
def test_the_level_is_the_share_of_wrong_pixels(mask, kind, level):
    shares = [wrong_share(mask, corrupt(mask, level, kind, CLASSES, np.random.default_rng(i))) for i in range(8)]
    assert np.mean(shares) == pytest.approx(level, abs=0.02)


@pytest.mark.parametrize("kind", ["pixels", "regions"])
def test_ignored_pixels_stay_and_labels_are_classes(mask, kind):
    spoiled = corrupt(mask, 0.4, kind, CLASSES, np.random.default_rng(0))
    assert ((spoiled == IGNORE) == (mask == IGNORE)).all()
    assert spoiled[mask != IGNORE].max() < CLASSES


def test_no_noise_changes_nothing_and_the_input_is_never_touched(mask):
    before = mask.copy()
    assert (corrupt(mask, 0, "regions", CLASSES, np.random.default_rng(0)) == mask).all()
    corrupt(mask, 0.5, "regions", CLASSES, np.random.default_rng(0))
    assert (mask == before).all()


def test_regions_are_wrong_in_pieces_and_pixels_one_by_one(mask):
    def edges(kind):
        wrong = corrupt(mask, 0.3, kind, CLASSES, np.random.default_rng(1)) != mask
        return (wrong[:, 1:] != wrong[:, :-1]).sum() / wrong.sum()

    assert edges("regions") < 0.2 * edges("pixels")


def test_wrong_regions_get_a_class_that_the_patch_holds(mask):
    spoiled = corrupt(mask, 0.6, "regions", CLASSES, np.random.default_rng(2))
    assert set(np.unique(spoiled)) <= set(np.unique(mask))


def test_a_patch_of_one_class_can_be_spoiled():
    mask = np.full((64, 64), 2, np.uint8)
    spoiled = corrupt(mask, 0.4, "regions", CLASSES, np.random.default_rng(0))
    assert wrong_share(mask, spoiled) == pytest.approx(0.4, abs=0.03)


def test_equal_generators_give_equal_noise(mask):
    first, second = (corrupt(mask, 0.4, "regions", CLASSES, np.random.default_rng(7)) for _ in range(2))
    assert (first == second).all()
