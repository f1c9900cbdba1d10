"""White background of a patch: lumen and glass, which belong to no tissue (METHOD.md section 3)."""

from typing import cast

import cv2
import numpy as np
import numpy.typing as npt

from wsss_mm.slide_parameters import DEFAULTS
from wsss_mm.vocabulary import IGNORE


def background_mask(image: np.ndarray, grey: int = 200, min_area: int = 50) -> np.ndarray:
    """Pixels brighter than a grey value, in components large enough to be a gap and not a speck.

    Args:
        image: RGB, (H, W, 3) uint8.
        grey: pixels whose grey value exceeds it are bright.
        min_area: 8-connected components of fewer pixels are dropped.

    Returns:
        (H, W) bool, true at background.
    """
    bright = cv2.cvtColor(np.ascontiguousarray(image), cv2.COLOR_RGB2GRAY) > grey
    if min_area <= 1:
        return bright
    _, labels, stats, _ = cv2.connectedComponentsWithStats(bright.astype(np.uint8), connectivity=8)
    large = stats[:, cv2.CC_STAT_AREA] >= min_area
    large[0] = False  # label 0 is what is not bright
    return large[cast("npt.NDArray[np.int32]", labels)]


def without_glass(image: np.ndarray, labels: npt.NDArray[np.uint8], mpp: float) -> npt.NDArray[np.uint8]:
    """Labels where a slide's map has a class: not on glass, but in small holes of the tissue; by the maps' defaults.

    Args:
        image: RGB, (H, W, 3) uint8.
        labels: its classes, (H, W), 0..C-1 or `IGNORE`.
        mpp: um/px of both.

    Returns:
        (H, W), the labels, and `IGNORE` on glass.
    """
    glass = background_mask(image, DEFAULTS.background_grey, round(DEFAULTS.min_hole / mpp**2))
    return np.where(glass, np.uint8(IGNORE), labels)
