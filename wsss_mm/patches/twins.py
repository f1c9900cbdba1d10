"""Finding a picture again that was re-encoded, mirrored or turned: two such patches in two splits are a leak.

A picture is looked at as 32 x 32 px, here in grey. Mirroring changes only signs of its cosine transform, a quarter turn
exchanges rows and columns besides, so that sums and differences of the sizes of transposed coefficients stay what they
are: near neighbours among those are candidates, by one matrix product. Candidates are compared in all eight positions.
"""

from typing import cast

import cv2
import numpy as np
import numpy.typing as npt

SIDE = 32
"""px of a look."""
READ = 160
"""px that a patch has to be read as, or all it has, for a look to be compared with another one by `look_difference`.

Levels of a pyramid may hold every fourth pixel, or every sixteenth. Read as a look, a patch that is as large as 32 px
of one of them is just those pixels; as 160 px, each place that is compared averages 25 of them or more.
"""

_GREY = np.array([0.299, 0.587, 0.114], np.float32)
_FREQUENCIES = 16  # lowest cosines that are compared along each axis; finer ones are the encoder's
_CANDIDATE = 0.92  # cosine of what no position changes
_SAME = 0.8  # correlation of two pictures in the best of the eight positions
_FLAT = 2.0  # grey levels; a picture that varies less shows nothing
_BLOCK = 1024  # pictures that are compared with all others at once

Looks = npt.NDArray[np.uint8]  # (N, SIDE, SIDE, 3)


def look(image: npt.NDArray[np.uint8]) -> Looks:
    """An RGB image (H, W, 3) uint8, small: (SIDE, SIDE, 3)."""
    return cast("Looks", cv2.resize(image, (SIDE, SIDE), interpolation=cv2.INTER_AREA))


def look_difference(one: Looks, other: Looks) -> float:
    """Mean difference of two looks, grey levels, or a third of that of the place where they differ most.

    Halves of them are compared, which do not tell how a slide was resampled.
    """
    halves = (each.reshape(SIDE // 2, 2, SIDE // 2, 2, 3).mean(axis=(1, 3)) for each in (one, other))
    places = np.abs(np.subtract(*halves)).mean(axis=2)
    return float(max(places.mean(), places.max() / 3))


def twins(looks: Looks, groups: npt.ArrayLike | None = None) -> list[tuple[int, int]]:
    """Pairs of pictures that show the same, up to encoding, flips and quarter turns.

    Args:
        looks: (N, SIDE, SIDE, 3), one a picture.
        groups: (N,), the split of each: pairs in one split are passed over.

    Returns:
        Pairs of indices in order, the smaller first.
    """
    grey = looks.astype(np.float32) @ _GREY
    shown = np.flatnonzero(grey.std(axis=(1, 2)) >= _FLAT) if len(grey) else []
    if not len(shown):
        return []
    waves = _waves(grey[shown])
    steady = _unit(_steady(waves))
    flat = _unit(waves.reshape(len(waves), -1))
    groups = np.asarray(range(len(looks)) if groups is None else groups)[shown]
    pairs = []
    for start in range(0, len(shown), _BLOCK):
        like = steady[start : start + _BLOCK] @ steady[start:].T >= _CANDIDATE
        like &= groups[start : start + _BLOCK, None] != groups[None, start:]
        for first, second in np.argwhere(np.triu(like, 1)) + start:
            if (_positions(waves[first]).reshape(8, -1) @ flat[second]).max() >= _SAME * np.linalg.norm(waves[first]):
                pairs.append((int(shown[first]), int(shown[second])))
    return pairs


def _waves(grey: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """(N, K, K) cosine coefficients, the finer ones raised to what the coarse ones have in tissue; without the mean."""
    number = np.arange(_FREQUENCIES)
    cosines = np.cos(np.pi / SIDE * (np.arange(SIDE) + 0.5) * number[:, None]).astype(np.float32)
    weights = np.hypot(number[:, None], number).astype(np.float32)
    return (cosines @ grey @ cosines.T) * weights


def _steady(waves: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """What of (N, K, K) coefficients no flip or turn changes; as long as they are."""
    upper, diagonal = np.triu_indices(_FREQUENCIES, 1), np.arange(1, _FREQUENCIES)
    sizes = np.abs(waves)
    one, other = sizes[:, upper[0], upper[1]], sizes[:, upper[1], upper[0]]
    return np.hstack([(one + other) / np.sqrt(2), np.abs(one - other) / np.sqrt(2), sizes[:, diagonal, diagonal]])


def _positions(waves: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """The coefficients (K, K) of a picture in its eight positions."""
    signs = (-1.0) ** np.arange(_FREQUENCIES, dtype=np.float32)
    flips = [waves, waves * signs, waves * signs[:, None], waves * signs * signs[:, None]]
    return np.stack([*flips, *(flip.T for flip in flips)])


def _unit(rows: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    return rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-6)
