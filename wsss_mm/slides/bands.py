"""Reading a label pyramid back in bands of rows: neither a level nor the file need fit into memory."""

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import zip_longest
from pathlib import Path

import numpy as np
import tifffile
from numpy.typing import NDArray

from wsss_mm.errors import InputError
from wsss_mm.slides.pyramid import level_samples

_MAX_TILE = 1 << 26  # px
_BAND_PIXELS = 1 << 22


class MapLevel:
    """A level as an array (height, width) uint8 of which rows are taken by slices, from top to bottom at best."""

    def __init__(self, page: tifffile.TiffPage) -> None:
        if page.ndim != 2 or page.dtype != np.uint8 or not page.size:
            raise InputError(f"a label map is one uint8 channel, this is {page.dtype} {page.shape}")
        if page.chunks[0] * page.chunks[1] > max(_MAX_TILE, page.size):
            raise InputError(f"a label map has no tiles of {page.chunks}")
        self.shape: tuple[int, int] = (page.shape[0], page.shape[1])
        self._page, self._held = page, {}

    def __getitem__(self, rows: slice) -> NDArray[np.uint8]:
        first, stop, _ = rows.indices(self.shape[0])
        high = self._page.chunks[0]
        needed = range(first // high, (max(stop, first + 1) - 1) // high + 1)
        self._held = {number: self._held.get(number) or self._strip(number) for number in needed}
        band = np.concatenate([strip for (strip,) in self._held.values()])
        return band[first - needed[0] * high : stop - needed[0] * high]

    def bands(self) -> Iterator[tuple[int, NDArray[np.uint8]]]:
        """First row and rows of each band."""
        rows = max(1, _BAND_PIXELS // self.shape[1])
        for top in range(0, self.shape[0], rows):
            yield top, self[top : top + rows]

    def at(self, rows: NDArray[np.int64], columns: NDArray[np.int64]) -> NDArray[np.uint8]:
        """Values of single pixels."""
        values = np.empty(rows.shape, np.uint8)
        for top, band in self.bands():
            here = (rows >= top) & (rows < top + len(band))
            values[here] = band[rows[here] - top, columns[here]]
        return values

    def _strip(self, number: int) -> tuple[NDArray[np.uint8]]:
        """A row of tiles."""
        page, across = self._page, self._page.chunked[1]
        here = range(number * across, (number + 1) * across)
        strip = np.zeros((page.chunks[0], across * page.chunks[1]), np.uint8)
        offsets, counts = page.dataoffsets[here[0] : here[-1] + 1], page.databytecounts[here[0] : here[-1] + 1]
        for data, index in page.parent.filehandle.read_segments(offsets, counts, list(here)):
            tile, (_, _, _, left, _), _ = page.decode(data, index)
            if tile is None:
                raise InputError("the map has an empty tile")
            strip[: tile.shape[1], left : left + tile.shape[2]] = tile[0, :, :, 0]
        return (strip[: page.imagelength - number * page.chunks[0], : page.imagewidth],)


@dataclass(frozen=True)
class Pyramid:
    """A label map.

    Attributes:
        levels: the finest first.
        mpp: um/px, each time the file says it, as the resolution of both axes and in the OME-XML.
        colors: of each value, (256, 3) uint8, None if it has none.
    """

    levels: tuple[MapLevel, ...]
    mpp: tuple[float, ...]
    colors: NDArray[np.uint8] | None


@contextmanager
def open_label_pyramid(path: Path | str) -> Iterator[Pyramid]:
    """Open what `write_label_pyramid` wrote.

    Raises:
        InputError: it is no label map, or says no resolution per centimetre.
    """
    with tifffile.TiffFile(path) as file:
        page = file.pages[0]
        if page.tags["ResolutionUnit"].value != tifffile.RESUNIT.CENTIMETER:
            raise InputError("the map's resolution is not per centimetre")
        per_cm = [page.tags[f"{axis}Resolution"].value for axis in "XY"]
        stated = re.findall(r'PhysicalSize[XY]="([^"]*)"', page.description)
        mpp = (*(1e4 * centimetres / pixels for pixels, centimetres in per_cm), *map(float, stated))
        colors = None if page.colormap is None else (page.colormap.T >> 8).astype(np.uint8)
        yield Pyramid(tuple(MapLevel(item) for item in file.pages), mpp, colors)


def count_wrong_samples(levels: Sequence[MapLevel]) -> int:
    """Pixels of coarser levels that are not what `write_label_pyramid` takes out of the finest, or that are missing."""
    wrong, coarse = 0, []
    for samples, level in zip_longest(level_samples(levels[0].shape)[1:], levels[1:]):
        shape = samples and tuple(map(len, samples))
        if level is None or level.shape != shape:
            wrong += int(np.prod(shape or level.shape))
        else:
            coarse.append((*samples, level))
    for top, band in levels[0].bands():
        for rows, columns, level in coarse:
            first, stop = (max(-(-(edge - rows[0]) // rows.step), 0) for edge in (top, top + len(band)))
            if first < min(stop, len(rows)):
                taken = band[rows[first] - top :: rows.step, columns[0] :: columns.step]
                wrong += int((taken != level[first:stop]).sum())
    return wrong
