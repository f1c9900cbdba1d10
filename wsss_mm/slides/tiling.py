"""Where patches and windows lie: pure functions over numbers, which never touch a file."""

import math

import numpy as np
from numpy.typing import NDArray


def grid(width: float, height: float, side: float) -> NDArray[np.int64]:
    """Top-left corners of a non-overlapping grid of squares that lie wholly inside `width` x `height`.

    A patch of 224 px at 1 um/px is 448.9 level-0 px of a 0.499 um/px slide: `side` may be a fraction, corners are
    rounded down, and neighbours then meet within less than a pixel without the error adding up.

    Returns:
        (n, 2) x, y, row by row.
    """
    return _cross(_regular(width, side), _regular(height, side))


def cover(length: int, window: int, step: int) -> NDArray[np.int64]:
    """Starts of windows that cover 0..`length`: every `step`, the last shifted inside so that it ends at the border.

    Where `length` is shorter than `window`, the one window begins at 0 and sticks out.
    """
    if not 0 < step <= window:
        raise ValueError(f"step {step} must lie in 1..{window} (the window), or there are gaps")
    if length <= window:
        return np.zeros(1, np.int64)
    count = math.ceil((length - window) / step) + 1
    return np.minimum(np.arange(count, dtype=np.int64) * step, length - window)


def _regular(length: float, side: float) -> NDArray[np.int64]:
    if side < 1:
        raise ValueError(f"a patch of {side} level-0 px is none")
    count = math.floor(length / side + 1e-9)
    return np.floor(np.arange(count) * side + 1e-9).astype(np.int64)


def _cross(columns: NDArray[np.int64], rows: NDArray[np.int64]) -> NDArray[np.int64]:
    return np.stack([np.tile(columns, len(rows)), np.repeat(rows, len(columns))], axis=1)
