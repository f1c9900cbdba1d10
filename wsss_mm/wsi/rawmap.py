"""Maps on disk between segmentation and export: rows are written as they come and read as they are needed."""

import os
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING

import numpy as np

from wsss_mm.slides.pyramid import RowMap
from wsss_mm.vocabulary import IGNORE

if TYPE_CHECKING:
    from wsss_mm.wsi.engine import Rows


class RawMap:
    """A (height, width) uint8 array in a file without header, read by rows like an array: `map[10:20]`, `map[::4]`.

    Rows are read and written, not memory-mapped: a full disk is an error and not a crash, and the pages of the file
    do not count as the process's memory. Threads may read at the same time.

    Args:
        path: of the file; made if it does not exist, otherwise opened as it is.
        shape: height and width, px.
    """

    dtype = np.dtype(np.uint8)

    def __init__(self, path: Path, shape: tuple[int, int]) -> None:
        self.path, self.shape = path, shape
        path.touch()
        self._file = path.open("r+b")

    @property
    def size(self) -> int:
        """Pixels."""
        return self.shape[0] * self.shape[1]

    def write(self, start: int, rows: np.ndarray) -> None:
        """Write rows (n, width) uint8 from row `start`.

        Raises:
            OSError: the disk is full.
        """
        self._file.seek(start * self.shape[1])
        self._file.write(np.ascontiguousarray(rows, np.uint8).data)
        self._file.flush()

    def sync(self) -> None:
        """Wait until what was written is on the disk, where neither a lost node nor a power cut reaches it."""
        os.fsync(self._file.fileno())

    @property
    def rows_written(self) -> int:
        """Rows that the file has room for: it grows as rows are written from the top."""
        return os.fstat(self._file.fileno()).st_size // self.shape[1]

    def __getitem__(self, rows: int | slice) -> np.ndarray:
        if isinstance(rows, int | np.integer):
            return self[int(rows) : int(rows) + 1][0]
        wanted = range(*rows.indices(self.shape[0]))
        if wanted.step == 1 or len(wanted) < 2:
            return self._read(wanted.start, len(wanted))
        return np.concatenate([self._read(row, 1) for row in wanted])

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def __enter__(self) -> "RawMap":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _read(self, start: int, count: int) -> np.ndarray:
        width = self.shape[1]
        found = os.pread(self._file.fileno(), count * width, start * width)
        if len(found) != count * width:
            raise OSError(f"{self.path}: ends before row {start + count}; segment the slide again")
        return np.frombuffer(found, np.uint8).reshape(count, width)


def write_probabilities(maps: Sequence[RawMap], rows: "Rows") -> None:
    """Write finished rows into the maps of the classes, as 0..255 for probabilities 0..1, those in background too."""
    for target, probabilities in zip(maps, rows.probabilities, strict=True):
        target.write(rows.start, np.round(255 * probabilities).astype(np.uint8))


class OnTissue:
    """Rows of a map, 0 where another map has background.

    Args:
        values: the map.
        labels: the other map, of the same shape.
    """

    def __init__(self, values: RowMap, labels: RowMap) -> None:
        self._values, self._labels, self.shape = values, labels, values.shape

    def __getitem__(self, rows: slice) -> np.ndarray:
        return self._values[rows] * (self._labels[rows] != IGNORE)
