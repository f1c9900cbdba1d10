"""Colour, stain and texture of patches in a few dozen numbers, which no network is needed for.

They tell glass from tissue, pale from dark, nuclei-rich from fibrous, coarse from fine: enough for a first map of a
cohort, and for the order in which its patches are labelled before there is a classifier. All are the same however a
patch is turned or mirrored, up to rounding.
"""

from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from wsss_mm.patches.appearance import DENSITY, unmixing
from wsss_mm.patches.images import GLASS_GREY

Plane = npt.NDArray[Any]

VERSION = 1
"""Goes up when the same image gives other numbers."""

_STAINS = ("haematoxylin", "eosin", "rest")
_LAB = ("lightness", "green_red", "blue_yellow")
_SHARES = (10, 50, 90)  # percentiles of a stain's density
_SCALES = (1, 4)  # px, sides of the pixels that texture is looked at in
_DENSE = 0.3  # optical density of haematoxylin above which a pixel is taken for one of a nucleus
_DENSITIES, _BINS = (-0.5, 2.5), 300  # of the histogram of a stain
_CONSTANT = 1e-4  # deviation, of a mean of 1, below which a plane has no skew
_UNMIXING = unmixing().T.astype(np.float32)
_CLEARLY = 2.0  # grey values by which a neighbour is brighter
_PATTERNS = 5  # rotation-invariant local binary patterns of four neighbours, by how many are brighter


def names() -> list[str]:
    """What each column of `simple_features` is."""
    return [
        *(f"{part}_{name}" for name in (*_STAINS, *_LAB) for part in ("mean", "deviation", "skew")),
        *(f"{name}_{share}" for name in _STAINS[:2] for share in _SHARES),
        *("glass", "nuclei", "saturation", "saturation_deviation"),
        *(
            f"{name}_{scale}"
            for scale in _SCALES
            for name in (
                *("gradient", "gradient_deviation", "laplacian", "local_deviation", "local_deviation_deviation"),
                *(f"pattern_{count}" for count in range(_PATTERNS)),
                "nuclei_gradient",
                "alignment",
            )
        ),
    ]


def simple_features(images: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
    """Statistics of colour, stain and texture.

    Args:
        images: (N, H, W, 3) uint8 RGB, of one resolution, or the numbers cannot be compared.

    Returns:
        (N, D) float32, all finite, columns as in `names`: of haematoxylin, eosin and the rest (optical density) and of
        L, a, b (0..255) mean, deviation and skew; percentiles of the stains; shares of glass and nuclei; saturation;
        and at two scales gradients, local deviations, local binary patterns, and how far gradients are aligned, as in
        fibres.
    """
    found = np.empty((len(images), len(names())), np.float32)
    for row, image in zip(found, images, strict=True):
        row[:] = _of_one(np.ascontiguousarray(image))
    return np.nan_to_num(found, copy=False, posinf=0.0, neginf=0.0)


def _of_one(image: npt.NDArray[np.uint8]) -> list[float]:
    stains = cv2.split(cv2.transform(cv2.LUT(image, DENSITY), _UNMIXING))
    lab = cv2.split(cv2.cvtColor(image, cv2.COLOR_RGB2LAB))
    grey = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
    red, green, blue = cv2.split(image)
    saturation = cv2.subtract(cv2.max(cv2.max(red, green), blue), cv2.min(cv2.min(red, green), blue))
    return [
        *(number for plane in stains for number in _moments(plane)),
        *(number for plane in lab for number in _moments(plane.astype(np.float32))),
        *(number for plane in stains[:2] for number in _percentiles(plane)),
        np.count_nonzero(grey > GLASS_GREY) / grey.size,
        np.count_nonzero(stains[0] > _DENSE) / grey.size,
        *_mean_and_deviation(saturation),
        *(number for scale in _SCALES for number in _texture(grey, stains[0], scale)),
    ]


def _mean_and_deviation(plane: Plane) -> tuple[float, float]:
    mean, deviation = cv2.meanStdDev(plane)
    return float(mean[0, 0]), float(deviation[0, 0])


def _moments(plane: Plane) -> tuple[float, float, float]:
    """Mean, deviation and skew; the skew as a logarithm, or a few dark pixels on glass would have one of hundreds."""
    mean, deviation = _mean_and_deviation(plane)
    if deviation < _CONSTANT * max(1.0, abs(mean)):
        return mean, deviation, 0.0
    off = plane - np.float32(mean)
    third = cv2.mean(off * off * off)[0] / deviation**3
    return mean, deviation, float(np.sign(third) * np.log1p(abs(third)))


def _percentiles(plane: Plane) -> list[float]:
    """Percentiles of a stain's density, of a histogram."""
    low, high = _DENSITIES
    counts = cv2.calcHist([np.clip(plane, low, high - 1e-4)], [0], None, [_BINS], [low, high]).ravel()
    below = np.concatenate([[0], np.cumsum(counts) / counts.sum()])
    return np.interp(np.array(_SHARES) / 100, below, np.linspace(low, high, _BINS + 1)).tolist()


def _texture(grey: Plane, haematoxylin: Plane, scale: int) -> list[float]:
    """Gradients, local deviations and patterns at one scale."""
    if scale > 1:
        size = tuple(max(4, side // scale) for side in grey.shape[::-1])
        grey = cv2.resize(grey, size, interpolation=cv2.INTER_AREA)
        haematoxylin = cv2.resize(haematoxylin, size, interpolation=cv2.INTER_AREA)
    plane = grey.astype(np.float32)
    across, down = (cv2.Sobel(plane, cv2.CV_32F, *order, scale=0.25) for order in ((1, 0), (0, 1)))
    gradient = cv2.magnitude(across, down)
    mean, square = cv2.blur(plane, (5, 5)), cv2.blur(plane * plane, (5, 5))
    local = np.sqrt(np.maximum(square - mean * mean, 0))
    roughness = _mean_and_deviation(cv2.Laplacian(plane, cv2.CV_32F))[1]
    nuclei = cv2.magnitude(*(cv2.Sobel(haematoxylin, cv2.CV_32F, *order, scale=0.25) for order in ((1, 0), (0, 1))))
    return [
        *_mean_and_deviation(gradient),
        float(np.log1p(roughness**2)),
        *_mean_and_deviation(local),
        *_patterns(plane),
        float(cv2.mean(nuclei)[0]),
        _alignment(across, down),
    ]


def _patterns(plane: Plane) -> list[float]:
    """Share of the pixels of which 0, 1, 2, 3 or 4 of the four neighbours in a row or column are clearly brighter."""
    middle = plane[1:-1, 1:-1] + np.float32(_CLEARLY)
    neighbours = (plane[:-2, 1:-1], plane[2:, 1:-1], plane[1:-1, :-2], plane[1:-1, 2:])
    brighter = np.zeros(middle.shape, np.uint8)
    for other in neighbours:
        brighter += other > middle
    return (np.bincount(brighter.ravel(), minlength=_PATTERNS) / brighter.size).tolist()


def _alignment(across: Plane, down: Plane) -> float:
    """How far gradients point one way, 0..1: coherence of the structure tensor, in fields of 16 px, averaged."""
    size = (max(1, across.shape[1] // 16), max(1, across.shape[0] // 16))
    xx, yy, xy = (cv2.resize(part, size, interpolation=cv2.INTER_AREA) for part in (across**2, down**2, across * down))
    whole = xx + yy
    return float(np.mean(np.sqrt((xx - yy) ** 2 + 4 * xy**2) / np.maximum(whole, 1e-3)))
