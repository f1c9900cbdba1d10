"""Averages the class probabilities of overlapping windows, a band of rows at a time."""

import numpy as np


class RowStitcher:
    """Sums weighted probabilities of windows that come in raster order; finished rows are taken out.

    Memory is C x window x width floats, whatever the height.

    Args:
        width: of the map, px.
        window: side of a window, px; rows further apart than that are never held together.
        classes: C.
        weights: (window, window) positive float, how much each pixel of a window counts; uniform as published if None.
    """

    def __init__(self, width: int, window: int, classes: int, weights: np.ndarray | None = None) -> None:
        self._width, self._window = width, window
        self._weights = np.ones((window, window), np.float32) if weights is None else weights.astype(np.float32)
        self._sums = np.zeros((classes, window, width), np.float32)
        self._total = np.zeros((window, width), np.float32)
        self._top = 0

    def add(self, x: int, y: int, probabilities: np.ndarray) -> None:
        """Add a window.

        Args:
            x: map column of its first pixel, may be negative.
            y: map row of its first pixel, may be above the first row held.
            probabilities: (C, window, window).
        """
        left, right = max(x, 0), min(x + self._window, self._width)
        top, bottom = max(y, self._top), y + self._window
        here = slice(top - y, bottom - y), slice(left - x, right - x)
        there = slice(top - self._top, bottom - self._top), slice(left, right)
        weights = self._weights[here]
        self._sums[(slice(None), *there)] += probabilities[(slice(None), *here)] * weights
        self._total[there] += weights

    def take(self, stop: int) -> tuple[np.ndarray, np.ndarray]:
        """Take out the rows from the first one held to `stop`.

        Returns:
            Averaged probabilities (C, rows, width), 0 where no window was; which pixels a window covered (rows, width).
        """
        rows = stop - self._top
        total = self._total[:rows]
        covered = total > 0
        averages = self._sums[:, :rows] / np.where(covered, total, 1)
        for band in (self._sums, self._total):
            band[..., :-rows, :] = band[..., rows:, :]
            band[..., -rows:, :] = 0
        self._top = stop
        return averages, covered
