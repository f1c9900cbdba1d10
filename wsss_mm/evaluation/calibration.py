"""Whether a network is as often right as it says: a temperature, the calibration error, risk over coverage.

The temperature is the one number that logits are divided by (Guo et al., "On calibration of modern neural networks",
ICML 2017); it changes no prediction. Of probabilities that were averaged it is the power 1 / temperature.
"""

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from wsss_mm.vocabulary import IGNORE

BINS = 15
"""Of equal width, as in most of what is published: one of the pixels that are as good as certain, where most are."""

COLUMNS = ("when", "level", "pixels", "right", "confidence")
"""Of the table of a `Calibration`."""
_WHEN = ("before", "after")

HOTTEST, COLDEST = 5.0, 0.2
"""A temperature is held between these: a validation split without an error would ask for 0."""

_PER_BIN, _PER_HALVING, _LEAST_DOUBT = 20, 8, 20
EDGES = np.unique(
    np.concatenate(
        [
            np.linspace(0, 1, BINS * _PER_BIN + 1),
            1 - 2.0 ** -(np.arange(4 * _PER_HALVING, _LEAST_DOUBT * _PER_HALVING) / _PER_HALVING),
        ]
    )
)
"""Of the levels of confidence that pixels are counted by: a twentieth of a bin, and finer towards 1, where most are."""
_BIN_OF_LEVEL = np.minimum(((EDGES[:-1] + EDGES[1:]) / 2 * BINS).astype(np.intp), BINS - 1)
_COVERAGES = 20
_HALVINGS = 50  # of the range that the temperature lies in, at most
_DECIMALS = 4


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
        if round(1 / low, _DECIMALS) == round(1 / high, _DECIMALS):
            break  # whatever lies between them is this
        middle = (low + high) / 2
        weights = np.exp(middle * scores)
        expected = ((weights * scores).sum(axis=1) / weights.sum(axis=1)).mean()
        low, high = (low, middle) if expected > own else (middle, high)
    return round(2 / (low + high), _DECIMALS)


def tempered(probabilities: npt.NDArray[np.floating], temperature: float) -> npt.NDArray[np.floating]:
    """Probabilities (C, ...) at a temperature, which sum to 1 over C."""
    powers = np.power(probabilities, 1 / temperature)
    return powers / powers.sum(axis=0, keepdims=True)


class Reliability:
    """Pixels by how sure the network was of their class, added up as they come: memory does not grow with them.

    Attributes:
        pixels: by level of confidence, see `EDGES`.
        right: of them those whose class was right.
        confidence: sum of it.
    """

    def __init__(self) -> None:
        self.pixels, self.right, self.confidence = np.zeros((3, len(EDGES) - 1))

    def add(self, probabilities: npt.NDArray[np.floating], truth: npt.NDArray[np.uint8]) -> None:
        """Add a patch.

        Args:
            probabilities: (C, H, W), sum 1 over C.
            truth: (H, W), 0..C-1 or `IGNORE`.
        """
        known = truth != IGNORE
        confidence = probabilities.max(axis=0)[known].astype(np.float64)
        right = (probabilities.argmax(axis=0)[known] == truth[known]).astype(np.float64)
        levels = np.clip(np.searchsorted(EDGES, confidence) - 1, 0, len(EDGES) - 2)
        self.pixels += np.bincount(levels, minlength=len(self.pixels))
        self.right += np.bincount(levels, right, len(self.pixels))
        self.confidence += np.bincount(levels, confidence, len(self.pixels))

    @property
    def error(self) -> float | None:
        """Expected calibration error: mean distance of confidence and accuracy over the bins; None without a pixel."""
        total = self.pixels.sum()
        off = np.bincount(_BIN_OF_LEVEL, self.confidence - self.right, BINS)
        return float(np.abs(off).sum() / total) if total else None

    def risk_coverage(self) -> list[list[float]]:
        """Pairs of coverage and risk: a share of the pixels, the surest ones, and the share of them that is wrong.

        Levels of equal confidence are taken as a whole, so that coverages are only about 1/20, 2/20 and so on.
        """
        covered, right = (np.cumsum(part[::-1]) for part in (self.pixels, self.right))
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

    def table(self) -> pd.DataFrame:
        """What all figures follow from: `when` (before, after), `level`, and the columns of `Reliability`."""
        rows = []
        for when in _WHEN:
            found: Reliability = getattr(self, when)
            rows += [
                (when, level, int(found.pixels[level]), int(found.right[level]), found.confidence[level])
                for level in np.flatnonzero(found.pixels).tolist()
            ]
        return pd.DataFrame(rows, columns=list(COLUMNS))

    @classmethod
    def of_table(cls, table: pd.DataFrame, temperature: float) -> "Calibration":
        """Back from its table.

        Raises:
            ValueError: it is none.
        """
        made = cls(temperature)
        for when in _WHEN:
            found, rows = getattr(made, when), table[table["when"] == when]
            levels = rows["level"].to_numpy(np.intp)
            if len(set(levels)) != len(levels) or not ((levels >= 0) & (levels < len(found.pixels))).all():
                raise ValueError("a level is none, or there twice")
            for name in COLUMNS[2:]:
                getattr(found, name)[levels] = rows[name].to_numpy(np.float64)
        return made

    def figures(self) -> dict[str, Any]:
        """For the metrics of a split."""
        return {
            "temperature": self.temperature,
            "bins": BINS,
            "error_before": self.before.error,
            "error_after": self.after.error,
            "risk_coverage": self.after.risk_coverage(),
        }
