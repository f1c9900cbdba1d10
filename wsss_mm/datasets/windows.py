"""Training samples beyond the bounds of one patch: windows over a slide's patches, and mosaics of several samples."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from wsss_mm.patches.neighbours import Places
from wsss_mm.vocabulary import IGNORE

_GLASS = 255  # of an image, where no patch lies

Results = dict[str, Any]


def window_corner(places: Places, index: int, size: int, rng: np.random.Generator) -> npt.NDArray[np.int64]:
    """Place (x, y) of a window, px, whose middle half holds the centre of a patch.

    It is moved to hold as little as can be of what lies outside the slide's patches, which may take it further away.

    Args:
        places: of patches.
        index: of the patch.
        size: of the window, px.
        rng: chooses.
    """
    found = places.on_slide_of(index)
    low = places.corners[found].min(axis=0)
    high = (places.corners[found] + places.sizes[found, None]).max(axis=0)
    middle = places.corners[index] + places.sizes[index] / 2
    corner = np.round(middle + rng.uniform(-size / 4, size / 4, 2) - size / 2).astype(np.int64)
    # Where the window is larger than what the slide has, anywhere around it.
    return np.clip(corner, np.minimum(low, high - size), np.maximum(low, high - size))


def compose(
    places: Places,
    index: int,
    corner: npt.NDArray[np.int64],
    size: int,
    decoded: Callable[[int], Results],
) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.uint8]]:
    """What lies in a window over the patches of a slide.

    Args:
        places: of patches.
        index: of the patch whose slide it is; where patches differ, its pixels count.
        corner: x and y of the window, px.
        size: of the window, px.
        decoded: gives `img` and `gt_seg_map` of a patch.

    Returns:
        Image (size, size, 3), white where no patch lies, and labels (size, size), `IGNORE` there.
    """
    image = np.full((size, size, 3), _GLASS, np.uint8)
    labels = np.full((size, size), IGNORE, np.uint8)
    found = places.meeting(index, corner, size)
    for other in [*found[found != index], *found[found == index]]:
        record = decoded(int(other))
        offset = places.corners[other] - corner
        left, top = np.maximum(offset, 0)
        right, bottom = np.minimum(offset + places.sizes[other], size)
        source = np.s_[top - offset[1] : bottom - offset[1], left - offset[0] : right - offset[0]]
        image[top:bottom, left:right] = record["img"][source]
        known = record["gt_seg_map"][source]
        np.copyto(labels[top:bottom, left:right], known, where=known != IGNORE)
    return image, labels


def mosaic(parts: Sequence[Results], rng: np.random.Generator) -> Results:
    """Four samples in one: a point is chosen in its middle half, and each quarter around it shows a sample's own.

    So a network sees tissues side by side that no patch holds together, and cannot judge a pixel by its patch alone.

    Args:
        parts: four samples with `img` and `gt_seg_map` of one size; the first also gives everything else.
        rng: chooses.
    """
    image, labels = parts[0]["img"].copy(), parts[0]["gt_seg_map"].copy()
    height, width = labels.shape
    row = int(rng.integers(height // 4, height - height // 4 + 1))
    column = int(rng.integers(width // 4, width - width // 4 + 1))
    quarters = np.s_[:row, column:], np.s_[row:, :column], np.s_[row:, column:]
    for part, quarter in zip(parts[1:], quarters, strict=True):
        image[quarter], labels[quarter] = part["img"][quarter], part["gt_seg_map"][quarter]
    return {**parts[0], "img": image, "gt_seg_map": labels}
