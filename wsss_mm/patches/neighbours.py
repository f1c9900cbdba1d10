"""Where patches lie beside and over each other: data sets cut with overlap tell more than their patches one by one."""

from dataclasses import dataclass
from functools import cached_property
from itertools import islice
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd

from wsss_mm.errors import InputError
from wsss_mm.patches.images import read_image

_COMPARED = 20  # pairs of overlapping patches
_TOLERANCE = 10  # grey levels, mean difference of what must be the same pixels; JPEG differs by less


@dataclass(frozen=True)
class Places:
    """Squares on slides.

    Attributes:
        slides: (N,) name of the slide of each square.
        corners: (N, 2) x and y of its top-left corner, px; a negative one is unknown, and such a square meets no other.
        sizes: (N,) its side, px.
    """

    slides: npt.NDArray[np.object_]
    corners: npt.NDArray[np.int64]
    sizes: npt.NDArray[np.int64]

    @classmethod
    def of(cls, rows: pd.DataFrame) -> "Places":
        """Places of manifest rows, whose x and y must be px of the patches, as in data sets of patches."""
        return cls(
            rows["slide_id"].to_numpy(object), rows[["x", "y"]].to_numpy(np.int64), rows["size"].to_numpy(np.int64)
        )

    def __len__(self) -> int:
        return len(self.sizes)

    @cached_property
    def _members(self) -> dict[str, npt.NDArray[np.int64]]:
        """Squares with known places, by slide."""
        known = np.flatnonzero((self.corners >= 0).all(axis=1))
        return {slide: known[self.slides[known] == slide] for slide in dict.fromkeys(self.slides[known])}

    def on_slide_of(self, index: int) -> npt.NDArray[np.int64]:
        """The squares on the slide of square `index`, itself among them; it alone where its place is unknown."""
        if (self.corners[index] < 0).any():
            return np.array([index])
        return self._members[self.slides[index]]

    def meeting(self, index: int, corner: npt.ArrayLike, size: int) -> npt.NDArray[np.int64]:
        """The squares, on the slide of square `index`, that share pixels with another square.

        Args:
            index: says on which slide.
            corner: x and y of the other square, px.
            size: its side, px.
        """
        found = self.on_slide_of(index)
        corners, sizes = self.corners[found], self.sizes[found, None]
        return found[((corners < np.asarray(corner) + size) & (corners + sizes > np.asarray(corner))).all(axis=1)]

    def shared(self, index: int, other: int) -> tuple[tuple[slice, slice], tuple[slice, slice]]:
        """Rows and columns that square `index` shares with `other`, as each of the two counts them."""
        low = np.maximum(self.corners[index], self.corners[other])
        high = np.minimum(self.corners[index] + self.sizes[index], self.corners[other] + self.sizes[other])
        return _window(low, high, self.corners[index]), _window(low, high, self.corners[other])


def possible_classes(places: Places, label_sets: npt.NDArray[np.bool_], index: int) -> npt.NDArray[np.bool_]:
    """Classes each pixel of a patch may be of: those that all patches over it hold.

    Where these contradict each other it is the patch's own label set.

    Args:
        places: of patches.
        label_sets: (N, C), of the same patches.
        index: of the patch.

    Returns:
        (C, size, size) bool.
    """
    size = int(places.sizes[index])
    possible = np.broadcast_to(label_sets[index], (size, size, label_sets.shape[1])).copy()
    for other in places.meeting(index, places.corners[index], size):
        own, _ = places.shared(index, other)
        possible[own] &= label_sets[other]
    possible[~possible.any(axis=2)] = label_sets[index]
    return possible.transpose(2, 0, 1)


def check_places(rows: pd.DataFrame, folder: Path, parameter: str) -> None:
    """Compare pixels that patches share by their places, in a few pairs: x and y may be in other units than px.

    Args:
        rows: of the manifest.
        folder: where their paths start.
        parameter: names in the message what needs the places.

    Raises:
        InputError: the pixels differ.
    """
    places = Places.of(rows)
    paths = [folder / path for path in rows["path"]]
    pairs = (
        (index, int(other))
        for index in range(len(places))
        for other in places.meeting(index, places.corners[index], int(places.sizes[index]))
        if other > index
    )
    for index, other in islice(pairs, _COMPARED):
        own, others = places.shared(index, other)
        first, second = read_image(paths[index])[own], read_image(paths[other])[others]
        if np.abs(first.astype(np.int64) - second).mean() > _TOLERANCE:
            raise InputError(
                f"{paths[index]} and {paths[other]}: should share pixels by their x and y, but do not; "
                f"set {parameter} in params.yaml to false"
            )


def _window(low: npt.NDArray, high: npt.NDArray, origin: npt.NDArray) -> tuple[slice, slice]:
    (left, top), (right, bottom) = low - origin, high - origin
    return slice(int(top), int(bottom)), slice(int(left), int(right))
