"""Whether the lattice of windows shows in a map: class borders that prefer some of its lines.

Where windows are stitched badly, classes change along straight lines that come again with the windows' step. Borders of
tissue do not know that step: counted by where they lie in it, each of its lines has about as many.
"""

from collections.abc import Iterable
from pathlib import Path

import numpy as np

from wsss_mm.slides.labels import label_bands
from wsss_mm.vocabulary import IGNORE
from wsss_mm.wsi.lattice import window_stride

_LEAST_STEP = 8  # px; finer lattices have too few lines to compare
_LEAST_LINES = 4  # of the lattice where there are borders
_LEAST_BORDER = 50  # px of borders on a line and on those whole steps away; fewer are chance
_LEFT_OUT = 0.4  # of these lines, those with most borders: tissue may have straight edges, or a lattice of another step
_SPARSE = 0.25  # of the mean: steps with fewer borders than that are passed over


def seam_ratio(path: Path | str, window: int, overlap: float) -> float | None:
    """How much more of the class borders lies on a line of the window lattice than on others.

    Args:
        path: segmentation.tif; a row of its tiles is held at a time.
        window: of the segmentation, px (`parameters` in summary.json).
        overlap: likewise.

    Returns:
        See `strongest_line`; of columns and rows the larger.

    Raises:
        InputError: the file is no map.
    """
    across, down = border_counts(label_bands(path))
    step = window_stride(window, overlap)
    found = [ratio for counts in (across, down) if (ratio := strongest_line(counts, step)) is not None]
    return max(found, default=None)


def border_counts(bands: Iterable[tuple[int, np.ndarray]]) -> tuple[np.ndarray, np.ndarray]:
    """Where classes meet in a map, glass apart.

    Args:
        bands: consecutive bands (first row, rows) of the map.

    Returns:
        For each column the pixels whose class is not that of their left neighbour, and for each row of the upper one;
        background has no class.
    """
    across, down, above = np.zeros(0, np.int64), [], None
    for _, band in bands:
        change = np.zeros(band.shape[1], np.int64)
        change[1:] = _differ(band[:, :-1], band[:, 1:]).sum(axis=0)
        across = change if above is None else across + change
        before = band[:1] if above is None else above
        down.append(_differ(np.concatenate([before, band[:-1]]), band).sum(axis=1))
        above = band[-1:]
    return across, np.concatenate([np.zeros(0, np.int64), *down])


def strongest_line(counts: np.ndarray, step: int) -> float | None:
    """Borders on the strongest of the lines that lie whole steps apart, over those on the median line.

    Of these lines those with most borders, for what is around them, are left out: straight edges of tissue are few, and
    those of another lattice fall on other places of the step.

    Args:
        counts: borders on each line of one direction, see `border_counts`.
        step: of the windows, px.

    Returns:
        1 to 2 for tissue; None where there are too few borders, or too few lines, to tell.
    """
    inside = np.flatnonzero(counts)
    if not len(inside) or step < _LEAST_STEP:
        return None
    steps = int(inside[-1] - inside[0] + 1) // step
    start = (int(inside[0]) + int(inside[-1]) + 1 - steps * step) // 2
    by_place = counts[start : start + steps * step].reshape(steps, step)
    around = by_place.mean(axis=1, keepdims=True)
    busy = around[:, 0] >= max(_SPARSE * counts[inside[0] : inside[-1] + 1].mean(), 1 / step)
    by_place, around = by_place[busy], around[busy]
    if len(by_place) < _LEAST_LINES:
        return None
    kept = np.argsort(by_place / around, axis=0)[: len(by_place) - round(_LEFT_OUT * len(by_place))]
    found = np.take_along_axis(by_place, kept, axis=0).sum(axis=0)
    expected = np.broadcast_to(around, by_place.shape)
    expected = np.take_along_axis(expected, kept, axis=0).sum(axis=0)
    if found.max() < _LEAST_BORDER:
        return None
    likely = np.median(found / expected) * expected
    return float((found / np.maximum(likely, _LEAST_BORDER / 4)).max())


def _differ(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    return (one != other) & (one != IGNORE) & (other != IGNORE)
