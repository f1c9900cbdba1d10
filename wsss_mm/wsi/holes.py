"""Small holes of background in the tissue: what is white only because a few pixels of it are bright.

The grey threshold is asked of single pixels, and bright stroma or the pale middle of a nucleus punch pinholes
into the tissue. The network has seen them, so the map remembers what it said there until whole holes are known.
"""

from collections.abc import Callable

import numpy as np

from wsss_mm.slides.pyramid import RowMap
from wsss_mm.vocabulary import IGNORE
from wsss_mm.wsi.rawmap import RawMap
from wsss_mm.wsi.runs import Runs, bands, find_components, runs_of

MOST_CLASSES = 127
"""Classes that fit into a map of `covered` bytes."""

_COVERED = 0x80
_NEVER = 1 << 33  # px; more than any hole that is filled


def covered(labels: np.ndarray, beneath: np.ndarray) -> np.ndarray:
    """Both in a byte: the labels, and where they are `IGNORE` what is beneath, told apart by its highest bit.

    Args:
        labels: 0..127 or `IGNORE`.
        beneath: what it would be without the background, `IGNORE` where that is not known; of the same shape.
    """
    return np.where(labels == IGNORE, beneath | _COVERED, labels).astype(np.uint8)


def fill_holes(source: RowMap, target: RawMap, max_area: float) -> None:
    """Write a map of `covered` bytes as labels, with the small holes filled by what is beneath.

    A hole is background that tissue encloses: pixels that touch by an edge or a corner belong together, and neither
    reach the edge of the map nor a pixel of which nothing is known (outside the region of interest, not decodable).
    Memory holds some rows and four bytes a run of background.

    Args:
        source: rows of `covered`.
        target: gets 0..127 and `IGNORE`.
        max_area: px, larger holes stay, as do those of just that size; with 0 all do.
    """
    if max_area <= 0:
        for top, band in bands(source):
            target.write(top, np.where(_is_background(band), np.uint8(IGNORE), band))
        return
    component_of_run, areas = find_components(source, _is_background, diagonal=True, weigh=_weights(source.shape))
    small, seen = areas < max_area, 0
    for top, band in bands(source):
        runs = runs_of(_is_background(band), 0)
        filled = _painted(runs.where(small[component_of_run[seen : seen + len(runs.row)]]), band.shape)
        seen += len(runs.row)
        labels = np.where(_is_background(band) & ~filled, np.uint8(IGNORE), band)
        labels[filled] ^= _COVERED
        target.write(top, labels)


def _is_background(band: np.ndarray) -> np.ndarray:
    return band >= _COVERED


def _weights(shape: tuple[int, ...]) -> Callable[[Runs, int, np.ndarray], np.ndarray]:
    """The length of each run, or far too much where it makes its component no hole."""
    height, width = shape

    def weigh(runs: Runs, top: int, band: np.ndarray) -> np.ndarray:
        open_ended = (runs.row == 0) | (runs.row == height - 1) | (runs.start == 0) | (runs.stop == width)
        if (band == IGNORE).any():
            before = np.zeros(band.size + 1, np.int32)
            np.cumsum(band == IGNORE, out=before[1:])
            first = (runs.row - top) * width
            open_ended |= before[first + runs.stop] > before[first + runs.start]
        return np.where(open_ended, _NEVER, runs.stop - runs.start)

    return weigh


def _painted(runs: Runs, shape: tuple[int, int]) -> np.ndarray:
    """Mask of the pixels of runs."""
    change = np.zeros(shape[0] * shape[1] + 1, np.int8)
    change[runs.row * shape[1] + runs.start] += 1
    change[runs.row * shape[1] + runs.stop] -= 1
    return np.cumsum(change[:-1], dtype=np.int8).astype(bool).reshape(shape)
