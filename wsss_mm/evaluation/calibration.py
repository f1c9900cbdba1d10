"""Whether a network is as often right as it says: a temperature, the calibration error, risk over coverage.

The temperature is the one number that logits are divided by (Guo et al., "On calibration of modern neural networks",
ICML 2017); it changes no prediction. Of probabilities that were averaged it is the power 1 / temperature.
"""

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from wsss_mm.vocabulary import IGNORE

BINS = 15
"""Of equal width, as in most of what is published: one of the pixels that are as good as certain, where most are."""

HOTTEST, COLDEST = 5.0, 0.2
"""A temperature is held between these: a validation split without an error would ask for 0."""

_LEVELS, _PER_HALVING = 1024, 64  # of confidence, finer towards 1, where most pixels are
_COVERAGES = 20
_HALVINGS = 50  # of the range that the temperature lies in


def fit_temperature(logits: npt.NDArray[np.floating], truth: npt.NDArray[np.integer]) -> float | None:
    """The temperature with the least negative log-likelihood.

    It is found as its inverse, in which the likelihood is concave, by halving.

    Args:
        logits: (N, C).
        truth: (N,) classes, 0..C-1 or `IGNORE`.

    Returns:
        Four decimals of it; None where no pixel has a class.
    """
    known = truth != IGNORE
    scores, actual = logits[known].astype(np.float64), truth[known].astype(np.intp)
    if not len(scores):
        return None
    scores -= scores.max(axis=1, keepdims=True)
    own = scores[np.arange(len(scores)), actual].mean()
    low, high = 1 / HOTTEST, 1 / COLDEST
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        weights = np.exp(middle * scores)
        expected = ((weights * scores).sum(axis=1) / weights.sum(axis=1)).mean()
        low, high = (low, middle) if expected > own else (middle, high)
    return round(2 / (low + high), 4)


def tempered(probabilities: npt.NDArray[np.floating], temperature: float) -> npt.NDArray[np.floating]:
    """Probabilities (C, ...) at a temperature, which sum to 1 over C."""
    powers = np.power(probabilities, 1 / temperature)
    return powers / powers.sum(axis=0, keepdims=True)


class Reliability:
    """Pixels by how sure the network was of its class, added up as they come: memory does not grow with them.

    Attributes:
        count: pixels, by bin of confidence.
        right: of them those whose class was right.
        confidence: sum of it.
        levels: pixels, by finer levels of confidence.
        levels_right: of them those whose class was right.
    """

    def __init__(self) -> None:
        self.count, self.right, self.confidence = np.zeros((3, BINS))
        self.levels, self.levels_right = np.zeros((2, _LEVELS))

    def add(self, probabilities: npt.NDArray[np.floating], truth: npt.NDArray[np.uint8]) -> None:
        """Add a patch.

        Args:
            probabilities: (C, H, W), sum 1 over C.
            truth: (H, W), 0..C-1 or `IGNORE`.
        """
        known = truth != IGNORE
        confidence = probabilities.max(axis=0)[known].astype(np.float64)
        right = (probabilities.argmax(axis=0)[known] == truth[known]).astype(np.float64)
        bins = np.clip(np.ceil(confidence * BINS).astype(np.intp) - 1, 0, BINS - 1)
        finer = np.clip(-np.log2(np.maximum(1 - confidence, 2.0**-_LEVELS)) * _PER_HALVING, 0, _LEVELS - 1)
        levels = finer.astype(np.intp)
        self.count += np.bincount(bins, minlength=BINS)
        self.right += np.bincount(bins, right, BINS)
        self.confidence += np.bincount(bins, confidence, BINS)
        self.levels += np.bincount(levels, minlength=_LEVELS)
        self.levels_right += np.bincount(levels, right, _LEVELS)

    @property
    def error(self) -> float | None:
        """Expected calibration error: mean distance of confidence and accuracy over the bins; None without a pixel."""
        total = self.count.sum()
        return float(np.abs(self.confidence - self.right).sum() / total) if total else None

    def risk_coverage(self) -> list[list[float]]:
        """Pairs of coverage and risk: a share of the pixels, the surest ones, and the share of them that is wrong.

        Levels of equal confidence are taken as a whole, so that coverages are only about 1/20, 2/20 and so on.
        """
        covered, right = (np.cumsum(part[::-1]) for part in (self.levels, self.levels_right))
        total = covered[-1]
        if not total:
            return []
        wanted = np.arange(1, _COVERAGES + 1) * total / _COVERAGES
        places = np.unique(np.searchsorted(covered, wanted - 1e-9))
        return [[float(covered[at] / total), float(1 - right[at] / covered[at])] for at in places]


@dataclass
class Calibration:
    """Reliability of a split before and after a temperature."""

    temperature: float = 1.0
    before: Reliability = field(default_factory=Reliability)
    after: Reliability = field(default_factory=Reliability)

    def add(self, probabilities: npt.NDArray[np.floating], truth: npt.NDArray[np.uint8]) -> None:
        """See `Reliability.add`."""
        self.before.add(probabilities, truth)
        self.after.add(tempered(probabilities, self.temperature), truth)

    def figures(self) -> dict[str, Any]:
        """For the metrics of a split."""
        return {
            "temperature": self.temperature,
            "bins": BINS,
            "error_before": self.before.error,
            "error_after": self.after.error,
            "risk_coverage": self.after.risk_coverage(),
        }
