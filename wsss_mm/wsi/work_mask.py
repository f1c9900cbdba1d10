"""Which pixels of a slide are to be segmented: where a thumbnail shows tissue, inside the region of interest."""

import numpy as np

from wsss_mm.slides.roi import Region
from wsss_mm.slides.tissue import TissueMask


class WorkMask:
    """The pixels of a raster that are neither glass on the thumbnail nor outside the region of interest.

    Args:
        size: width and height of the raster, px.
        origin: of the raster, level-0 px.
        factor: level-0 px per px of the raster.
        tissue: where tissue may be; everywhere if None.
        region: the region of interest; everything if None.
    """

    def __init__(
        self,
        size: tuple[int, int],
        origin: tuple[float, float],
        factor: float,
        tissue: TissueMask | None = None,
        region: Region | None = None,
    ) -> None:
        self._size, self._origin, self._factor, self._region = size, origin, factor, region
        self._mask = None
        if tissue is not None:
            self._mask = tissue.mask
            self._rows, self._columns = (
                np.clip(
                    ((origin[axis] + (np.arange(size[axis]) + 0.5) * factor) / tissue.scale[axis]).astype(np.int32),
                    0,
                    tissue.mask.shape[1 - axis] - 1,
                )
                for axis in (1, 0)
            )

    def rows(self, start: int, stop: int) -> np.ndarray:
        """Rows start..stop-1, (rows, width) bool: a pixel counts by its centre."""
        wanted = np.ones((stop - start, self._size[0]), bool)
        if self._mask is not None:
            lines, place = np.unique(self._rows[start:stop], return_inverse=True)
            wanted = self._mask[lines][:, self._columns][place]
        if self._region is not None:
            corner = self._origin[0], self._origin[1] + start * self._factor
            wanted &= self._region.mask(corner, (self._size[0], stop - start), self._factor)
        return wanted

    def columns(self, start: int, stop: int) -> np.ndarray:
        """Which columns have a wanted pixel in rows start..stop-1 (what lies outside the raster is left out)."""
        start, stop = max(start, 0), min(stop, self._size[1])
        found = np.zeros(self._size[0], bool)
        for top in range(start, stop, 256):
            found |= self.rows(top, min(top + 256, stop)).any(axis=0)
        return found
