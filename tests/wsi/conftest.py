"""Slides and networks small enough to reason about."""

import numpy as np
import pytest
import tifffile
from scipy.ndimage import gaussian_filter

from wsss_mm.errors import InputError
from wsss_mm.vocabulary import IGNORE


class ArraySlide:
    """A slide of 1 um/px that is an array; `broken` (x, y, width, height) cannot be read."""

    mpp = 1.0
    steps = (1.0,)
    quickhash = None
    icc = None

    def __init__(self, image, broken=None, origin=(0, 0)):
        self.image, self.broken, self.origin = image, broken, origin
        self.bounds = (*origin, image.shape[1], image.shape[0])
        self.closed = 0

    def read(self, x, y, size, mpp):
        assert not self.closed
        x, y = round(x) - self.origin[0], round(y) - self.origin[1]
        step = round(mpp / self.mpp)
        width, height = size[0] * step, size[1] * step
        if self.broken is not None:
            left, top, wide, high = self.broken
            if x < left + wide and left < x + width and y < top + high and top < y + height:
                raise InputError("tile cannot be decoded")
        region = self.image[y : y + height, x : x + width]
        region = np.pad(region, ((0, height - region.shape[0]), (0, width - region.shape[1]), (0, 0)), mode="edge")
        return region[::step, ::step]

    def close(self):
        self.closed += 1  # OpenSlide cannot do it twice


def colour_predict(images):
    """Three classes from the colours, and from where in the window a pixel lies, as a network's padding would."""
    scores = images.transpose(0, 3, 1, 2).astype(np.float64) / 64
    ramp = np.linspace(-1, 1, images.shape[1])
    scores[:, 0] += ramp[:, None] * images.mean(axis=(1, 2, 3))[:, None, None] / 100
    scores[:, 1] += ramp[None, :]
    exponent = np.exp(scores - scores.max(axis=1, keepdims=True))
    return (exponent / exponent.sum(axis=1, keepdims=True)).astype(np.float32)


def make_tissue(height, width, seed=0):
    """Soft patches of colour with blobs of white glass."""
    noise = np.random.default_rng(seed).normal(size=(height, width, 3))
    image = np.clip(120 + 400 * gaussian_filter(noise, (3, 3, 0)), 0, 200).astype(np.uint8)
    y, x = np.mgrid[:height, :width]
    image[(np.sin(x / 23) + np.cos(y / 31)) > 0.8] = 240
    return image


def write_tissue(path, height, width):
    """A slide of such tissue, twice as fine as height and width say."""
    image = np.repeat(np.repeat(make_tissue(height, width), 2, axis=0), 2, axis=1)
    tifffile.imwrite(path, image, tile=(64, 64), photometric="rgb", compression="zlib", metadata=None)
    return path


def make_labels(height, width, *, seed, coarse):
    """Three classes and background in smooth regions, their size by `coarse`, px."""
    rng = np.random.default_rng(seed)
    fields = [gaussian_filter(rng.normal(size=(height, width)), coarse) for _ in range(4)]
    result = np.argmax(fields, axis=0).astype(np.uint8)
    result[result == 3] = IGNORE
    return result


@pytest.fixture
def array_slide():
    return ArraySlide


@pytest.fixture
def predict():
    return colour_predict


@pytest.fixture
def tissue():
    return make_tissue
