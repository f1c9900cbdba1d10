"""What an image of tissue looks like, in numbers: focus, brightness and stain, of patches, candidates and overviews.

Focus is the variance of the Laplacian of the grey image (Pech-Pacheco et al., ICPR 2000). Stain is the mean optical
density of the tissue, split into haematoxylin, eosin and a rest by colour deconvolution (Ruifrok and Johnston, Anal.
Quant. Cytol. Histol. 2001). Deconvolution is linear, so the mean density is split once, not every pixel.
"""

from functools import cache

import cv2
import numpy as np
import numpy.typing as npt

from wsss_mm.patches.images import GLASS_GREY
from wsss_mm.slides.pen import find_pen

STATISTICS = ("focus", "brightness", "haematoxylin", "eosin")
"""Keys of `image_statistics`."""

DENSITY = (-np.log10((np.arange(256) + 1) / 256)).astype(np.float32)
"""Optical density of a pixel's value, 0..255: a table for `cv2.LUT`."""

_HAEMATOXYLIN, _EOSIN = (0.65, 0.70, 0.29), (0.07, 0.99, 0.11)  # optical densities in R, G, B
_NO_TISSUE = 1e-3  # share of the pixels


def image_statistics(image: npt.NDArray[np.uint8], mpp: float | None = None) -> dict[str, float]:
    """Focus, brightness and stain of the tissue of an image; NaN where it has none.

    Args:
        image: (H, W, 3) uint8 RGB.
        mpp: um/px; where it is given, pen on the glass is no tissue.

    Returns:
        `focus`: variance of the Laplacian, grey values squared. `brightness`: mean grey value, 0..255.
        `haematoxylin`, `eosin`: mean optical density of each stain; in grey or inverted images eosin is below zero.
    """
    grey = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
    tissue = grey <= GLASS_GREY
    if mpp is not None:
        tissue &= ~find_pen(image, mpp, tissue)
    if tissue.mean() < _NO_TISSUE:
        return dict.fromkeys(STATISTICS, float("nan"))
    laplacian = cv2.Laplacian(grey, cv2.CV_32F)[tissue]
    haematoxylin, eosin, _ = _mean_density(image, tissue) @ unmixing()
    return {
        "focus": float(laplacian.var(dtype=np.float64)),
        "brightness": float(grey[tissue].mean()),
        "haematoxylin": float(haematoxylin),
        "eosin": float(eosin),
    }


def _mean_density(image: npt.NDArray[np.uint8], where: npt.NDArray[np.bool_]) -> npt.NDArray[np.float64]:
    """(3,) mean optical density of some pixels: of a table of 256 values, it is in how often each of them occurs."""
    mask = where.view(np.uint8)
    counts = np.stack([cv2.calcHist([image], [channel], mask, [256], [0, 256]).ravel() for channel in range(3)], axis=1)
    return DENSITY.astype(np.float64) @ counts.astype(np.float64) / np.count_nonzero(where)


@cache
def unmixing() -> npt.NDArray[np.float64]:
    """Matrix (3, 3), read-only, that turns densities in R, G, B into haematoxylin, eosin and what is left."""
    stains = np.array([_HAEMATOXYLIN, _EOSIN], dtype=np.float64)
    stains = np.vstack([stains, np.cross(*stains)])
    matrix = np.linalg.inv(stains / np.linalg.norm(stains, axis=1, keepdims=True))
    matrix.setflags(write=False)
    return matrix
