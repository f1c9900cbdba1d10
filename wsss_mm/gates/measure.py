"""Measures that Great Expectations can judge: colour between classes, drift between samples, pictures shown again."""

from collections.abc import Iterable

import cv2
import numpy as np
import numpy.typing as npt
import pandas as pd

from wsss_mm.patches.appearance import DENSITY
from wsss_mm.vocabulary import IGNORE


def colour_explained(image: npt.NDArray[np.uint8], labels: npt.NDArray[np.uint8]) -> float:
    """How much of the variance of an image's optical densities lies between the classes of its label map, 0..1.

    Looked at in blocks of 4 x 4 px. NaN where it has fewer than two classes.
    """
    height, width = (max(1, side // 4) for side in labels.shape)
    small = cv2.resize(cv2.LUT(image, DENSITY), (width, height), interpolation=cv2.INTER_AREA).reshape(-1, 3)
    classes = cv2.resize(labels, (width, height), interpolation=cv2.INTER_NEAREST).ravel()
    small, classes = small[classes != IGNORE].astype(np.float64), classes[classes != IGNORE]
    present = np.unique(classes)
    spread = small.var(axis=0).sum() if len(present) > 1 else 0.0
    if not spread:
        return float("nan")
    within = sum(small[classes == value].var(axis=0).sum() * (classes == value).mean() for value in present)
    return float(1 - within / spread)


def drift(values: npt.NDArray[np.float64], reference: npt.NDArray[np.float64]) -> tuple[float, float]:
    """How far a sample lies from a reference sample.

    Returns:
        The standardised difference of the means (by the pooled standard deviation), at least 0, and the
        Kolmogorov-Smirnov statistic, 0..1, the largest distance of the cumulative distributions; NaN for empty samples.
    """
    values, reference = (np.sort(sample[np.isfinite(sample)]) for sample in (values, reference))
    if not len(values) or not len(reference):
        return float("nan"), float("nan")
    spread = np.sqrt((values.var() + reference.var()) / 2)
    difference = abs(values.mean() - reference.mean())
    both = np.concatenate([values, reference])
    steps = [np.searchsorted(sample, both, side="right") / len(sample) for sample in (values, reference)]
    return float(difference / spread) if spread else float(difference > 0), float(np.abs(steps[0] - steps[1]).max())


def shown_again(
    ids: pd.Series, splits: pd.Series, pairs: Iterable[tuple[int, int]]
) -> dict[str, npt.NDArray[np.object_]]:
    """For each row another one that shows the same, in its split and in another, or "none"; `pairs` are of rows."""
    found = {name: np.full(len(ids), "none", object) for name in ("again_here", "again_elsewhere")}
    for pair in sorted(pairs):
        column = found["again_here" if splits.iloc[pair[0]] == splits.iloc[pair[1]] else "again_elsewhere"]
        for row, other in (pair, pair[::-1]):
            column[row] = str(ids.iloc[other])
    return found
