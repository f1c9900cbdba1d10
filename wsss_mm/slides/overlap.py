"""Whether two slides show the same tissue, whole or in part, mirrored or turned.

Two overviews of equal um/px are laid over each other where the phase of their spectra agrees best (Kuglin and Hines,
IEEE Conf. Cybernetics and Society 1975), in each of the eight positions; then what both show of tissue there must
correlate.
"""

from dataclasses import dataclass
from functools import cached_property

import cv2
import numpy as np
import numpy.typing as npt

_SIDE = 128  # px of a sketch
_OCTAVES = 3  # how many times a slide is sketched, each time at half the size
_ALL = 0.99  # share of a pixel that is tissue
_RIM = 0.01  # of the longer side
_LEAST = 150  # px of tissue that both show

Grey = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Sketch:
    """A small picture of a slide: `darkness` (H, W), 0 where there is no tissue, at 2**`octave` um/px."""

    darkness: Grey
    octave: int

    @cached_property
    def spectrum(self) -> npt.NDArray[np.complex64]:
        """Phases (`_SIDE`, `_SIDE` / 2 + 1)."""
        waves = np.fft.rfft2(self.darkness, (_SIDE, _SIDE)).astype(np.complex64)
        return waves / np.maximum(np.abs(waves), 1e-6)

    @cached_property
    def positions(self) -> "tuple[Sketch, ...]":
        """It in its eight positions."""
        turned = [np.rot90(self.darkness, turns) for turns in range(4)]
        return tuple(Sketch(np.ascontiguousarray(image), self.octave) for each in turned for image in (each, each.T))


def sketches(overview: npt.NDArray[np.uint8], tissue: npt.NDArray[np.bool_], mpp: float) -> list[Sketch]:
    """Sketches of a slide, the finest first.

    Args:
        overview: (H, W, 3) uint8 RGB of the whole slide.
        tissue: (H, W), where in it is tissue.
        mpp: um/px of the overview.
    """
    darkness = 255.0 - cv2.cvtColor(overview, cv2.COLOR_RGB2GRAY)
    finest = int(np.ceil(np.log2(max(darkness.shape) * mpp / _SIDE)))
    found = []
    for octave in range(finest, finest + _OCTAVES):
        size = [max(1, round(side * mpp / 2.0**octave)) for side in darkness.shape[::-1]]
        small, share = (
            cv2.resize(image.astype(np.float32), size, interpolation=cv2.INTER_AREA) for image in (darkness, tissue)
        )
        inner = _inner(share > _ALL, 1)  # outlines are alike where tissue is not: cores of an array
        found.append(Sketch(np.where(inner, np.maximum(small, 1e-3), 0), octave))
    return found


def tissue_alone(overview: npt.NDArray[np.uint8], tissue: npt.NDArray[np.bool_]) -> npt.NDArray[np.uint8]:
    """The tissue of an overview, as RGB without margins; outlines vanish, as glass gets the tissue's mean colour."""
    tissue = _inner(tissue, round(max(tissue.shape) * _RIM))
    if not tissue.any():
        return np.zeros((1, 1, 3), np.uint8)
    filled = overview.copy()
    filled[~tissue] = overview[tissue].mean(axis=0).astype(np.uint8)
    rows, columns = (np.flatnonzero(tissue.any(axis=axis)) for axis in (1, 0))
    return filled[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]


def overlap(one: list[Sketch], other: list[Sketch]) -> float:
    """Correlation, -1..1, of the tissue that two slides have in common in the best position; 0 without any."""
    octave = max(one[0].octave, other[0].octave)
    if octave > min(one[-1].octave, other[-1].octave):
        return 0.0
    first, second = one[octave - one[0].octave], other[octave - other[0].octave]
    return max(_alike(first, position) for position in second.positions)


def _inner(mask: npt.NDArray[np.bool_], rim: int) -> npt.NDArray[np.bool_]:
    """A mask without its outermost `rim` px."""
    return cv2.erode(mask.astype(np.uint8), np.ones((2 * rim + 1, 2 * rim + 1), np.uint8)).astype(bool)


def _alike(first: Sketch, second: Sketch) -> float:
    agreement = np.fft.irfft2(first.spectrum * second.spectrum.conj(), (_SIDE, _SIDE))
    agreement = cv2.GaussianBlur(agreement, (0, 0), 0.7, borderType=cv2.BORDER_DEFAULT)
    down, right = np.unravel_index(int(agreement.argmax()), agreement.shape)
    shifts = [(y, x) for y in (down, down - _SIDE) for x in (right, right - _SIDE)]
    return max(_correlation(first.darkness, second.darkness, int(y), int(x)) for y, x in shifts)


def _correlation(first: Grey, second: Grey, down: int, right: int) -> float:
    """Of the tissue that both show, when `second` is moved."""
    own, others = _window(first.shape, second.shape, down, right), _window(second.shape, first.shape, -down, -right)
    a, b = first[own], second[others]
    both = (a > 0) & (b > 0)
    if both.sum() < _LEAST:
        return 0.0
    a, b = a[both] - a[both].mean(), b[both] - b[both].mean()
    return float(a @ b / max(np.sqrt((a @ a) * (b @ b)), 1e-6))


def _window(shape: tuple[int, ...], other: tuple[int, ...], down: int, right: int) -> tuple[slice, slice]:
    rows = slice(max(0, down), max(0, min(shape[0], other[0] + down)))
    return rows, slice(max(0, right), max(0, min(shape[1], other[1] + right)))
