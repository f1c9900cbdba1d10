"""Where the tissue is, found on a small image of the slide: what is coloured and no pen."""

from dataclasses import dataclass, field
from typing import cast

import cv2
import numpy as np
from numpy.typing import ArrayLike, NDArray

from wsss_mm.slides.pen import extremes, find_pen
from wsss_mm.slides.reader import SlideReader

_MIN_CHROMA, _MAX_CHROMA = 8.0, 24.0  # Otsu's threshold is held between: a slide may be all glass or all tissue
_MIN_ISLAND = 2e3  # um2, smaller specks are dust
_MAX_HOLE = 2e3  # um2, smaller holes are filled
_CELL = 5.0  # um, sigma of the smoothing, about a nucleus
_MARGIN = 64.0  # um around tissue that are looked at, too
_MAX_SIDE = 8192  # px of the thumbnail
_INKED = 32.0  # what has more chroma than this beside pen may be tissue beneath it, and counts as this
_SQUARE = np.ones((3, 3), np.uint8)
_DARK = 225  # of the darkest channel: what is paler is glass, whatever lies on it


@dataclass(frozen=True)
class TissueMask:
    """A tissue mask of a whole slide: `mask` (H, W) bool, `scale` (x, y) level-0 px per mask px.

    `pen` (H, W) is what of the rest is ink, if that was asked.
    """

    mask: NDArray[np.bool_]
    scale: tuple[float, float]
    pen: NDArray[np.bool_] | None = field(default=None, compare=False)

    def share(self, rectangles: ArrayLike) -> NDArray[np.float64]:
        """Share of tissue, 0..1, of each rectangle (n, 4): x, y, width, height in level-0 px; outside is no tissue."""
        boxes = np.asarray(rectangles, np.float64).reshape(-1, 4)
        sums = cast("NDArray[np.float64]", cv2.integral(self.mask.astype(np.uint8), sdepth=cv2.CV_64F))
        left, right = (_clip(edge / self.scale[0], sums.shape[1]) for edge in (boxes[:, 0], boxes[:, 0] + boxes[:, 2]))
        top, bottom = (_clip(edge / self.scale[1], sums.shape[0]) for edge in (boxes[:, 1], boxes[:, 1] + boxes[:, 3]))
        area = _at(sums, bottom, right) - _at(sums, top, right) - _at(sums, bottom, left) + _at(sums, top, left)
        return np.clip(area * self.scale[0] * self.scale[1] / (boxes[:, 2] * boxes[:, 3]), 0, 1)


def tissue_mask(image: NDArray[np.uint8], mpp: float) -> NDArray[np.bool_]:
    """Tissue of an RGB image (H, W, 3) uint8 at `mpp` um/px: what is `coloured` and no pen, see `tissue_and_pen`.

    Examples:
        A pink square of 40 x 40 px on grey glass, at 8 um/px:

        >>> import numpy as np
        >>> image = np.full((100, 100, 3), 240, np.uint8)
        >>> image[30:70, 30:70] = (220, 150, 190)
        >>> mask = tissue_mask(image, mpp=8.0)
        >>> bool(mask[50, 50]), bool(mask[10, 10])
        (True, False)
    """
    return tissue_and_pen(image, mpp)[0]


def tissue_and_pen(
    image: NDArray[np.uint8], mpp: float, *, leave_out_pen: bool = True
) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Tissue and pen of an RGB image (H, W, 3) uint8 at `mpp` um/px, (H, W) each.

    Tissue is what is `coloured`, without dust, with small holes filled, and without ink. Where there is ink, the
    threshold of colour is found without it and errs towards tissue: next to a marker's colour that of pale tissue is
    none. Without `leave_out_pen` no ink is looked for: other stains than haematoxylin and eosin may look like it.
    """
    chroma = _chroma(image, mpp)
    stained = chroma > _threshold(chroma)
    if not leave_out_pen:
        return _whole(stained, mpp), np.zeros_like(stained)
    pen = find_pen(image, mpp, stained | (extremes(image)[1] <= _DARK))
    if not pen.any():
        return _whole(stained, mpp), pen
    stained = chroma > _threshold(np.minimum(chroma[~pen], _INKED))
    mask = _whole(stained & ~pen, mpp) & ~pen
    rim = cv2.dilate(pen.astype(np.uint8), _SQUARE, iterations=2) > 0  # of ink: what is thin there is its edge
    mask &= ~rim | (cv2.morphologyEx(mask.astype(np.uint8), cv2.MORPH_OPEN, _SQUARE) > 0)
    return _without_small(mask, _MIN_ISLAND / mpp**2), pen


def coloured(image: NDArray[np.uint8], mpp: float) -> NDArray[np.bool_]:
    """Where an RGB image (H, W, 3) uint8 at `mpp` um/px is coloured, as tissue is, and glass is grey.

    Chroma (largest minus smallest channel), smoothed over about a nucleus, above Otsu's threshold. Glass stays glass
    whatever the brightness of the scan, and black pen marks are no tissue either. Also for images that are too small to
    tell dust from tissue, or tissue from pen.
    """
    chroma = _chroma(image, mpp)
    return chroma > _threshold(chroma)


def find_tissue(slide: SlideReader, mpp: float = 8.0, *, leave_out_pen: bool = True) -> TissueMask:
    """Tissue of a whole slide, on an image of `mpp` um/px (coarser for very large slides), and the pen beside it.

    Without `leave_out_pen` all that is coloured is tissue.
    """
    return look_for_tissue(slide, mpp, leave_out_pen=leave_out_pen)[1]


def look_for_tissue(
    slide: SlideReader, mpp: float = 8.0, *, leave_out_pen: bool = True
) -> tuple[NDArray[np.uint8], TissueMask]:
    """The same, and the image it was found on, (H, W, 3) RGB."""
    side = min(_MAX_SIDE, max(1, round(max(slide.size) * slide.mpp / mpp)))
    image = slide.thumbnail(side)
    scale = max(slide.size) / side  # of both axes: the shorter side of the image is rounded
    mask, pen = tissue_and_pen(image, slide.mpp * scale, leave_out_pen=leave_out_pen)
    return image, TissueMask(mask, (scale, scale), pen)


def find_work(
    slide: SlideReader, background_grey: int, mpp: float = 8.0, *, leave_out_pen: bool = True
) -> TissueMask | None:
    """Where a slide may hold tissue: coloured or darker than `background_grey` on a thumbnail, and some way around.

    Errs on the side of work: what it leaves out is glass with nothing but specks smaller than a thumbnail's pixel. Pen
    is dark or coloured, and in it unless somebody takes it out.

    Returns:
        The mask and the pen; None where the slide has no small level, so that a thumbnail would cost as much as the
        whole slide.
    """
    if slide.coarsest_mpp < mpp / 4:
        return None
    image, found = look_for_tissue(slide, mpp, leave_out_pen=leave_out_pen)
    found_mpp = slide.mpp * found.scale[0]
    radius = max(1, round(_MARGIN / found_mpp))
    disc = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * radius + 1,) * 2)
    work = found.mask | (cv2.cvtColor(image, cv2.COLOR_RGB2GRAY) <= background_grey)
    return TissueMask(cv2.dilate(work.astype(np.uint8), disc).astype(bool), found.scale, found.pen)


def _chroma(image: NDArray[np.uint8], mpp: float) -> NDArray[np.float32]:
    greatest, least = extremes(image)
    chroma = (greatest - least).astype(np.float32)
    return cast("NDArray[np.float32]", cv2.GaussianBlur(chroma, (0, 0), max(0.8, _CELL / mpp)))


def _threshold(chroma: NDArray[np.float32]) -> float:
    values = np.clip(chroma, 0, 255).astype(np.uint8)
    threshold, _ = cv2.threshold(values, 0, 255, cv2.THRESH_BINARY + cv2.THRESH_OTSU)
    return min(max(threshold, _MIN_CHROMA), _MAX_CHROMA)


def _whole(mask: NDArray[np.bool_], mpp: float) -> NDArray[np.bool_]:
    """A mask without dust and with small holes filled."""
    mask = _without_small(mask, _MIN_ISLAND / mpp**2)
    return ~_without_small(~mask, _MAX_HOLE / mpp**2)


def _without_small(mask: NDArray[np.bool_], area: float) -> NDArray[np.bool_]:
    _, labels, stats, _ = cv2.connectedComponentsWithStats(mask.astype(np.uint8), connectivity=8)
    keep = stats[:, cv2.CC_STAT_AREA] >= area
    keep[0] = False
    return keep[cast("NDArray[np.int32]", labels)]


def _clip(edges: NDArray[np.float64], length: int) -> NDArray[np.float64]:
    return np.clip(edges, 0, length - 1)


def _at(sums: NDArray[np.float64], y: NDArray[np.float64], x: NDArray[np.float64]) -> NDArray[np.float64]:
    """Integral image at fractional positions: bilinear, which is exact for a mask of square pixels."""
    row, column = np.minimum(y.astype(int), sums.shape[0] - 2), np.minimum(x.astype(int), sums.shape[1] - 2)
    down, right = y - row, x - column
    upper = sums[row, column] * (1 - right) + sums[row, column + 1] * right
    lower = sums[row + 1, column] * (1 - right) + sums[row + 1, column + 1] * right
    return upper * (1 - down) + lower * down
