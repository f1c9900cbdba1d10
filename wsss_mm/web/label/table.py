"""The candidates as arrays, one row a patch, for a page that asks by row."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

_BITS = 24  # of a coordinate: slides have less than 16 million px a side


@dataclass(frozen=True)
class SlideRows:
    """A slide that has candidates."""

    slide_id: str
    site: str
    split: str


class Table:
    """Candidates.

    Attributes:
        frame: as `wsss_mm.labelling.candidates.read_candidates` gives it.
        slides: those with candidates, by slide_id.
        slide: (N,) int32, index of each patch's slide.
        x: (N,) int64, level-0 px; so is `y`.
        mpp: um/px of the patches; `size` is their side, px.
        version: of what the rows are; another one means that row numbers mean other patches.
    """

    def __init__(self, frame: pd.DataFrame) -> None:
        self.frame = frame
        codes, ids = pd.factorize(frame["slide_id"], sort=True)
        first = np.unique(codes, return_index=True)[1]
        of_slides = frame.iloc[first]
        self.slides = tuple(
            SlideRows(str(slide_id), _text(site), str(split))
            for slide_id, site, split in zip(ids, of_slides["site"], of_slides["split"], strict=True)
        )
        self.slide = codes.astype(np.int32)
        self.x, self.y = (frame[name].to_numpy(np.int64) for name in ("x", "y"))
        self.mpps, self.sizes = frame["mpp"].to_numpy(np.float64), frame["size"].to_numpy(np.int64)
        self.tissue, self.focus = (frame[name].to_numpy(np.float32) for name in ("tissue", "focus"))
        self.index_of = {item.slide_id: index for index, item in enumerate(self.slides)}
        self.version = self._digest()
        keys = self._key(self.slide, self.x, self.y)
        self._order = np.argsort(keys, kind="stable")
        self._keys = keys[self._order]

    def __len__(self) -> int:
        return len(self.slide)

    def row_of(self, place: Mapping[str, Any]) -> int | None:
        """The row of a place: slide, x, y, mpp and size; None where there is no such candidate."""
        slide = self.index_of.get(place["slide"])
        x, y = place["x"], place["y"]
        if slide is None or not (0 <= x < 1 << _BITS and 0 <= y < 1 << _BITS):
            return None
        key = self._key(slide, x, y)
        at = int(np.searchsorted(self._keys, key))
        if at == len(self._keys) or self._keys[at] != key:
            return None
        row = int(self._order[at])
        same = self.sizes[row] == place["size"] and abs(self.mpps[row] - place["mpp"]) < 1e-6
        return row if same else None

    def by_slide(self) -> npt.NDArray[np.int64]:
        """All rows, slide after slide, and within a slide line by line: `sampling.order.by_slide`, by numbers alone."""
        return np.lexsort((self.x, self.y, self.slide)).astype(np.int64)

    def place(self, row: int) -> dict[str, Any]:
        """The place of a row, as journals say it."""
        return {
            "slide": self.slides[self.slide[row]].slide_id,
            "x": int(self.x[row]),
            "y": int(self.y[row]),
            "mpp": float(self.mpps[row]),
            "size": int(self.sizes[row]),
        }

    def patch_id(self, row: int) -> str:
        """As the manifest names it."""
        return f"{self.slides[self.slide[row]].slide_id}-{self.x[row]}-{self.y[row]}"

    def _key(self, slide: npt.ArrayLike, x: npt.ArrayLike, y: npt.ArrayLike) -> npt.NDArray[np.int64]:
        slides, xs, ys = (np.asarray(value, np.int64) for value in (slide, x, y))
        return (slides << (2 * _BITS)) | (xs << _BITS) | ys

    def _digest(self) -> str:
        hasher = hashlib.sha256("\n".join(item.slide_id for item in self.slides).encode())
        for column in (self.slide, self.x, self.y, self.mpps, self.sizes):
            hasher.update(np.ascontiguousarray(column).data)
        return hasher.hexdigest()[:16]


def _text(value: object) -> str:
    return value if isinstance(value, str) else ""
