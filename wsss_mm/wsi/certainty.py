"""How sure a map is of each pixel: the margin between its two likeliest classes, after the model's temperature.

The margin is 0 where two classes are as likely as each other, so that the map might as well say the other one, and 1
where one is certain. It says the same whatever the number of classes, and a third class that is out of the question
changes nothing; entropy has neither.
"""

from functools import cache

import matplotlib as mpl
import numpy as np
from numpy.typing import NDArray

from wsss_mm.slides.pyramid import RowMap
from wsss_mm.vocabulary import IGNORE, IGNORE_COLOR
from wsss_mm.wsi.rawmap import RawMap

NONE = 0
"""Value of a pixel without a class; 1..255 are confidences 0..1."""

_STEPS = 254
_COLOURS = "viridis"  # dark is unsure; also for those who see fewer colours


def confidence(probabilities: NDArray[np.float32], temperature: float = 1.0) -> NDArray[np.uint8]:
    """Confidence of each pixel of a map.

    Args:
        probabilities: (C, rows, width), of any sum; they are taken to the power of 1 / temperature, which is the
            temperature of a softmax and leaves the likeliest class as it is.
        temperature: of the model.

    Returns:
        (rows, width) uint8, 1..255 for 0..1.
    """
    found = np.empty(probabilities.shape[1:], np.uint8)
    for row, values in enumerate(found):  # a row stays in the cache
        values[:] = _of_row(probabilities[:, row], temperature)
    return found


def _of_row(probabilities: NDArray[np.float32], temperature: float) -> NDArray[np.uint8]:
    if len(probabilities) == 1:
        return np.full(probabilities.shape[1], 1 + _STEPS, np.uint8)
    best = probabilities.max(axis=0)
    shares = probabilities / np.where(best > 0, best, 1)  # of the best; 0 far from tissue
    if temperature != 1:
        shares = np.power(shares, 1 / temperature)
    second = np.partition(shares, -2, axis=0)[-2]
    margin = np.where(best > 0, (1 - second) / np.maximum(shares.sum(axis=0), 1), 0)
    return (1 + np.rint(_STEPS * margin)).astype(np.uint8)


def share_of(value: NDArray[np.floating] | float) -> NDArray[np.floating] | float:
    """The confidence 0..1 that a value 1..255 stands for."""
    return (value - 1) / _STEPS


class Sure:
    """Rows of a finished map, `IGNORE` where the network was not sure enough.

    Args:
        labels: the map.
        certainty: its confidence.
        least: 0..1, pixels with less have no class.
    """

    dtype = np.dtype(np.uint8)

    def __init__(self, labels: RawMap, certainty: RowMap, least: float) -> None:
        self._labels, self._certainty, self._least = labels, certainty, 1 + least * _STEPS
        self.shape, self.size = labels.shape, labels.size

    def __getitem__(self, rows: int | slice) -> NDArray[np.uint8]:
        if isinstance(rows, int | np.integer):
            return self[int(rows) : int(rows) + 1][0]
        return np.where(self._certainty[rows] < self._least, np.uint8(IGNORE), self._labels[rows])


@cache
def ramp() -> tuple[int, ...]:
    """Colour table of a confidence, 768 values: from dark to bright, and that of no class."""
    colours = (np.array(mpl.colormaps[_COLOURS].resampled(1 + _STEPS)(np.arange(1 + _STEPS)))[:, :3] * 255).round()
    return (*IGNORE_COLOR, *colours.astype(int).ravel().tolist())
