"""What is wrong with parts of a slide: pen on the glass, folds of the tissue, and blur; each measured region by region.

Folds and blur are told by the slide's own tissue, since stain and scanner differ more between slides than a fold from
what lies beside it. A fold is dense in both stains at once, where a crowd of nuclei is in one. Blur takes fine detail
and leaves coarse: the share of fine in coarse detail, which depends on neither stain nor contrast, is held against that
of the slide's sharp tissue.
"""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import cast

import cv2
import numpy as np
from numpy.typing import NDArray

from wsss_mm.slides.pen import densities, strips, white_of
from wsss_mm.slides.reader import SlideReader
from wsss_mm.slides.tissue import TissueMask, look_for_tissue

CAUSES = ("pen", "folds", "blur")
"""In the order in which they count: what is under pen is no fold, and a fold is not asked for its focus."""

_INNER, _OUTER = (1.7, 3.0), (1.3, 2.0)  # times the median density, two layers have 2, and robust standard deviations
_EOSIN = 1.08  # green light that haematoxylin takes, as a share of red
_FOLD = 5e3  # um2, smaller is a group of cells
_CELL = 128.0  # um, side of the cells in which focus is measured
_FINE = 2.0  # um/px where it is
_COARSE = 4.0  # px; detail is fine up to one, and coarse up to this
_SHARP, _BLURRED = 75, 0.5  # percentile of a slide's cells that are sharp, and share of their detail that is blurred
_LEAST_DETAIL = 1.5  # grey levels of coarse detail, below which focus cannot be told
_FULL = 0.5  # share of tissue of a cell whose focus is measured
_MOST_PIXELS = 1 << 28  # of a slide's smallest level
_LEAST_CELLS = 8  # by which a slide's own sharpness can be told


@dataclass(frozen=True)
class Artefacts:
    """Where a slide has which: `masks` by cause (H, W) bool, none in two; `scale` level-0 px per mask px, `mpp` um/px.

    `tissue` (H, W) is what is no pen.
    """

    tissue: NDArray[np.bool_]
    masks: Mapping[str, NDArray[np.bool_]]
    scale: float
    mpp: float

    def areas(self, inside: NDArray[np.bool_] | None = None) -> dict[str, float]:
        """mm2 by cause, of all of the slide or of a part (H, W) of it."""
        square_mm = self.mpp**2 / 1e6
        parts = {cause: mask if inside is None else mask & inside for cause, mask in self.masks.items()}
        return {cause: float(part.sum()) * square_mm for cause, part in parts.items()}


def is_affordable(slide: SlideReader) -> bool:
    """Whether a slide has a level so small that all of it may be read for this alone."""
    return math.prod(slide.size) / max(slide.steps) ** 2 <= _MOST_PIXELS


def find_artefacts(slide: SlideReader, *, mpp: float = 8.0) -> Artefacts:
    """Look for pen, folds and blur on a whole slide.

    Args:
        slide: what to look at; all of it is read at 2 um/px, where it has tissue.
        mpp: um/px of the masks.
    """
    image, found = look_for_tissue(slide, mpp)
    scale = found.scale[0]
    folds = find_folds(image, slide.mpp * scale, found.mask)
    blur = find_blur(slide, found) & ~folds
    pen = found.pen if found.pen is not None else np.zeros_like(found.mask)
    return Artefacts(found.mask, {"pen": pen, "folds": folds, "blur": blur}, scale, slide.mpp * scale)


def find_folds(image: NDArray[np.uint8], mpp: float, tissue: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Where an RGB image (H, W, 3) uint8 at `mpp` um/px has more than one layer of tissue, (H, W)."""
    if not tissue.any():
        return np.zeros_like(tissue)
    white, blur = white_of(image), max(0.8, 8.0 / mpp)
    stains = np.empty((3, *tissue.shape), np.float16)  # both together, haematoxylin, and eosin
    for rows, around, place in strips(len(image), 4 * math.ceil(blur)):
        density = cv2.GaussianBlur(densities(image[around], white), (0, 0), blur)[place]
        stains[0, rows], stains[1, rows] = density.sum(axis=2), density[..., 0]
        stains[2, rows] = density[..., 1] - _EOSIN * density[..., 0]
    dense = [_dense(stains, tissue, *limits) for limits in (_INNER, _OUTER)]
    inner = cv2.morphologyEx(dense[0].astype(np.uint8), cv2.MORPH_OPEN, np.ones((3, 3), np.uint8)) > 0
    count, labels, stats, _ = cv2.connectedComponentsWithStats(dense[1].astype(np.uint8), connectivity=8)
    kept = (stats[:, cv2.CC_STAT_AREA] >= _FOLD / mpp**2) & (np.bincount(labels[inner], minlength=count) > 0)
    kept[0] = False
    return kept[cast("NDArray[np.int32]", labels)]


def _dense(stains: NDArray[np.float16], tissue: NDArray[np.bool_], times: float, spreads: float) -> NDArray[np.bool_]:
    """Where both together and each of them are `times` as dense as in most tissue, and together by `spreads` more."""
    medians = [max(float(np.median(stain[tissue])), 0.01) for stain in stains]
    spread = 1.4826 * float(np.median(np.abs(stains[0][tissue] - np.float16(medians[0]))))
    found = tissue & (stains[0] > medians[0] + spreads * spread)
    for stain, median in zip(stains, medians, strict=True):
        found &= stain > times * median
    return found


def find_blur(slide: SlideReader, tissue: TissueMask) -> NDArray[np.bool_]:
    """Which tissue is out of focus, in cells of 128 um, (H, W) of the tissue's mask; none on a slide of few cells."""
    side = max(1, round(_CELL / (slide.mpp * tissue.scale[0])))  # px of the mask
    height, width = tissue.mask.shape
    rows, columns = -(-height // side), -(-width // side)
    padded = np.zeros((rows * side, columns * side), np.float32)
    padded[:height, :width] = tissue.mask
    full = padded.reshape(rows, side, columns, side).mean(axis=(1, 3)) >= _FULL
    detail = np.full((rows, columns), np.nan)
    for row, column, image in _cells(slide, full, side * tissue.scale[0]):
        detail[row, column] = fine_detail(image)
    known = np.isfinite(detail)
    if known.sum() < _LEAST_CELLS:
        return np.zeros_like(tissue.mask)
    blurred = known & (np.nan_to_num(detail) < _BLURRED * np.percentile(detail[known], _SHARP))
    return blurred.repeat(side, axis=0).repeat(side, axis=1)[:height, :width] & tissue.mask


def fine_detail(image: NDArray[np.uint8]) -> float:
    """Fine as a share of coarse detail of an RGB image; NaN where it has hardly any."""
    grey = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY).astype(np.float32)
    fine = grey - cv2.GaussianBlur(grey, (0, 0), 1.0)
    coarse = float((grey - cv2.GaussianBlur(grey, (0, 0), _COARSE)).std())
    return float(fine.std()) / coarse if coarse >= _LEAST_DETAIL else float("nan")


def _cells(slide: SlideReader, wanted: NDArray[np.bool_], side: float) -> Iterator[tuple[int, int, NDArray[np.uint8]]]:
    """Row, column and pixels of each wanted cell of `side` level-0 px, a row of cells read at once."""
    pixels = max(16, round(side * slide.mpp / _FINE))
    mpp = side * slide.mpp / pixels
    for row in np.flatnonzero(wanted.any(axis=1)).tolist():
        columns = np.flatnonzero(wanted[row]).tolist()
        first, last = columns[0], columns[-1] + 1
        size = (last - first) * pixels, pixels
        image = slide.read(first * side, row * side, size, mpp)
        for column in columns:
            left = (column - first) * pixels
            yield row, column, image[:, left : left + pixels]
