"""Connected components of a map that is read in bands: its pixels as horizontal runs, a number for each run."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from wsss_mm.slides.pyramid import RowMap

_BAND_PIXELS = 1 << 22


@dataclass(frozen=True)
class Runs:
    """Maximal horizontal runs of set pixels, in raster order; `stop` is exclusive."""

    row: np.ndarray
    start: np.ndarray
    stop: np.ndarray
    width: int

    def key(self, column: np.ndarray, row: np.ndarray | None = None) -> np.ndarray:
        """Numbers in the order of places."""
        return (self.row if row is None else row) * (self.width + 1) + column

    def where(self, chosen: np.ndarray) -> "Runs":
        """Some of the runs."""
        return Runs(self.row[chosen], self.start[chosen], self.stop[chosen], self.width)

    def followed_by(self, other: "Runs") -> "Runs":
        """These, then the others, all below them."""
        pairs = ((self.row, other.row), (self.start, other.start), (self.stop, other.stop))
        return Runs(*(np.concatenate(pair) for pair in pairs), self.width)


def bands(labels: RowMap) -> Iterator[tuple[int, np.ndarray]]:
    """First row and rows of each band."""
    rows = max(1, _BAND_PIXELS // labels.shape[1])
    for top in range(0, labels.shape[0], rows):
        yield top, labels[top : top + rows]


def runs_of(mask: np.ndarray, top: int) -> Runs:
    """Runs of a mask (rows, width) bool whose first row is row `top` of the map."""
    padded = np.pad(mask, ((0, 0), (1, 1)))
    ends = np.flatnonzero(padded[:, 1:] != padded[:, :-1])  # of each run its start and its stop, in raster order
    row, start = np.divmod(ends[0::2], mask.shape[1] + 1)
    return Runs(row + top, start, ends[1::2] % (mask.shape[1] + 1), mask.shape[1])


def find_components(
    labels: RowMap,
    inside: Callable[[np.ndarray], np.ndarray],
    *,
    diagonal: bool = False,
    weigh: Callable[[Runs, int, np.ndarray], np.ndarray] | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """Number the components of part of a map; memory holds four bytes a run.

    Args:
        labels: the map.
        inside: which pixels of a band are meant, bool.
        diagonal: whether pixels that touch by a corner belong together (8-connected).
        weigh: what each run of a band counts, given the runs and the band's first row and rows; its length if None.

    Returns:
        Component of each run, int32, runs in raster order, and for each component the sum of its runs' weights.
    """
    of_bands, weights, seams, count = [], [], [], 0
    above = None
    for top, band in bands(labels):
        runs = runs_of(inside(band), top)
        parts = connected_components(_touching(runs, runs, diagonal), directed=False)[1].astype(np.int32) + count
        number = int(parts.max(initial=count - 1)) + 1 - count
        of_runs = runs.stop - runs.start if weigh is None else weigh(runs, top, band)
        weights.append(np.bincount(parts - count, weights=of_runs, minlength=number))
        if above is not None:
            edges = _touching(above[0], runs, diagonal)
            seams.append((above[1][edges.row], parts[edges.col]))
        last = runs.row == top + len(band) - 1
        above = runs.where(last), parts[last]
        of_bands.append(parts)
        count += number
    upper, lower = (np.concatenate(side) for side in zip(*seams, strict=True)) if seams else (np.zeros(0, int),) * 2
    graph = coo_array((np.ones(len(upper), np.int8), (upper, lower)), shape=(count, count))
    component_of_part = connected_components(graph, directed=False)[1].astype(np.int32)
    totals = np.bincount(component_of_part, weights=np.concatenate(weights)).astype(np.int64)
    return np.concatenate([component_of_part[parts] for parts in of_bands]), totals


def _touching(upper: Runs, lower: Runs, diagonal: bool) -> coo_array:
    """Which runs lie in adjacent rows, one of `upper` above one of `lower`, and share a column, or a corner."""
    below = upper.row + 1
    sides = ("left", "right") if diagonal else ("right", "left")
    first = np.searchsorted(lower.key(lower.stop), upper.key(upper.start, below), side=sides[0])
    last = np.searchsorted(lower.key(lower.start), upper.key(upper.stop, below), side=sides[1])
    counts = np.maximum(last - first, 0)
    rows = np.repeat(np.arange(len(counts)), counts)
    columns = np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts, counts) + np.repeat(first, counts)
    return coo_array((np.ones(len(rows), np.int8), (rows, columns)), shape=(len(counts), len(lower.row)))
