"""Exact outlines of the regions of a label map: polygons along pixel edges, whose areas are the map's.

A region is a 4-connected component. Its boundary turns at lattice points where one, three or two diagonal of the four
pixels around belong to it; between turns it runs straight, so consecutive turns of a lattice row, and of a lattice
column, are joined in pairs. All of that is arithmetic on sorted arrays.

The map is passed over twice, in bands: first to find which runs of pixels form a region, then to find the turns, which
wait in a scratch file until whole regions are taken out of it, some at a time. Memory holds four bytes a run, and the
turns of the regions at hand, however many there are.
"""

import tempfile
from array import array
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import IO, BinaryIO, cast

import numpy as np

from wsss_mm.slides.pyramid import RowMap
from wsss_mm.wsi.runs import Runs, bands, find_components, runs_of

_TURNS_AT_ONCE = 1 << 19  # of the regions at hand, unless one alone has more

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
class TracedRegion:
    """A connected region: rings of lattice points (n, 2) as x, y in px, not closed, and the area in px."""

    exterior: np.ndarray
    area: int
    holes: list[np.ndarray] = field(default_factory=list)


def trace_regions(
    labels: RowMap, value: int, min_area: float = 0, scratch: Path | None = None
) -> Iterator[TracedRegion]:
    """Outline the regions of one class.

    Args:
        labels: label map (H, W).
        value: the class.
        min_area: px, smaller regions are left out.
        scratch: folder for temporary files, some 13 bytes a turn; the system's if None.

    Yields:
        Regions, by their first pixel from top to bottom. Exteriors and holes are simple rings that at most touch in
        points, so each region is a valid polygon, and its area is exactly its number of pixels.
    """
    region_of_run, areas = find_components(labels, lambda band: band == value)
    with ExitStack() as stack:
        waiting = stack.enter_context(tempfile.TemporaryFile(dir=scratch))
        counts = np.zeros(len(areas), np.int64)
        for records in _turns(labels, value, region_of_run):
            kept = records[areas[records["region"]] >= min_area]
            counts += np.bincount(kept["region"], minlength=len(areas))
            waiting.write(kept.tobytes())
        group_of_region = _groups(counts)
        del region_of_run
        files = [
            stack.enter_context(tempfile.TemporaryFile(dir=scratch))
            for _ in range(int(group_of_region[-1]) + 1 if len(areas) else 0)
        ]
        _sort_into(files, waiting, group_of_region)
        for file in files:
            for region, exterior, holes in _outline(_read(file)):
                yield TracedRegion(exterior, int(areas[region]), holes)


_FIELDS = [("region", np.int32), ("x", np.int32), ("y", np.int32), ("kind", np.uint8)]
_RECORD = cast("np.dtype[np.void]", np.dtype(_FIELDS))
"""A turn of a boundary; `kind` is the sum of the flags below."""
_DOWN, _SIDEWAYS, _DIAGONAL = 1, 2, 4


def _turns(labels: RowMap, value: int, region_of_run: np.ndarray) -> Iterator[np.ndarray]:
    """Turns by row, then column, as records."""
    height, width = labels.shape
    before = np.zeros((1, width), bool)  # the last row of the band above
    seen = 0
    runs, regions = runs_of(before, -1), np.zeros(0, np.int32)
    for top, band in bands(labels):
        mask = band == value
        new = runs_of(mask, top)
        last = runs.row == top - 1
        runs = runs.where(last).followed_by(new)
        regions = np.concatenate([regions[last], region_of_run[seen : seen + len(new.row)]])
        seen += len(new.row)
        below = np.zeros((int(top + len(band) == height), width), bool)
        yield _turns_between(np.concatenate([before, mask, below]), top, runs, regions)
        before = mask[-1:]


def _turns_between(mask: np.ndarray, top: int, runs: Runs, regions: np.ndarray) -> np.ndarray:
    """Turns at the lattice rows between the rows of a mask, of which the first is row `top` - 1 of the map."""
    padded = np.pad(mask, ((0, 0), (1, 1)))
    a, b, c, d = padded[:-1, :-1], padded[:-1, 1:], padded[1:, :-1], padded[1:, 1:]
    differs = a ^ b
    places = np.flatnonzero((differs ^ c ^ d) | (differs & (a ^ c)))  # one, three, or two diagonal
    row, x = np.divmod(places, mask.shape[1] + 1)
    point = sum(
        weight * padded[row + below, x + right] for weight, below, right in ((1, 0, 0), (2, 0, 1), (4, 1, 0), (8, 1, 1))
    )
    number = np.zeros(16, np.int64)
    number[list(_TURNS)] = [len(kinds) for kinds in _TURNS.values()]
    repeats = number[point]
    second = np.arange(repeats.sum()) - np.repeat(np.cumsum(repeats) - repeats, repeats)
    y, x, point = (np.repeat(values, repeats) for values in (row + top, x, point))
    table = np.zeros((16, 2, 3), np.int64)
    for around, kinds in _TURNS.items():
        for place, (down, sideways, pixel) in enumerate(kinds):
            kind = _DOWN * down + _SIDEWAYS * sideways + _DIAGONAL * (len(kinds) == 2)
            table[around, place] = kind, *_PIXEL[pixel]
    kind, up, left = table[point, second].T
    records = np.empty(len(y), _RECORD)
    run = np.searchsorted(runs.key(runs.start), runs.key(x + left, y + up), side="right") - 1
    records["region"], records["x"], records["y"], records["kind"] = regions[run], x, y, kind
    return records


def _groups(counts: np.ndarray) -> np.ndarray:
    """Number of the group of each region, ascending; groups have about `_TURNS_AT_ONCE` turns, or are 256."""
    size = max(_TURNS_AT_ONCE, int(counts.sum()) // 256)
    return np.unique((np.cumsum(counts) - counts) // size, return_inverse=True)[1]


def _sort_into(files: Sequence[IO[bytes]], waiting: BinaryIO, group_of_region: np.ndarray) -> None:
    """Copy turns to the files of their groups, in their order."""
    waiting.seek(0)
    while content := waiting.read(_TURNS_AT_ONCE * _RECORD.itemsize):
        records = np.frombuffer(content, _RECORD)
        groups = group_of_region[records["region"]]
        order = np.argsort(groups, kind="stable")
        present, first = np.unique(groups[order], return_index=True)
        for group, part in zip(present.tolist(), np.split(records[order], first[1:]), strict=True):
            files[group].write(part.tobytes())


def _read(file: IO[bytes]) -> np.ndarray:
    file.seek(0)
    return np.frombuffer(file.read(), _RECORD)


def _outline(records: np.ndarray) -> Iterator[tuple[int, np.ndarray, list[np.ndarray]]]:
    """Region, exterior and holes of each region of which all turns are given, by row, then column."""
    if not len(records):
        return
    turns = records[np.argsort(records["region"], kind="stable")]
    order, starts = _rings(_following(turns))
    turns = turns[order]
    points = np.stack([turns["x"], turns["y"]], axis=1)
    diagonal = (turns["kind"] & _DIAGONAL).astype(bool)
    meets = np.add.reduceat(diagonal, starts, dtype=np.int64) >= 2
    # The first turn of a ring is the uppermost, there the leftmost. An exterior leaves it along its upper edge.
    outside = (turns["kind"][starts] & _SIDEWAYS).astype(bool)
    rings = list(pairwise([*starts.tolist(), len(turns)]))
    regions = turns["region"][starts]
    firsts = np.flatnonzero(np.diff(regions, prepend=-1)).tolist()
    for first, last in pairwise([*firsts, len(rings)]):
        exterior, holes = np.empty((0, 2)), []
        for ring in range(first, last):
            here = slice(*rings[ring])
            parts = _simple_rings(points[here], diagonal[here]) if meets[ring] else [(points[here], outside[ring])]
            for part, is_exterior in parts:
                if is_exterior:
                    exterior = part
                else:
                    holes.append(part)
        yield int(regions[first]), exterior, holes


def _following(turns: np.ndarray) -> np.ndarray:
    """The next turn along the ring; `turns` are sorted by region, row and column.

    In each row the 1st and 2nd, the 3rd and 4th, ... are the ends of a horizontal edge, and likewise in each column.
    """
    sideways = np.arange(len(turns), dtype=np.int32) ^ 1
    place = turns["region"].astype(np.int64)  # in place, for there may be many: region, column, row, direction
    place -= place[0]
    for values in (turns["x"], turns["y"], turns["kind"] & _DOWN):
        place *= int(values.max()) + 1
        place += values
    order = np.argsort(place).astype(np.int32)
    vertical = np.empty(len(turns), np.int32)
    vertical[order[0::2]], vertical[order[1::2]] = order[1::2], order[0::2]
    return np.where(turns["kind"] & _SIDEWAYS, sideways, vertical)


def _rings(following: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """All turns in the order in which they are passed, ring by ring from its first turn, and where rings start."""
    after, waiting = following.data, bytearray(b"\x01" * len(following))
    order, starts = array("i"), []
    for first in range(len(following)):
        if not waiting[first]:
            continue
        starts.append(len(order))
        turn = first
        while waiting[turn]:
            waiting[turn] = 0
            order.append(turn)
            turn = after[turn]
    return np.frombuffer(order, np.int32), np.array(starts)


def _simple_rings(points: np.ndarray, diagonal: np.ndarray) -> list[tuple[np.ndarray, bool]]:
    """Split a ring where it meets itself, only where pixels of the region touch by their corners.

    Returns:
        Rings of points and whether each is an exterior.
    """
    rings, path, place = [], [], {}
    twice = diagonal.tolist()
    for index in range(len(points)):
        if twice[index]:
            point = tuple(points[index].tolist())
            if point in place:
                loop = path[place[point] :]
                for passed in loop:
                    if twice[passed]:
                        place.pop(tuple(points[passed].tolist()), None)
                del path[len(path) - len(loop) :]
                rings.append(points[loop])
            place[point] = len(path)
        path.append(index)
    return [(ring, _is_clockwise(ring)) for ring in (*rings, points[path])]


def _is_clockwise(ring: np.ndarray) -> bool:
    """Whether the ring goes clockwise as seen on the screen (y down), as exteriors do: by its area, x to the right."""
    x, y = ring.astype(np.int64).T
    return bool(np.dot(np.diff(x), y[:-1]) + (x[0] - x[-1]) * y[-1] < 0)
