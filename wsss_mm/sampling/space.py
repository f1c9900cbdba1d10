"""The space in which patches are near or far: features on one scale, in few dimensions.

Features come as they are (float16 or float32, of any range, constant or missing here and there). What they are scaled
by is measured on a sample of rows, evenly spaced, so that a table of a million candidates costs what one of ten
thousand does.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float32]

SAMPLE = 10_000
"""Rows on which scale and directions are measured."""

FAR = 5.0
"""Standard deviations beyond which a value counts as no further away: a pen mark is not a hundred times odder."""

_OUTSIDE = 0.01  # share of the values at either end
_CHUNK = 8192  # rows
_DENSE = 512  # columns up to which the whole covariance is decomposed


@dataclass(frozen=True)
class Scale:
    """Mean and inverse of the standard deviation of each column, (D,) float32; 0 where a column is constant."""

    mean: Floats
    inverse: Floats

    def __call__(self, features: npt.ArrayLike) -> Floats:
        """(N, D) features to (N, D) float32 of mean 0 and deviation 1, within `FAR`; what is not finite becomes 0."""
        with np.errstate(over="ignore", invalid="ignore"):
            values = (np.asarray(features, dtype=np.float32) - self.mean) * self.inverse
        return np.clip(np.nan_to_num(values, copy=False, nan=0.0, posinf=FAR, neginf=-FAR), -FAR, FAR)


def spaced(count: int, most: int) -> npt.NDArray[np.int64]:
    """Up to `most` of the rows 0..count-1, evenly spaced."""
    return np.unique(np.linspace(0, count - 1, min(count, most)).round().astype(np.int64))


def measure_scale(features: npt.ArrayLike, most: int = SAMPLE) -> Scale:
    """Scale of (N, D) features by up to `most` of their rows.

    Mean and deviation are those of the middle 98 %: a few pen marks, far from everything, would otherwise press all
    tissue together. A column that is constant there, as one of something rare is, has those of all its values.
    """
    values = as_table(features)
    sample = values[spaced(len(values), most)].astype(np.float64)
    sample[~np.isfinite(sample)] = np.nan
    if not len(sample):
        sample = np.full((1, sample.shape[1]), np.nan)
    ordered = np.sort(sample, axis=0)  # what is missing comes last
    last = np.maximum(np.isfinite(sample).sum(axis=0) - 1, 0)
    outside = np.floor(_OUTSIDE * last).astype(np.int64)
    low, high = (np.take_along_axis(ordered, at[None], axis=0) for at in (outside, last - outside))
    mean, inverse = _moments(np.clip(sample, low, high))
    mean_of_all, inverse_of_all = _moments(sample)
    rare = inverse == 0
    mean, inverse = np.where(rare, mean_of_all, mean), np.where(rare, inverse_of_all, inverse)
    return Scale(mean.astype(np.float32), inverse.astype(np.float32))


def _moments(sample: npt.NDArray[np.float64]) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Mean and inverse deviation of each column's known values; 0 for the inverse of a constant's."""
    known = np.maximum(np.isfinite(sample).sum(axis=0), 1)
    mean = np.nansum(sample, axis=0) / known
    deviation = np.sqrt(np.nansum((sample - mean) ** 2, axis=0) / known)
    constant = deviation <= 1e-6 * np.maximum(np.abs(mean), 1e-12)
    return mean, np.where(constant, 0.0, 1 / np.where(constant, 1.0, deviation))


def principal_components(features: npt.ArrayLike, dimensions: int, seed: int = 0) -> Floats:
    """Principal components of scaled features.

    Args:
        features: (N, D), any float type.
        dimensions: how many to keep at most.
        seed: of the randomised decomposition, which wide features get.

    Returns:
        (N, d) float32, d at most `dimensions`; zeros where all rows are alike.
    """
    from sklearn.decomposition import PCA

    values = as_table(features)
    scale = measure_scale(values)
    sample = scale(values[spaced(len(values), SAMPLE)])
    kept = min(dimensions, *sample.shape)
    if kept == 0 or not sample.any():
        return np.zeros((len(values), max(1, kept)), dtype=np.float32)
    solver = "covariance_eigh" if sample.shape[1] <= _DENSE else "randomized"
    found: Any = PCA(kept, svd_solver=solver, random_state=seed).fit(sample)
    axes, centre = found.components_.T.astype(np.float32), found.mean_.astype(np.float32)
    out = np.empty((len(values), kept), dtype=np.float32)
    for part in chunks(len(values)):
        out[part] = (scale(values[part]) - centre) @ axes
    return out


def nearest_squared(points: Floats, others: Floats) -> Floats:
    """Squared distance of each of (N, d) points to the nearest of (M, d) others: (N,) float32, inf without others."""
    found = np.full(len(points), np.inf, dtype=np.float32)
    lengths = np.einsum("ij,ij->i", points, points)
    for part in chunks(len(others), 256):
        block = others[part]
        for rows in chunks(len(points)):
            squared = points[rows] @ (-2 * block.T)
            squared += np.einsum("ij,ij->i", block, block)
            np.minimum(found[rows], squared.min(axis=1) + lengths[rows], out=found[rows])
    return np.maximum(found, 0)


def as_table(features: npt.ArrayLike) -> npt.NDArray[Any]:
    """Features as a table of two dimensions.

    Raises:
        ValueError: they are none.
    """
    values = np.asarray(features)
    if values.ndim != 2:
        raise ValueError(f"features have shape {values.shape}; a row a patch is needed")
    return values


def chunks(count: int, size: int = _CHUNK) -> Iterator[slice]:
    """Slices that cover 0..count-1."""
    for start in range(0, count, size):
        yield slice(start, min(start + size, count))
