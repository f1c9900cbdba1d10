"""What a patch looks like, in numbers that no network made: colour, stain and texture, for the order of labelling.

The published figures of `studies/labels.py` rest on these numbers; the labelling page has others, of stains too, in
`wsss_mm/features/statistics.py`.
"""

from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
import pandas as pd
from tqdm import tqdm

from wsss_mm.patches.images import read_image

Pixels = npt.NDArray[np.uint8]

_SHARES = (5, 25, 50, 75, 95)  # percentiles of a channel
_BLURS = (1.0, 2.0, 4.0, 8.0)  # px
_RINGS = 256


def looks_of(rows: pd.DataFrame, folder: Path) -> npt.NDArray[np.float32]:
    """`look` of each row of a manifest, (N, D), under a progress bar."""
    paths = tqdm(rows["path"], desc="looks", unit="patch")
    return np.array([look(read_image(folder / path)) for path in paths], dtype=np.float32)


def look(image: Pixels) -> npt.NDArray[np.float32]:
    """Colour percentiles, contrast at four widths, direction, and local binary patterns of an RGB image (H, W, 3)."""
    lab = cv2.cvtColor(image.astype(np.float32) / 255, cv2.COLOR_RGB2LAB)
    grey: npt.NDArray[Any] = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
    found: list[float] = []
    for channel in (*np.moveaxis(lab, -1, 0), *np.moveaxis(image.astype(np.float32), -1, 0)):
        found += [float(channel.mean()), float(channel.std()), *np.percentile(channel, _SHARES).tolist()]
    for channel in (lab[..., 0], lab[..., 1]):
        for blur in _BLURS:
            smooth = cv2.GaussianBlur(channel, (0, 0), blur)
            found += [float(smooth.std()), float(cv2.Laplacian(smooth, cv2.CV_32F).std())]
    across, down = (cv2.Sobel(grey, cv2.CV_32F, *axis) for axis in ((1, 0), (0, 1)))
    xx, yy, xy = ((a * b).mean() for a, b in ((across, across), (down, down), (across, down)))
    found += [float(np.hypot(xx - yy, 2 * xy) / (xx + yy + 1e-6)), float(np.log1p(xx + yy)), float((grey > 220).mean())]
    return np.array([*found, *_binary_patterns(grey)], dtype=np.float32)


def _binary_patterns(grey: npt.NDArray[Any]) -> npt.NDArray[np.float64]:
    """Shares of uniform local binary patterns (Ojala et al., PAMI 2002) of 8 neighbours, and of all others: (10,)."""
    inner = grey[1:-1, 1:-1]
    code = np.zeros(inner.shape, dtype=np.int64)
    ring = ((0, 0), (0, 1), (0, 2), (1, 2), (2, 2), (2, 1), (2, 0), (1, 0))
    for bit, (y, x) in enumerate(ring):
        code |= (grey[y : y + inner.shape[0], x : x + inner.shape[1]] > inner).astype(np.int64) << bit
    values = np.arange(_RINGS)
    changes = np.array([bin(value ^ ((value >> 1) | ((value & 1) << 7))).count("1") for value in values])
    ones = np.array([bin(value).count("1") for value in values])
    return np.bincount(np.where(changes <= 2, ones, 9)[code].ravel(), minlength=10) / max(1, code.size)
