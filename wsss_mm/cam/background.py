"""White background of a patch: lumen and glass, which belong to no tissue (METHOD.md section 3)."""

from typing import cast

import cv2
import numpy as np
import numpy.typing as npt


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
