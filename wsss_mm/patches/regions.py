"""Cutting an evaluation region of any size into tiles so that each of its pixels is evaluated exactly once."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from wsss_mm.slides.tiling import cover
from wsss_mm.vocabulary import IGNORE

TILE = 224
"""Size of evaluation tiles, px."""


@dataclass(frozen=True)
class RegionTile:
    """A tile of a region.

    `mask` holds the truth of pixels that no earlier tile covers and `IGNORE` elsewhere; `seen` holds all the truth in
    the tile, which is what decides its label set. Both (size, size) uint8; `image` (size, size, 3) uint8.
    """

    x: int
    y: int
    image: npt.NDArray[np.uint8]
    mask: npt.NDArray[np.uint8]
    seen: npt.NDArray[np.uint8]


def tile_starts(length: int, size: int) -> list[tuple[int, int]]:
    """Tiles of `size` px along an axis of `length` px: the last is shifted inside, a short axis gets one tile.

    Returns:
        (start, first pixel no earlier tile covers), both px from the axis' origin.
    """
    return [(start, index * size) for index, start in enumerate(cover(length, size, size).tolist())]


def cut_region(image: npt.NDArray[np.uint8], mask: npt.NDArray[np.uint8], size: int = TILE) -> Iterator[RegionTile]:
    """Cut a region into tiles of `size` px, row by row.

    A region smaller than a tile is continued by reflection at its right and bottom, ignored in the mask.

    Args:
        image: (H, W, 3) uint8.
        mask: (H, W) uint8, values 0..C-1 and `IGNORE`.
        size: px.
    """
    height, width = mask.shape
    pad = ((0, max(0, size - height)), (0, max(0, size - width)))
    image = np.pad(image, (*pad, (0, 0)), mode="reflect")
    mask = np.pad(mask, pad, constant_values=IGNORE)
    for top, first_row in tile_starts(height, size):
        for left, first_column in tile_starts(width, size):
            seen = mask[top : top + size, left : left + size]
            fresh = np.full_like(seen, IGNORE)
            rows, columns = slice(first_row - top, None), slice(first_column - left, None)
            fresh[rows, columns] = seen[rows, columns]
            yield RegionTile(left, top, image[top : top + size, left : left + size], fresh, seen)


def fitted(pixels: npt.NDArray[np.uint8], size: int) -> npt.NDArray[np.uint8]:
    """The middle of an image or mask, `size` px wide and high; what is smaller is continued by reflection, or ignored.

    Args:
        pixels: (H, W, 3) of an image or (H, W) of a mask, uint8.
        size: px.
    """
    top, left = (max(0, side - size) // 2 for side in pixels.shape[:2])
    pixels = pixels[top : top + size, left : left + size]
    pad = [(0, size - side) for side in pixels.shape[:2]]
    if pixels.ndim == 2:
        return np.pad(pixels, pad, constant_values=IGNORE)
    return np.pad(pixels, [*pad, (0, 0)], mode="reflect")
