"""Patches of two splits that show the same tissue, even if only in part: shifted, mirrored, turned or re-encoded.

Such a pair is a leak: what is judged was learnt from. Whole pictures that come again are told by
`wsss_mm.patches.twins`; here a quarter is enough. Which patches may share tissue, features tell, which no flip or turn
changes and a shift changes little: the nearest ones of the other splits, by one matrix product a block. Whether they
do, pixels tell: a quarter of the one is searched in the other, in its eight positions.

Measured: among 348 real patches of 112 px, 24 pairs were planted, as JPEG of quality 75, two of three mirrored or
turned. Of those shifted by nothing or a quarter of their side, all are among the nearest by features, of those shifted
by half in both directions two of three; 20 of the 24 are found in the end. What they share correlates by 0.93 and more.
None was found among 828 training patches and 145 tiles of other regions of one data set, nor in a phantom cohort.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, NamedTuple, cast

import cv2
import numpy as np
import numpy.typing as npt

from wsss_mm.patches.images import GLASS_GREY

Pixels = npt.NDArray[np.uint8]
Plane = npt.NDArray[np.float32]

NEAREST = 8
"""Patches of other splits that each one is laid over, the nearest by features."""

_BLOCK = 1024  # patches whose distances are computed at once
_SIDES = (48, 96)  # px that patches are compared at, the second where the first finds something
_LIKELY, _SAME = 0.5, 0.7  # correlation of a quarter with its place in the other patch, of the first and the second
_COARSE = 16  # of its side, what is smaller is compared: coarse shades are alike in many tissues
_FLAT = 4.0  # grey levels that detail is held against beside its own contrast: noise of glass stays small
_SHOWS = 0.3  # what is left of a quarter must vary by, to be told from others
_GLASS = 0.5  # share of a quarter that may be as bright as glass: one border of tissue is like others
_STILL = 0.03  # of a side, by which re-encoding and another size move a picture at most
_FAR = 5.0  # standard deviations, at which a feature is cut off: one odd number must not hide all others


@dataclass(frozen=True)
class Shared:
    """Two patches that show the same tissue.

    Attributes:
        first: row of the one, of valid or test.
        second: row of the other.
        likeness: correlation of the part that both show, 0..1.
        shift: by how much the one lies right and down of the other once it is turned, as a share of a patch's side.
        turned: whether one is mirrored or turned.
    """

    first: int
    second: int
    likeness: float
    shift: tuple[float, float]
    turned: bool

    @property
    def shifted(self) -> bool:
        """Whether they show a part in common, and not the whole."""
        return max(map(abs, self.shift)) > _STILL

    def __str__(self) -> str:
        """How they lie, in words."""
        how = ["mirrored or turned"] if self.turned else []
        if self.shifted:
            how.append(f"shifted by {abs(self.shift[0]):.0%} and {abs(self.shift[1]):.0%} of its side")
        return " and ".join(how) or "as it is"


class _Quarter(NamedTuple):
    """A quarter of a plane, and its corner in it, px."""

    left: int
    top: int
    plane: Plane


def nearest_pairs(features: npt.NDArray[Any], splits: Sequence[str], number: int = NEAREST) -> list[tuple[int, int]]:
    """Pairs of a patch of valid or test, and one of those of other splits that are most like it.

    Args:
        features: (N, D), see `wsss_mm.features.patches.patch_features`.
        splits: (N,) of each.
        number: of pairs, for each patch, at most.

    Returns:
        Rows, without repetition.
    """
    values, of = features.astype(np.float32), np.asarray(splits)
    spread = values.std(axis=0)
    scaled = np.clip((values - values.mean(axis=0)) / np.where(spread > 0, spread, 1), -_FAR, _FAR)
    squares = (scaled**2).sum(axis=1)
    asked, pairs = np.flatnonzero(of != "train"), set()
    for start in range(0, len(asked), _BLOCK):
        rows = asked[start : start + _BLOCK]
        distances = squares[None] - 2 * scaled[rows] @ scaled.T  # up to what is the same in a row
        distances[of[rows, None] == of[None]] = np.inf
        count = min(number, len(of))
        for row, found, far in zip(
            rows, np.argpartition(distances, count - 1, axis=1)[:, :count], distances, strict=True
        ):
            pairs |= {(int(row), int(other)) for other in found if np.isfinite(far[other])}
    # valid beside test is asked for from both sides, if at all
    return sorted({pair for pair in pairs if pair[::-1] not in pairs or pair[0] < pair[1]})


def small_grey(image: Pixels) -> Pixels:
    """What `shared_tissue` looks at of an image (H, W, 3) uint8 RGB, whatever its size: (96, 96) grey."""
    grey = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
    return cast("Pixels", cv2.resize(grey, (_SIDES[-1],) * 2, interpolation=cv2.INTER_AREA))


def shared_tissue(pairs: Sequence[tuple[int, int]], shown: Callable[[int], Pixels]) -> list[Shared]:
    """Which pairs show the same tissue.

    Args:
        pairs: rows, as of `nearest_pairs`; those of one row in turn, of which most is computed once.
        shown: the image of a row as `small_grey` gives it.
    """
    grey = lru_cache(maxsize=4096)(shown)

    @lru_cache(maxsize=4096)
    def plane(row: int, side: int) -> Plane:
        return _detail(grey(row).astype(np.float32), side)

    @lru_cache(maxsize=64)
    def quarters(row: int, side: int) -> list[_Quarter]:
        return _quarters(plane(row, side), _tissue_quarters(grey(row)))

    @lru_cache(maxsize=1024)
    def positions(row: int, side: int) -> list[Plane]:
        return _positions(plane(row, side))

    found = []
    for first, second in pairs:
        if _best(quarters(first, _SIDES[0]), positions(second, _SIDES[0]))[0] >= _LIKELY:
            likeness, shift, turned = _best(quarters(first, _SIDES[1]), positions(second, _SIDES[1]))
            if likeness >= _SAME:
                found.append(Shared(first, second, round(likeness, 3), shift, turned))
    return found


def _detail(grey: Plane, side: int) -> Plane:
    """Fine detail of a picture, (side, side), as strong everywhere: else one edge beside glass is like any other."""
    small = cv2.resize(grey, (side, side), interpolation=cv2.INTER_AREA)
    detail = small - cv2.GaussianBlur(small, (0, 0), side / _COARSE)
    contrast = np.sqrt(cv2.GaussianBlur(detail**2, (0, 0), side / _COARSE))
    return detail / (contrast + _FLAT)


def _tissue_quarters(grey: Pixels) -> list[tuple[int, int]]:
    """Quarters of a picture that are not mostly glass, (right, down), each 0 or 1."""
    half = _SIDES[-1] // 2
    parts = {(x, y): grey[y * half : (y + 1) * half, x * half : (x + 1) * half] for y in (0, 1) for x in (0, 1)}
    return [place for place, part in parts.items() if (part > GLASS_GREY).mean() <= _GLASS]


def _quarters(plane: Plane, corners: Sequence[tuple[int, int]]) -> list[_Quarter]:
    """Those of a plane that show something."""
    half = len(plane) // 2
    places = ((x * half, y * half) for x, y in corners)
    parts = (_Quarter(x, y, np.ascontiguousarray(plane[y : y + half, x : x + half])) for x, y in places)
    return [part for part in parts if part.plane.std() >= _SHOWS]


def _best(quarters: Sequence[_Quarter], positions: Sequence[Plane]) -> tuple[float, tuple[float, float], bool]:
    """Where a quarter of one picture is found best in another one: likeness, shift, and whether that is turned."""
    side = len(positions[0])
    best: tuple[float, tuple[float, float], bool] = (-1.0, (0.0, 0.0), False)
    for x, y, part in quarters:
        for number, turned in enumerate(positions):
            _, likeness, _, (left, top) = cv2.minMaxLoc(cv2.matchTemplate(turned, part, cv2.TM_CCOEFF_NORMED))
            if likeness > best[0]:
                best = (float(likeness), ((left - x) / side, (top - y) / side), number > 0)
    return best


def _positions(plane: Plane) -> list[Plane]:
    """It, as it is and mirrored, each in its four turns."""
    return [np.ascontiguousarray(np.rot90(each, turns)) for each in (plane, plane[:, ::-1]) for turns in range(4)]
