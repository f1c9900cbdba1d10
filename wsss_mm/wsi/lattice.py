"""Where windows lie: geometry on numbers alone."""

import numpy as np

from wsss_mm.errors import InputError


def window_stride(window: int, overlap: float) -> int:
    """Step between windows in px.

    Raises:
        InputError: the overlap is not in 0 <= overlap < 1.
    """
    if not 0 <= overlap < 1:
        raise InputError(f"overlap {overlap}: must be at least 0 and below 1, e.g. 0.5")
    return max(1, round(window * (1 - overlap)))


def window_starts(length: int, window: int, stride: int) -> list[int]:
    """First pixel of each window along an axis of `length` px.

    Windows reach beyond both ends, where the image is mirrored: so a pixel at the border lies in as many windows as
    one in the middle, `window / stride` where that is whole. What the lattice is longer than needed is shared by both
    ends, so that no window holds only a sliver of the image.

    Returns:
        Evenly spaced starts, the first at or below `stride - window`.
    """
    needed = length + window - stride
    count = -(-needed // stride)
    first = stride - window - (count * stride - needed) // 2
    return [first + index * stride for index in range(count)]


def mirrored(start: int, stop: int, length: int) -> np.ndarray:
    """Indices of pixels start..stop-1 of an axis of `length` px continued by mirrors, edge pixels repeated."""
    index = np.arange(start, stop) % (2 * length)
    return np.minimum(index, 2 * length - 1 - index)
