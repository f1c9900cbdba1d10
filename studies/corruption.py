"""Two ways to spoil a true mask until a chosen share of its pixels is wrong."""

from typing import Literal

import cv2
import numpy as np
import numpy.typing as npt

from wsss_mm.vocabulary import IGNORE

Pixels = npt.NDArray[np.uint8]
Kind = Literal["pixels", "regions"]

_REACH = 12  # px, the furthest a border moves, as far as a CAM of output stride 8 is off
_BORDER_SHARE = 0.5  # of the wanted noise that borders may use up; wrong regions make the rest
_CELLS = 36  # into which large regions are cut, so that any level can be met


def corrupt(mask: Pixels, level: float, kind: Kind, classes: int, rng: np.random.Generator) -> Pixels:
    """Spoil a mask.

    `pixels` gives single pixels, chosen independently, a class drawn from the others: noise without structure.
    `regions` errs as class activation maps do: a class grows over its neighbours' borders, another shrinks, and whole
    regions get a wrong class that the patch holds (any other class where it holds one only).

    Args:
        mask: (H, W) uint8, 0..classes-1 and `IGNORE`, which stays.
        level: share of the labelled pixels to make wrong, 0..1.
        kind: see above.
        classes: C.
        rng: chooses.

    Returns:
        (H, W) uint8; the share of wrong pixels is `level` in expectation (`pixels`) or to within a cell (`regions`).
    """
    valid = mask != IGNORE
    if level == 0 or not valid.any():
        return mask.copy()
    if kind == "pixels":
        wrong = valid & (rng.random(mask.shape) < level)
        shift = rng.integers(1, classes, mask.shape)
        return np.where(wrong, (mask + shift) % classes, mask).astype(np.uint8)
    moved = _move_borders(mask, valid, level * _BORDER_SHARE, rng)
    return _replace_regions(mask, moved, level, classes, rng)


def _move_borders(mask: Pixels, valid: npt.NDArray[np.bool_], level: float, rng: np.random.Generator) -> Pixels:
    """Let one class after another grow over the rest, by steps, until `level` of the pixels is wrong."""
    moved = mask.copy()
    present = np.unique(mask[valid])
    wanted = level * valid.sum()
    if len(present) < 2:
        return moved
    for _ in range(len(present)):
        label = rng.choice(present)
        for _ in range(_REACH // 2):
            grown = cv2.dilate((moved == label).astype(np.uint8), np.ones((5, 5), np.uint8)).astype(bool) & valid
            candidate = np.where(grown, label, moved)
            if (candidate != mask)[valid].sum() > wanted:
                return moved
            moved = candidate.astype(np.uint8)
    return moved


def _replace_regions(mask: Pixels, moved: Pixels, level: float, classes: int, rng: np.random.Generator) -> Pixels:
    """Give connected regions, cut into cells where they are large, a wrong class until `level` is wrong."""
    result, valid = moved.copy(), mask != IGNORE
    present = [int(label) for label in np.unique(mask[valid])]
    wanted = level * valid.sum()
    cells = _cells(mask.shape, rng)
    regions = [(label, region) for label in present for region in _regions(valid & (moved == label), cells)]
    for index in rng.permutation(len(regions)):
        missing = wanted - (result != mask)[valid].sum()
        if missing <= 0:
            break
        label, region = regions[index]
        pool = [other for other in present if other != label] or [c for c in range(classes) if c != label]
        candidate = np.where(region, rng.choice(pool), result).astype(np.uint8)
        overshoot = (candidate != mask)[valid].sum() - wanted
        if overshoot <= missing:  # nearer to the level than without this region
            result = candidate
    return result


def _regions(selected: npt.NDArray[np.bool_], cells: npt.NDArray[np.int64]) -> list[npt.NDArray[np.bool_]]:
    """Connected regions; those larger than the mean cell are cut into their cells."""
    count, labels, stats, _ = cv2.connectedComponentsWithStats(selected.astype(np.uint8))
    regions = []
    for index in range(1, count):
        region = labels == index
        if stats[index, cv2.CC_STAT_AREA] <= region.size / _CELLS:
            regions.append(region)
        else:
            regions.extend(region & (cells == cell) for cell in np.unique(cells[region]))
    return regions


def _cells(shape: tuple[int, int], rng: np.random.Generator) -> npt.NDArray[np.int64]:
    """Which of some random points is nearest to each pixel."""
    points = rng.random((_CELLS, 2)) * shape
    y, x = np.indices(shape)
    return ((y[..., None] - points[:, 0]) ** 2 + (x[..., None] - points[:, 1]) ** 2).argmin(axis=-1)
