"""Random fields and random points: the raw material of the phantom slides."""

import math
from typing import cast

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy.spatial import KDTree

Field = NDArray[np.float32]

_SAMPLES_PER_SIGMA = 3  # a Gaussian field sampled three times a sigma is smooth under cubic interpolation
_CANDIDATES_PER_CELL = 2.5  # of side `distance`; dart throwing is then close to saturated


def smooth_field(rng: np.random.Generator, shape: tuple[int, int], sigma: float) -> Field:
    """White noise under a Gaussian of `sigma` px: zero mean, unit variance, (H, W) float32.

    Wide Gaussians are drawn on a coarser grid and interpolated, so that the cost does not grow with `sigma`.
    """
    step = max(1.0, sigma / _SAMPLES_PER_SIGMA)
    narrow = sigma / step
    margin = math.ceil(3 * narrow) + 2
    height, width = (math.ceil(side / step) + 2 * margin for side in shape)
    noise = rng.standard_normal((height, width), dtype=np.float32)
    noise = cast("Field", cv2.GaussianBlur(noise, (0, 0), narrow))[margin:-margin, margin:-margin]
    noise *= 2 * math.sqrt(math.pi) * narrow
    if step > 1:
        noise = enlarge(noise, step, shape)
    return np.ascontiguousarray(noise[: shape[0], : shape[1]])


def enlarge(field: Field, factor: float, shape: tuple[int, int]) -> Field:
    """Cubic enlargement by `factor`, cropped to `shape`: sample (i, j) lands on pixel centre (i, j) * factor."""
    to_source = np.array([[1 / factor, 0, 0], [0, 1 / factor, 0]], np.float32)
    found = cv2.warpAffine(
        field,
        to_source,
        (shape[1], shape[0]),
        flags=cv2.INTER_CUBIC | cv2.WARP_INVERSE_MAP,
        borderMode=cv2.BORDER_REPLICATE,
    )
    return cast("Field", found)


def warp(field: Field, dx: Field, dy: Field) -> Field:
    """Sample `field` at (x + dx, y + dy): its contours wiggle as the displacement does."""
    height, width = field.shape
    columns = np.arange(width, dtype=np.float32)[None, :] + dx
    rows = np.arange(height, dtype=np.float32)[:, None] + dy
    found = cv2.remap(field, columns, rows, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT_101)
    return cast("Field", found)


def spaced_points(rng: np.random.Generator, mask: NDArray[np.bool_], distance: float) -> NDArray[np.int32]:
    """Random points inside `mask`, no two closer than `distance` px, nearly as dense as that allows.

    Returns:
        (n, 2) int32 of x, y. Candidates come in random order and each one stays unless an earlier one that stays is too
        near; deciding all candidates that wait for no earlier neighbour at once takes a handful of rounds.
    """
    height, width = mask.shape
    count = int(_CANDIDATES_PER_CELL * height * width / distance**2)
    points = np.stack([rng.integers(0, width, count), rng.integers(0, height, count)], axis=1)
    points = points[mask[points[:, 1], points[:, 0]]]
    pairs = KDTree(points).query_pairs(distance, output_type="ndarray") if len(points) else np.empty((0, 2), int)
    keep = np.ones(len(points), bool)
    while len(pairs):
        waiting = np.zeros(len(points), bool)
        waiting[pairs[:, 1]] = True
        settled = ~waiting[pairs[:, 0]]
        keep[pairs[settled, 1]] = False
        pairs = pairs[~settled]
        pairs = pairs[keep[pairs[:, 0]] & keep[pairs[:, 1]]]
    return points[keep].astype(np.int32)
