"""The grid of patches over a slide: what is cut, and what can be labelled, lies on it."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from wsss_mm.cohort import Slide
from wsss_mm.slides import SlideReader
from wsss_mm.slides.roi import read_region
from wsss_mm.slides.tiling import grid
from wsss_mm.slides.tissue import find_tissue

if TYPE_CHECKING:
    from wsss_mm.settings import PatchSettings

_MIN_REGION_SHARE = 0.5
"""A patch belongs to a region of interest if at least this share of it lies inside."""


def grid_of(slide: Slide, reader: SlideReader, settings: "PatchSettings") -> Iterator[tuple[tuple[int, int], float]]:
    """Corners (level-0 px) of the grid's patches with enough tissue, row by row, and the share of tissue in each.

    Args:
        slide: a slide of the cohort; where it has a region of interest, the grid begins at the region's corner.
        reader: the same slide, opened.
        settings: resolution and size of patches, and the least tissue.

    Raises:
        InputError: the region of interest is wrong.
    """
    origin, size = reader.bounds[:2], reader.bounds[2:]
    region = read_region(slide.roi, origin, size) if slide.roi else None
    left, top, width, height = reader.bounds if region is None else _inside(region.bounds, reader.bounds)
    corners = grid(width, height, side_of(reader, settings)) + np.array([int(left), int(top)])
    boxes = boxes_of(corners, reader, settings)
    tissue = find_tissue(reader, leave_out_pen=settings.leave_out_pen).share(boxes)
    kept = (tissue >= settings.min_tissue) & (tissue > 0)
    if region is not None:
        kept &= region.share(boxes) >= _MIN_REGION_SHARE
    places = [(int(x), int(y)) for x, y in corners[kept]]
    yield from zip(places, tissue[kept].tolist(), strict=True)


def boxes_of(corners: npt.NDArray[np.int64], reader: SlideReader, settings: "PatchSettings") -> npt.NDArray[np.float64]:
    """Rectangles (n, 4) of patches: x, y, width and height in level-0 px, of their corners (n, 2)."""
    return np.hstack([corners.astype(np.float64), np.full((len(corners), 2), side_of(reader, settings))])


def side_of(reader: SlideReader, settings: "PatchSettings") -> float:
    """Width and height of a patch, level-0 px."""
    return settings.size * settings.mpp / reader.mpp


def _inside(box: tuple[float, ...], bounds: tuple[int, int, int, int]) -> tuple[float, float, float, float]:
    left, top = max(box[0], bounds[0]), max(box[1], bounds[1])
    right = min(box[0] + box[2], bounds[0] + bounds[2])
    bottom = min(box[1] + box[3], bounds[1] + bounds[3])
    return left, top, max(0.0, right - left), max(0.0, bottom - top)
