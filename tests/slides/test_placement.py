"""A map explains the colours of its slide best where it lies."""

import numpy as np
import pytest
from scipy import ndimage

from wsss_mm.slides.placement import explained_colors

COLORS = np.array([(180, 90, 140), (90, 60, 130), (220, 170, 200), (245, 245, 245)])


def field(seed, shape=(128, 128), classes=4):
    """Classes in blobs, without any symmetry."""
    rng = np.random.default_rng(seed)
    return np.stack([ndimage.gaussian_filter(rng.normal(size=shape), 8) for _ in range(classes)]).argmax(axis=0)


def picture_of(labels, noise=30):
    colors = COLORS[labels] + np.random.default_rng(9).normal(0, noise, (*labels.shape, 3))
    return np.clip(colors, 0, 255).astype(np.uint8)


@pytest.fixture
def whole():
    return np.ones((128, 128), bool)


@pytest.mark.parametrize("seed", range(5))
def test_in_place_is_best(seed, whole):
    labels = field(seed)
    place, elsewhere = explained_colors(picture_of(labels), labels, whole)
    assert 0.5 < place <= 1
    assert elsewhere < 0.7 * place


@pytest.mark.parametrize(
    "change",
    [
        lambda m: m[::-1],
        lambda m: m[:, ::-1],
        lambda m: m[::-1, ::-1],
        lambda m: m.T,
        np.rot90,
        lambda m: np.roll(m, 6, axis=1),
        lambda m: np.roll(m, (-40, 25), axis=(0, 1)),
    ],
)
@pytest.mark.parametrize("seed", range(3))
def test_where_it_was_moved_from_is_better(seed, change, whole):
    labels = field(seed)
    place, elsewhere = explained_colors(picture_of(labels), change(labels), whole)
    assert elsewhere > place + 0.2
    assert elsewhere == pytest.approx(explained_colors(picture_of(labels), labels, whole)[0])


def test_of_another_slide_or_shuffled_it_explains_little(whole):
    labels = field(0)
    for other in (field(1), np.random.default_rng(0).permutation(labels.ravel()).reshape(labels.shape)):
        assert explained_colors(picture_of(labels), other, whole, elsewhere=False) < (0.1, 0)


def test_what_lies_outside_does_not_count(whole):
    labels = field(3)
    picture, inside = picture_of(labels), np.zeros_like(whole)
    inside[20:100, 10:90] = True
    cut = np.where(inside, labels, 3)
    picture[~inside] = 0
    place, elsewhere = explained_colors(picture, cut, inside)
    assert place > elsewhere + 0.2


@pytest.mark.parametrize("labels", [np.zeros((128, 128), int), np.arange(128 * 128).reshape(128, 128) % 2])
def test_nothing_to_tell(labels, whole):
    flat = np.full((128, 128, 3), 240, np.uint8)
    assert explained_colors(flat, labels, whole) == (0, 0)
    assert explained_colors(flat, labels, np.zeros_like(whole)) == (0, 0)
