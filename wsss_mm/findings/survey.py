"""A look over a finished map: how much of each class at which confidence, and where each is surest and least sure."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import tifffile

from wsss_mm.errors import InputError
from wsss_mm.evaluation.areas import EDGES, level_of
from wsss_mm.places import CONFIDENCE, LABEL_MAP
from wsss_mm.slides.bands import MapLevel
from wsss_mm.wsi.certainty import NONE, share_of
from wsss_mm.wsi.viewer.results import Result

FIELD = 200.0
"""um, side of the fields that are compared and shown."""

_AT_ONCE = 1 << 21  # px
_MOSTLY, _PARTLY = 0.5, 0.25  # share of a field that is of the class, for its surest and its least sure one
_LEVELS = len(EDGES) - 1


@dataclass(frozen=True)
class MapField:
    """A field of a map that shows a class.

    Attributes:
        index: of the class.
        why: most or least certain; an example where certainty was not measured.
        x: left edge, px of the map.
        y: top edge.
        side: px of the map.
        confidence: mean of the class in it, 0..1; None where it was not measured.
    """

    index: int
    why: str
    x: int
    y: int
    side: int
    confidence: float | None


MOST, LEAST, EXAMPLE = "most certain", "least certain", "example"


@dataclass(frozen=True)
class Survey:
    """What a map holds.

    Attributes:
        pixels: (C, levels) by class and confidence; all in the last level where there is no confidence.
        places: of each class that is there.
    """

    pixels: npt.NDArray[np.float64]
    places: tuple[MapField, ...]


def survey(result: Result) -> Survey:
    """Look over the map of a slide, and its confidence where there is one.

    Raises:
        InputError: a file of it is damaged, or of another size.
    """
    classes = len(result.classes)
    side = max(1, round(FIELD / result.mpp))
    shares = np.asarray(share_of(np.arange(256, dtype=np.float64)))
    levels = level_of(np.clip(shares, 0, 1))
    with planes(result) as (labels, certainty):
        height, width = labels.shape
        across = -(-width // side) * classes
        counts, sums = np.zeros((2, -(-height // side), across))
        pixels = np.zeros(classes * _LEVELS)
        column = np.arange(width) // side * classes
        rows = max(1, _AT_ONCE // width)
        for top in range(0, height, rows):
            band = slice(top, min(height, top + rows))
            part = labels[band]
            known = part < classes
            own = part[known].astype(np.int64)
            sure = np.full(len(own), 255) if certainty is None else np.maximum(certainty[band][known], NONE + 1)
            pixels += np.bincount(own * _LEVELS + levels[sure], minlength=len(pixels))
            fields = np.arange(band.start, band.stop) // side
            place = ((fields - fields[0])[:, None] * across + column)[known] + own
            here, most = slice(fields[0], fields[-1] + 1), across * int(fields[-1] - fields[0] + 1)
            counts[here] += np.bincount(place, minlength=most).reshape(-1, across)
            sums[here] += np.bincount(place, shares[sure], most).reshape(-1, across)
    shape = (len(counts), -1, classes)
    found = _places(counts.reshape(shape), sums.reshape(shape), side, measured=certainty is not None)
    return Survey(pixels.reshape(classes, _LEVELS), tuple(found))


@contextmanager
def planes(result: Result) -> Iterator[tuple[MapLevel, MapLevel | None]]:
    """The map of a slide and its confidence, None where there is none, open.

    Raises:
        InputError: one cannot be read, or they are not of the size that the summary says; also while they are read.
    """
    path = result.folder / LABEL_MAP
    try:
        with ExitStack() as stack:
            labels = _level(stack, path, result)
            path = result.folder / CONFIDENCE
            certainty = _level(stack, path, result) if result.certain else None
            path = result.folder
            yield labels, certainty
    except InputError as error:
        text = str(error)
        raise InputError(text if str(result.folder) in text else f"{path}: {text}; segment the slide again") from None
    except Exception as error:  # broken files make TIFF readers and decoders raise anything
        reason = " ".join(str(error).split()) or type(error).__name__
        raise InputError(f"{path}: not readable ({reason}); segment the slide again") from None


def _level(stack: ExitStack, path: Path, result: Result) -> MapLevel:
    level = MapLevel(stack.enter_context(tifffile.TiffFile(path)).pages[0])
    if level.shape != result.size[::-1]:
        wide, high = level.shape[::-1]
        raise InputError(
            f"{path}: has {wide} x {high} px, and summary.json says {result.size}; segment the slide again"
        )
    return level


def _places(
    counts: npt.NDArray[np.float64], sums: npt.NDArray[np.float64], side: int, *, measured: bool
) -> Iterator[MapField]:
    """Fields of each class, from pixels of it and sums of their confidence (rows, columns, C)."""
    for index in range(counts.shape[2]):
        own = counts[..., index] / side**2
        if not own.any():
            continue
        if not measured:
            yield _place(index, EXAMPLE, own, side, None)
            continue
        mean = np.divide(sums[..., index], counts[..., index], out=np.zeros(own.shape), where=own > 0)
        for why, least, sign in ((MOST, _MOSTLY, 1), (LEAST, _PARTLY, -1)):
            eligible = own >= min(least, own.max())
            score = np.where(eligible, sign * mean, -np.inf)
            yield _place(index, why, score, side, mean)


def _place(
    index: int, why: str, score: npt.NDArray[np.float64], side: int, mean: npt.NDArray[np.float64] | None
) -> MapField:
    row, column = np.unravel_index(int(score.argmax()), score.shape)
    confidence = None if mean is None else float(mean[row, column])
    return MapField(index, why, int(column) * side, int(row) * side, side, confidence)
