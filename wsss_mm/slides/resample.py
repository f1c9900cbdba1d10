"""One resampling from a pyramid level to the wanted resolution, exact to fractions of a pixel."""

from typing import cast

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

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
        if (w, h) == size:
            return crop.copy()
        return cast("NDArray[np.uint8]", cv2.resize(crop, size, interpolation=cv2.INTER_AREA))
    rows = _weights(np.linspace(top, top + height, size[1] + 1), len(image))
    columns = _weights(np.linspace(left, left + width, size[0] + 1), image.shape[1])
    channels = image.shape[2]
    shrunk = (rows @ image.reshape(len(image), -1).astype(np.float32)).reshape(size[1], -1, channels)
    means = columns @ np.ascontiguousarray(shrunk.swapaxes(0, 1)).reshape(image.shape[1], -1)
    means = means.reshape(size[0], size[1], channels).swapaxes(0, 1)
    return np.clip(np.rint(means), 0, 255).astype(np.uint8, order="C")


def _interpolate(image: NDArray[np.uint8], window: Window, size: tuple[int, int]) -> NDArray[np.uint8]:
    scale_x, scale_y = window[2] / size[0], window[3] / size[1]
    to_source = np.array(
        [
            [scale_x, 0, window[0] + scale_x / 2 - 0.5],
            [0, scale_y, window[1] + scale_y / 2 - 0.5],
        ]
    )
    found = cv2.warpAffine(
        image, to_source, size, flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP, borderMode=cv2.BORDER_REPLICATE
    )
    return cast("NDArray[np.uint8]", found)


def _weights(edges: NDArray[np.float64], length: int) -> csr_array:
    """What each of `length` pixels gives to the means between consecutive `edges`: (outputs, length), rows sum to 1."""
    edges = np.clip(edges, 0, length)
    first = np.minimum(np.floor(edges[:-1]).astype(np.int64), length - 1)
    counts = np.maximum(np.ceil(edges[1:]).astype(np.int64), first + 1) - first
    output = np.repeat(np.arange(len(first)), counts)
    starts = np.concatenate([[0], np.cumsum(counts)])
    pixel = np.arange(starts[-1]) - starts[output] + first[output]
    inside = np.minimum(edges[output + 1], pixel + 1) - np.maximum(edges[output], pixel)
    share = inside / (edges[output + 1] - edges[output])
    return csr_array((share.astype(np.float32), pixel, starts), shape=(len(first), length))
