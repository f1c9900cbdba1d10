"""Exact outlines of the regions of a label map: polygons along pixel edges, whose areas are the map's.

A region is a 4-connected component. Its boundary turns at lattice points where one, three or two diagonal of the four
pixels around belong to it; between turns it runs straight, so consecutive turns of a lattice row, and of a lattice
column, are joined in pairs. All of that is arithmetic on sorted arrays; memory grows with the boundaries, not the map.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

_BAND = 1024

# Which of the pixels a (upper left), b (upper right), c (lower left), d (lower right) around a lattice point are set,
# as a + 2b + 4c + 8d, to the turns there. A turn: whether its vertical edge goes down, whether its horizontal edge is
# the one by which the boundary leaves (the region to its right hand), and a pixel of the region beside it. Diagonal
# pixels make two turns, the one whose horizontal edge goes left first.
_TURNS = {
    1: [(0, 1, "a")],
    2: [(0, 0, "b")],
    4: [(1, 0, "c")],
    8: [(1, 1, "d")],
    14: [(0, 0, "d")],
    13: [(0, 1, "d")],
    11: [(1, 1, "d")],
    7: [(1, 0, "a")],
    9: [(0, 1, "a"), (1, 1, "d")],
    6: [(1, 0, "c"), (0, 0, "b")],
}
_PIXEL = {"a": (-1, -1), "b": (-1, 0), "c": (0, -1), "d": (0, 0)}


@dataclass(frozen=True)
class Region:
    """A connected region: rings of lattice points (n, 2) as x, y in px, not closed, and the area in px."""

    exterior: np.ndarray
    area: int
    holes: list[np.ndarray] = field(default_factory=list)


def trace_regions(labels: np.ndarray, value: int, min_area: float = 0) -> Iterator[Region]:
    """Outline the regions of one class.

    Args:
        labels: label map (H, W), also a memory map.
        value: the class.
        min_area: px, smaller regions are left out.

    Yields:
        Regions, by their first pixel from top to bottom. Exteriors and holes are simple rings that at most touch in
        points, so each region is a valid polygon, and its area is exactly its number of pixels.
    """
    runs = _runs(labels, value)
    if not len(runs.row):
        return
    region_of_run = _connect(runs)
    areas = np.bincount(region_of_run, weights=runs.stop - runs.start).astype(np.int64)
    turns = _turns(labels, value)
    region_of_turn = region_of_run[_run_of_pixel(runs, turns.pixel_row, turns.pixel_column)]
    exteriors: dict[int, np.ndarray] = {}
    holes: dict[int, list[np.ndarray]] = {}
    for indices in _rings(turns, keep=areas[region_of_turn] >= min_area):
        region = int(region_of_turn[indices[0]])
        for ring, is_exterior in _simple_rings(turns, indices):
            if is_exterior:
                exteriors[region] = ring
            else:
                holes.setdefault(region, []).append(ring)
    for region in np.flatnonzero(areas >= min_area).tolist():
        yield Region(exteriors.pop(region), int(areas[region]), holes.pop(region, []))


@dataclass(frozen=True)
class _Runs:
    """Maximal horizontal runs of set pixels, in raster order; `stop` is exclusive."""

    row: np.ndarray
    start: np.ndarray
    stop: np.ndarray
    width: int

    def key(self, column: np.ndarray, row: np.ndarray | None = None) -> np.ndarray:
        return (self.row if row is None else row) * (self.width + 1) + column


@dataclass(frozen=True)
class _Turns:
    """Turns of the boundary, by row, then column: place, next turn along the ring, and a pixel of the region."""

    points: np.ndarray
    following: np.ndarray
    leaves_sideways: np.ndarray
    diagonal: np.ndarray
    pixel_row: np.ndarray
    pixel_column: np.ndarray


def _runs(labels: np.ndarray, value: int) -> _Runs:
    parts = []
    for top in range(0, labels.shape[0], _BAND):
        mask = np.pad(labels[top : top + _BAND] == value, ((0, 0), (1, 1))).astype(np.int8)
        change = np.diff(mask, axis=1)
        row, start = np.nonzero(change == 1)
        parts.append((row + top, start, np.nonzero(change == -1)[1]))
    return _Runs(*(np.concatenate(column) for column in zip(*parts, strict=True)), labels.shape[1])


def _connect(runs: _Runs) -> np.ndarray:
    """Number of the region each run belongs to; runs of adjacent rows that share a column are connected."""
    below = runs.row + 1
    first = np.searchsorted(runs.key(runs.stop), runs.key(runs.start, below), side="right")
    last = np.searchsorted(runs.key(runs.start), runs.key(runs.stop, below), side="left")
    counts = np.maximum(last - first, 0)
    upper = np.repeat(np.arange(len(counts)), counts)
    lower = np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts, counts) + np.repeat(first, counts)
    edges = coo_array((np.ones(len(upper), np.int8), (upper, lower)), shape=(len(counts),) * 2)
    return connected_components(edges, directed=False)[1]


def _run_of_pixel(runs: _Runs, row: np.ndarray, column: np.ndarray) -> np.ndarray:
    return np.searchsorted(runs.key(runs.start), runs.key(column, row), side="right") - 1


def _turns(labels: np.ndarray, value: int) -> _Turns:
    found = [_turns_of_band(labels, value, top) for top in range(0, labels.shape[0] + 1, _BAND)]
    y, x, down, leaves_sideways, diagonal, row, column = (np.concatenate(part) for part in zip(*found, strict=True))
    count = len(y)
    # Turns come by row and column: each row's 1st and 2nd, 3rd and 4th, ... are the ends of a horizontal edge.
    sideways = np.arange(count) ^ 1
    order = np.lexsort((down, y, x))
    vertical = np.empty(count, np.int64)
    vertical[order[0::2]], vertical[order[1::2]] = order[1::2], order[0::2]
    following = np.where(leaves_sideways, sideways, vertical)
    return _Turns(np.stack([x, y], axis=1), following, leaves_sideways, diagonal, row, column)


def _turns_of_band(labels: np.ndarray, value: int, top: int) -> tuple[np.ndarray, ...]:
    """Turns at the lattice rows top..top + _BAND - 1, sorted by row, column and direction."""
    height = labels.shape[0]
    bottom = min(top + _BAND, height + 1)
    mask = labels[max(top - 1, 0) : min(bottom, height)] == value
    padded = np.pad(mask, ((top == 0, bottom == height + 1), (1, 1))).astype(np.uint8)
    above, below = padded[:-1], padded[1:]
    code = above[:, :-1] + 2 * above[:, 1:] + 4 * below[:, :-1] + 8 * below[:, 1:]
    turns = np.zeros(16, np.int64)
    turns[list(_TURNS)] = [len(kinds) for kinds in _TURNS.values()]
    row, x = np.nonzero(turns[code])
    kind = code[row, x]
    repeats = turns[kind]
    second = np.arange(repeats.sum()) - np.repeat(np.cumsum(repeats) - repeats, repeats)
    y, x, kind = (np.repeat(values, repeats) for values in (row + top, x, kind))
    table = np.zeros((16, 2, 4), np.int64)
    for number, kinds in _TURNS.items():
        for place, (down, leaves_sideways, pixel) in enumerate(kinds):
            table[number, place] = down, leaves_sideways, *_PIXEL[pixel]
    down, leaves_sideways, up, left = table[kind, second].T
    return y, x, down, leaves_sideways.astype(bool), repeats.repeat(repeats) == 2, y + up, x + left


def _rings(turns: _Turns, keep: np.ndarray) -> Iterator[list[int]]:
    """Follow the turns around each boundary."""
    following, waiting = turns.following.tolist(), bytearray(keep.astype(np.uint8))
    for start in np.flatnonzero(keep).tolist():
        if not waiting[start]:
            continue
        ring, turn = [], start
        while waiting[turn]:
            waiting[turn] = 0
            ring.append(turn)
            turn = following[turn]
        yield ring


def _simple_rings(turns: _Turns, indices: list[int]) -> list[tuple[np.ndarray, bool]]:
    """Split a ring where it meets itself, only where pixels of the region touch by their corners.

    Returns:
        Rings of points and whether each is an exterior.
    """
    points = turns.points[indices]
    if np.count_nonzero(turns.diagonal[indices]) < 2:
        # The first turn is the uppermost, there the leftmost. An exterior leaves it along its upper edge.
        return [(points, bool(turns.leaves_sideways[indices[0]]))]
    rings, path, place = [], [], {}
    for point in map(tuple, points.tolist()):
        if point in place:
            loop = path[place[point] :]
            for passed in loop:
                del place[passed]
            del path[len(path) - len(loop) :]
            rings.append(np.array(loop))
        place[point] = len(path)
        path.append(point)
    return [(ring, _is_clockwise(ring)) for ring in (*rings, np.array(path))]


def _is_clockwise(ring: np.ndarray) -> bool:
    """Whether the ring goes clockwise as seen on the screen (y down), as exteriors do."""
    x, y = ring.astype(np.float64).T
    return bool(np.dot(x, np.roll(y, -1)) > np.dot(y, np.roll(x, -1)))
