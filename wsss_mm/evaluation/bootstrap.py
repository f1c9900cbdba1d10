"""Confidence intervals of segmentation metrics: percentile bootstrap (Efron 1979) over slides."""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from wsss_mm.evaluation.confusion import confusion_metrics
from wsss_mm.evaluation.judge import Judgement

_CHUNK = 1000  # resamples at a time


def bootstrap(judgement: Judgement, codes: Sequence[str], *, resamples: int, seed: int = 0) -> dict[str, Any]:
    """95 % intervals of the ungated and gated metrics.

    Pixels and patches of one slide are alike, so that whole slides are drawn; patches are where there is one slide,
    and then the interval says nothing about other slides.

    Args:
        judgement: what came of the split.
        codes: class codes.
        resamples: how many times the units are drawn with replacement.
        seed: of the draws.

    Returns:
        `unit` (slide or patch), `units`, `resamples`, `level`, and under `ungated` and `gated` a pair low, high for
        each metric of `segmentation_metrics`.
    """
    unit = "slide" if judgement.patches["slide_id"].nunique() > 1 else "patch"
    numbers, names = pd.factorize(judgement.patches[f"{unit}_id"])
    found: dict[str, Any] = {"unit": unit, "units": len(names), "resamples": resamples, "level": 0.95}
    for kind, matrices in (("ungated", judgement.patch_ungated), ("gated", judgement.patch_gated)):
        summed = np.zeros((len(names), len(codes), len(codes)), dtype=np.int64)
        np.add.at(summed, numbers, matrices)
        found[kind] = intervals(summed, codes, resamples=resamples, level=found["level"], seed=seed)
    return found


def intervals(
    matrices: npt.NDArray[np.int64], codes: Sequence[str], *, resamples: int, level: float = 0.95, seed: int = 0
) -> dict[str, list[float] | None]:
    """Percentile interval of each metric when the units are drawn with replacement.

    Args:
        matrices: (U, C, C), a confusion matrix a unit.
        codes: the C class codes.
        resamples: number of draws of U units.
        level: share of the resamples inside the interval.
        seed: of the draws.

    Returns:
        `[low, high]` by metric; None where no resample has the class. A resample without it counts for the others.
    """
    if len(matrices) == 0:
        return {}
    parts = list(_resampled(matrices, codes, resamples, seed))
    found: dict[str, list[float] | None] = {}
    for name in parts[0]:
        values = np.concatenate([part[name] for part in parts])
        values = values[~np.isnan(values)]
        found[name] = np.quantile(values, _tails(level)).tolist() if values.size else None
    return found


def paired_interval(
    before: npt.NDArray[np.int64],
    after: npt.NDArray[np.int64],
    codes: Sequence[str],
    *,
    resamples: int,
    level: float = 0.95,
    seed: int = 0,
) -> tuple[float, float]:
    """Percentile interval of the difference of mIoU when units are drawn with replacement, the same for both.

    Args:
        before: (U, C, C), a confusion matrix a unit.
        after: likewise, of the same units.
        codes: the C class codes.
        resamples: number of draws of U units.
        level: share of the resamples inside.
        seed: of the draws.
    """
    first, second = (
        np.concatenate([part["miou"] for part in _resampled(matrices, codes, resamples, seed)])
        for matrices in (before, after)
    )
    low, high = np.nanquantile(second - first, _tails(level))
    return float(low), float(high)


def _resampled(
    matrices: npt.NDArray[np.int64], codes: Sequence[str], resamples: int, seed: int
) -> Iterator[dict[str, npt.NDArray[np.float64]]]:
    """Metrics of the summed matrices of units that are drawn with replacement; the same draws for the same seed."""
    units, classes = len(matrices), len(codes)
    rng = np.random.default_rng(seed)
    flat = matrices.reshape(units, -1).astype(np.float64)
    for start in range(0, resamples, _CHUNK):
        counts = rng.multinomial(units, np.full(units, 1 / units), size=min(_CHUNK, resamples - start))
        yield confusion_metrics((counts @ flat).reshape(-1, classes, classes), codes)


def _tails(level: float) -> list[float]:
    return [(1 - level) / 2, (1 + level) / 2]
