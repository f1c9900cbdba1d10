"""Pen on the glass, told from tissue on a small image of a slide.

What haematoxylin and eosin leave of light has, in optical density (Beer-Lambert), a direction between the two stains;
green, blue, yellow, orange and black ink lie outside of that wedge, red ink next to erythrocytes, purple ink right in
it. So texture is asked too: ink is one dye in a smooth layer. From cell to cell tissue changes in density, and in
direction, as the two stains mix; ink changes slowly, and its direction not at all. Both are measured as shares of the
density, so a pale stain is judged as a dark one is. Where texture shows through ink, the tissue beneath can be seen.

A colour that no stain makes must be as smooth as no tissue in focus is; one that stains can make must be much smoother,
of one direction over all of the region, and no pure eosin: colloid, keratin and muscle may be smooth.

Tissue may be textureless or out of focus throughout: where ink in a colour that stains can make would leave less than a
hundredth of what is stained, it is the tissue.
"""

from collections.abc import Iterator
from typing import NamedTuple, cast

import cv2
import numpy as np
from numpy.typing import NDArray

_MPP, _COARSEST = 8.0, 12.0  # um/px where texture is measured; on coarser images no colour of stains is told from ink
_FIELD, _GRAIN = 7, 1.0  # px: side of the field where it is measured, sigma that parts texture from slow change
_STRIP = 512  # rows measured at once
_LEAST = 0.045  # optical density, smaller is glass
_RED, _BLUE = 1.15, 1.0  # most of the densities of red and of blue light, as shares of green: the wedge with a margin
_GREY = 0.85  # of both: grey, as no mixture of the stains is
_SMOOTH, _PURE = 0.045, 0.014  # of such a colour: most texture along and across its direction, shares of the density
_FAR, _FAR_SMOOTH, _FAR_PURE = 1.8, 0.12, 0.05  # share of red or blue light that tissue in ink has not; texture there
_INNER_LEAST = 0.12  # optical density of ink in a colour of stains
_EOSIN = 0.32, 0.72  # shares of red and blue light below which a colour may be eosin alone
_INNER_SMOOTH, _INNER_PURE, _ONE = 0.030, 0.010, 0.035  # the same of a colour of stains; and its spread in a region
_LEFT = 0.01  # share of what is stained that ink of such a colour leaves
_INKS, _FOUND_SMOOTH, _FOUND_PURE, _FOUND_ALIKE = 8, 0.06, 0.014, 0.998  # of what has a colour that was found before
_CORE, _AREA, _INNER_AREA = 24.0, 1e4, 3e4  # um: half the least width of a stroke; um2: of a region
_EDGE, _FAINT, _ALIKE = 64.0, 0.07, (0.997, 0.985)  # um: what fades around ink; density, and cosine above and below it
_ROUGH = 0.20, 0.03  # texture along and across, shares of the density, which an edge that fades has not both


class _Measured(NamedTuple):
    """Of each pixel's field, (H, W): `density`, its share of red and blue light, texture `along` and `across`.

    `direction` (H, W, 3) is the density's, of length 1; `near` (H, W, 3) is the density of the pixel and its
    neighbours alone.
    """

    direction: NDArray[np.float32]
    near: NDArray[np.float32]
    density: NDArray[np.float32]
    red: NDArray[np.float32]
    blue: NDArray[np.float32]
    along: NDArray[np.float32]
    across: NDArray[np.float32]


def find_pen(image: NDArray[np.uint8], mpp: float, stained: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Ink on an RGB image (H, W, 3) uint8 at `mpp` um/px, on glass or hiding what is beneath it.

    Args:
        image: of the slide.
        mpp: um/px.
        stained: (H, W), what is coloured or dark: ink is looked for there alone, and must leave enough of it.

    Returns:
        (H, W); none on images smaller than a stroke.
    """
    height, width = image.shape[:2]
    found = np.zeros((height, width), bool)
    shrink = _MPP / mpp if mpp < 0.75 * _MPP else 1.0
    size = round(width / shrink), round(height / shrink)
    if min(size) < 2 * _CORE / _MPP or not stained.any():
        return found
    if shrink > 1:
        image = cast("NDArray[np.uint8]", cv2.resize(image, size, interpolation=cv2.INTER_AREA))
    scale, white = mpp * shrink, white_of(image)
    there = cv2.resize(stained.astype(np.uint8), size, interpolation=cv2.INTER_NEAREST) > 0 if shrink > 1 else stained
    ink = _ink(image, white, there, scale)
    if shrink > 1:
        ink = cv2.resize(ink.astype(np.uint8), (width, height), interpolation=cv2.INTER_NEAREST) > 0
    return ink & stained


def _ink(
    image: NDArray[np.uint8], white: NDArray[np.float32], stained: NDArray[np.bool_], mpp: float
) -> NDArray[np.bool_]:
    """Ink of colours that no stain makes, and that of the others if it leaves enough of what is stained."""
    outer, inner = _strokes(image, white, mpp)
    ink = _grown(image, white, outer, mpp) if outer.any() else outer
    if inner.any():
        both = _grown(image, white, outer | inner, mpp)
        if _area(stained & ~both) >= _LEFT * _area(stained & ~ink):
            return both
    return ink


def _area(mask: NDArray[np.bool_]) -> int:
    """Pixels of a mask, without what is thinner than three: the edge of a stroke is no tissue."""
    return int(cv2.morphologyEx(mask.astype(np.uint8), cv2.MORPH_OPEN, np.ones((3, 3), np.uint8)).sum())


def _grown(
    image: NDArray[np.uint8], white: NDArray[np.float32], strokes: NDArray[np.bool_], mpp: float
) -> NDArray[np.bool_]:
    """Strokes with their edges, and with what else is of their colour."""
    ink = strokes | _elsewhere(image, white, strokes, mpp)
    for _ in range(2):  # the second time what lies between a stroke and tissue
        ink |= _edges(image, white, ink, mpp)
    return ink


def extremes(image: NDArray[np.uint8]) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """The greatest and the least value of each pixel, (H, W); several times as fast as NumPy over three channels."""
    red, green, blue = cv2.split(image)
    found = cv2.max(cv2.max(red, green), blue), cv2.min(cv2.min(red, green), blue)
    return cast("tuple[NDArray[np.uint8], NDArray[np.uint8]]", found)


def white_of(image: NDArray[np.uint8]) -> NDArray[np.float32]:
    """What light glass leaves, (3,) of 0..255: the median of what is bright and grey; 245 where nothing is."""
    grey, darkest = extremes(image)
    chroma = grey - darkest
    bright = (grey >= max(200, np.percentile(grey, 98) - 12)) & (chroma <= 10)
    if bright.mean() < 0.005:
        return np.full(3, 245, np.float32)
    return np.median(image[bright], axis=0).astype(np.float32)


def densities(image: NDArray[np.uint8], white: NDArray[np.float32]) -> NDArray[np.float32]:
    """Optical density of each pixel of an RGB image (H, W, 3) uint8, held against glass of that colour; (H, W, 3)."""
    table = np.log10((white + 1) / (np.arange(256, dtype=np.float32)[:, None] + 1)).astype(np.float32)
    return cast("NDArray[np.float32]", cv2.LUT(image, table.reshape(256, 1, 3)))


def strips(height: int, margin: int) -> Iterator[tuple[slice, slice, slice]]:
    """Rows of an image a few at a time: those rows, the same with some around, and where in the latter they are."""
    for top in range(0, height, _STRIP):
        stop, first = min(top + _STRIP, height), max(top - margin, 0)
        yield slice(top, stop), slice(first, min(stop + margin, height)), slice(top - first, stop - first)


def _measured(image: NDArray[np.uint8], white: NDArray[np.float32]) -> _Measured:
    density = densities(image, white)
    mean, away = _field(density), density - cv2.GaussianBlur(density, (0, 0), _GRAIN)
    length = np.maximum(np.sqrt((mean**2).sum(axis=2)), 1e-3)
    along = (away * mean).sum(axis=2) / length
    across = np.maximum((away**2).sum(axis=2) - along**2, 0)
    green = np.maximum(mean[..., 1], 0.01)
    return _Measured(
        direction=mean / length[..., None],
        near=cast("NDArray[np.float32]", cv2.blur(density, (3, 3))),
        density=length,
        red=mean[..., 0] / green,
        blue=mean[..., 2] / green,
        along=np.sqrt(np.maximum(_field(along**2), 0)) / length,
        across=np.sqrt(np.maximum(_field(across), 0)) / length,
    )


def _strokes(
    image: NDArray[np.uint8], white: NDArray[np.float32], mpp: float
) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """The inner part of strokes, without the edges: in a colour that no stain makes, and in one that stains make."""
    outer, inner = (np.zeros(image.shape[:2], bool) for _ in range(2))
    for rows, around, place in strips(len(image), _FIELD):
        seen = _measured(image[around], white)
        outside = (seen.red > _RED) | (seen.blue > _BLUE) | (np.minimum(seen.red, seen.blue) > _GREY)
        smooth = (seen.density > _LEAST) & (seen.along < _SMOOTH) & (seen.across < _PURE)
        far = np.maximum(seen.red, seen.blue) > _FAR
        smooth |= far & (seen.density > _LEAST) & (seen.along < _FAR_SMOOTH) & (seen.across < _FAR_PURE)
        outer[rows] = (outside & smooth)[place]
        eosin = (seen.red < _EOSIN[0]) & (seen.blue < _EOSIN[1])
        smooth = (seen.density > _INNER_LEAST) & (seen.along < _INNER_SMOOTH) & (seen.across < _INNER_PURE)
        inner[rows] = (~eosin & smooth)[place]
    inner = _wide(inner, mpp, _INNER_AREA) if mpp <= _COARSEST else np.zeros_like(inner)
    return _wide(outer, mpp, _AREA), _of_one(inner, image, white) if inner.any() else inner


def _of_one(regions: NDArray[np.bool_], image: NDArray[np.uint8], white: NDArray[np.float32]) -> NDArray[np.bool_]:
    """Those regions whose direction is one dye's."""
    labels, _, _, spread = _directions(regions, image, white)
    kept = spread < _ONE
    kept[0] = False
    return kept[labels]


def _directions(
    regions: NDArray[np.bool_], image: NDArray[np.uint8], white: NDArray[np.float32]
) -> tuple[NDArray[np.int32], NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Region of each pixel (H, W), 0 for none; and of each its pixels (n,), mean direction (n, 3) and spread (n,)."""
    count, labels = cv2.connectedComponents(regions.astype(np.uint8), connectivity=8)
    sums = np.zeros((7, count))  # of the pixels of each: how many, their direction, and its square
    for rows, around, place in strips(len(image), _FIELD):
        at, direction = labels[rows].ravel(), _measured(image[around], white).direction[place].reshape(-1, 3)
        sums[0] += np.bincount(at, minlength=count)
        for axis in range(3):
            sums[1 + axis] += np.bincount(at, direction[:, axis], count)
            sums[4 + axis] += np.bincount(at, direction[:, axis] ** 2, count)
    means = sums[1:] / np.maximum(sums[0], 1)
    spread = np.sqrt(np.maximum((means[3:] - means[:3] ** 2).sum(axis=0), 0))
    return cast("NDArray[np.int32]", labels), sums[0], means[:3].T, spread


def _elsewhere(
    image: NDArray[np.uint8], white: NDArray[np.float32], ink: NDArray[np.bool_], mpp: float
) -> NDArray[np.bool_]:
    """What has the colour of ink that was found, and is smooth, though not so much that it alone would be told."""
    _, pixels, means, _ = _directions(ink, image, white)
    largest = 1 + np.argsort(pixels[1:])[::-1][:_INKS]
    found = np.zeros_like(ink)
    for rows, around, place in strips(len(image), _FIELD):
        seen = _measured(image[around], white)
        smooth = (seen.density > _LEAST) & (seen.along < _FOUND_SMOOTH) & (seen.across < _FOUND_PURE)
        alike = (seen.direction @ means[largest].T.astype(np.float32)).max(axis=2) > _FOUND_ALIKE
        found[rows] = (smooth & alike)[place]
    return _wide(found | ink, mpp, _AREA)


def _edges(
    image: NDArray[np.uint8], white: NDArray[np.float32], ink: NDArray[np.bool_], mpp: float
) -> NDArray[np.bool_]:
    """What fades around ink in its own colour, or in one far from what stains make.

    Tissue beside ink may have its colour if stains make it; but there density and direction change.
    """
    reach = max(1, round(_EDGE / mpp))
    side = 2 * reach + 1
    found = np.zeros_like(ink)
    for rows, around, place in strips(len(image), reach + _FIELD):
        if not ink[around].any():
            continue
        seen = _measured(image[around], white)
        direction = cast("NDArray[np.float32]", cv2.blur(seen.direction * ink[around][..., None], (side, side)))
        near = cv2.blur(ink[around].astype(np.float32), (side, side)) > 0
        red, green, blue = seen.near[..., 0], np.maximum(seen.near[..., 1], 0.01), seen.near[..., 2]
        far = np.maximum(red, blue) > _FAR * green
        fades = (red > _RED * green) | (blue > _BLUE * green)
        fades |= (seen.along < _ROUGH[0]) | (seen.across < _ROUGH[1])
        alike = np.where((seen.near**2).sum(axis=2) > _FAINT**2, *_ALIKE)
        fades &= (_unit(direction) * _unit(seen.near)).sum(axis=2) > alike
        found[rows] = (near & (far | fades))[place]
    return found


def _unit(vectors: NDArray[np.float32]) -> NDArray[np.float32]:
    return vectors / np.maximum(np.sqrt((vectors**2).sum(axis=2, keepdims=True)), 1e-6)


def _wide(mask: NDArray[np.bool_], mpp: float, area: float) -> NDArray[np.bool_]:
    """What of a mask is as wide as a stroke, in regions of at least an area in um2."""
    radius = max(1, round(_CORE / mpp))
    disc = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * radius + 1,) * 2)
    opened = cv2.morphologyEx(mask.astype(np.uint8), cv2.MORPH_OPEN, disc)
    _, labels, stats, _ = cv2.connectedComponentsWithStats(opened, connectivity=8)
    kept = stats[:, cv2.CC_STAT_AREA] >= area / mpp**2
    kept[0] = False
    return kept[cast("NDArray[np.int32]", labels)]


def _field(values: NDArray[np.float32]) -> NDArray[np.float32]:
    return cast("NDArray[np.float32]", cv2.blur(values, (_FIELD, _FIELD)))
