"""One resampling from a pyramid level to the wanted resolution, exact to fractions of a pixel."""

import cv2
import numpy as np
from numpy.typing import NDArray

Window = tuple[float, float, float, float]
"""Left, top, width and height in px of the source; fractions count."""


def resample(image: NDArray[np.uint8], window: Window, size: tuple[int, int]) -> NDArray[np.uint8]:
    """Resample a window of an image to `size` (width, height).

    Shrinking averages the area under each output pixel (pixels cut by an edge count by the part inside), enlarging
    interpolates linearly between pixel centres. Either way output pixel i covers the window from i/n to (i+1)/n, so
    that windows which meet in the source meet in the output without drift.

    Args:
        image: (H, W, C) uint8.
        window: the part of `image` to show; must lie inside it.
        size: width and height of the output, px.

    Returns:
        (height, width, C) uint8.
    """
    left, top, width, height = window
    if width < size[0] or height < size[1]:
        return _interpolate(image, window, size)
    if all(float(value).is_integer() for value in window):
        x, y, w, h = map(int, window)
        crop = image[y : y + h, x : x + w]
        return crop.copy() if (w, h) == size else cv2.resize(crop, size, interpolation=cv2.INTER_AREA)
    rows = _average(image.astype(np.float32), np.linspace(top, top + height, size[1] + 1))
    columns = _average(rows.swapaxes(0, 1), np.linspace(left, left + width, size[0] + 1))
    return np.clip(np.rint(columns.swapaxes(0, 1)), 0, 255).astype(np.uint8)


def _interpolate(image: NDArray[np.uint8], window: Window, size: tuple[int, int]) -> NDArray[np.uint8]:
    scale_x, scale_y = window[2] / size[0], window[3] / size[1]
    to_source = np.array(
        [
            [scale_x, 0, window[0] + scale_x / 2 - 0.5],
            [0, scale_y, window[1] + scale_y / 2 - 0.5],
        ]
    )
    return cv2.warpAffine(
        image, to_source, size, flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP, borderMode=cv2.BORDER_REPLICATE
    )


def _average(values: NDArray[np.float32], edges: NDArray[np.float64]) -> NDArray[np.float32]:
    """Means of the first axis between consecutive `edges`: differences of the interpolated running sum."""
    sums = np.zeros((len(values) + 1, *values.shape[1:]), np.float64)
    np.cumsum(values, axis=0, dtype=np.float64, out=sums[1:])
    edges = np.clip(edges, 0, len(values))
    below = np.minimum(edges.astype(np.intp), len(values) - 1)
    part = (edges - below).reshape(-1, *[1] * (values.ndim - 1))
    at_edges = sums[below] + part * values[below]
    lengths = np.diff(edges).reshape(-1, *[1] * (values.ndim - 1))
    return (np.diff(at_edges, axis=0) / lengths).astype(np.float32)
