"""Averages the class probabilities of overlapping windows, a band of rows at a time."""

from collections.abc import Sequence

import numpy as np

from wsss_mm.slide_parameters import Weighting

_SIGMA = 1 / 8  # of the Gaussian, as a share of the window


def window_profile(window: int, weighting: Weighting) -> np.ndarray:
    """How much the pixels of a window count along one axis, (window,) float32; along both it is the product.

    `uniform` is METHOD.md section 6. It counts a network's worst pixels, those at its window's edge, like any others,
    and where a window begins or ends the average jumps: the lattice of windows shows in the map. `gaussian` (sigma an
    eighth of the side) and `linear` let the middle count most, `linear` falling evenly to next to nothing at the edge:
    windows cross-fade over all of their overlap. No weight is 0, so that every average is one.
    """
    if weighting == "uniform":
        return np.ones(window, np.float32)
    distance = np.abs(np.arange(window) - (window - 1) / 2)
    if weighting == "linear":
        return (1 - distance / (window / 2)).astype(np.float32)
    return np.exp(-0.5 * (distance / (window * _SIGMA)) ** 2).astype(np.float32)


class RowStitcher:
    """Sums weighted probabilities of windows that come in raster order; finished rows are taken out.

    Memory is C x window x width floats, whatever the height. Averages are right where all windows of the lattice that
    hold a pixel were added; where some were left out, they are too small.

    Args:
        size: width and height of the map, px.
        columns: first column of each window of the lattice.
        lines: first row of each window of the lattice.
        classes: C.
        profile: (window,) how much the pixels of a window count, see `window_profile`.
    """

    def __init__(
        self, size: tuple[int, int], columns: Sequence[int], lines: Sequence[int], classes: int, profile: np.ndarray
    ) -> None:
        self._width, self._window = size[0], len(profile)
        self._weights = None if (profile == 1).all() else np.outer(profile, profile)
        self._column_totals = _totals(size[0], columns, profile)
        self._line_totals = _totals(size[1], lines, profile)
        self._sums = np.zeros((classes, self._window, self._width), np.float32)
        self._top, self._taken = 0, 0

    def add(self, x: int, y: int, probabilities: np.ndarray) -> None:
        """Add a window.

        Args:
            x: map column of its first pixel, may be negative.
            y: map row of its first pixel, may be above the first row held.
            probabilities: (C, window, window).
        """
        self._forget()
        left, right = max(x, 0), min(x + self._window, self._width)
        top, bottom = max(y, self._top), y + self._window
        here = slice(top - y, bottom - y), slice(left - x, right - x)
        part = probabilities[(slice(None), *here)]
        target = self._sums[:, top - self._top : bottom - self._top, left:right]
        target += part if self._weights is None else part * self._weights[here]

    def take(self, stop: int) -> np.ndarray:
        """Take out the rows from the first one held to `stop`.

        Returns:
            Averaged probabilities (C, rows, width), valid until the stitcher is used again.
        """
        self._forget()
        rows = stop - self._top
        averages = self._sums[:, :rows]
        for row in range(rows):
            averages[:, row] /= self._line_totals[self._top + row] * self._column_totals
        self._taken = rows
        return averages

    @property
    def carry(self) -> np.ndarray:
        """Sums of the rows below those taken, (C, rows, width) float32, valid until the stitcher is used again."""
        return self._sums[:, self._taken :]

    def restore(self, top: int, carry: np.ndarray) -> None:
        """Go on where another stitcher had taken the rows above `top` and held `carry`."""
        self._top, self._taken = top, 0
        self._sums[:, : carry.shape[1]] = carry
        self._sums[:, carry.shape[1] :] = 0

    def _forget(self) -> None:
        """Move up over the rows that were taken."""
        if self._taken:
            for plane in self._sums:  # in pieces that do not overlap, or NumPy would copy all of it first
                for row in range(0, self._window - self._taken, self._taken):
                    stop = min(row + self._taken, self._window - self._taken)
                    plane[row:stop] = plane[row + self._taken : stop + self._taken]
                plane[-self._taken :] = 0
            self._top, self._taken = self._top + self._taken, 0


def _totals(length: int, starts: Sequence[int], profile: np.ndarray) -> np.ndarray:
    """Sum of weights at each pixel of an axis, (length,) float32."""
    totals = np.zeros(length)
    for start in starts:
        first, last = max(start, 0), min(start + len(profile), length)
        totals[first:last] += profile[first - start : last - start]
    return totals.astype(np.float32)
