"""Whether a slide's tissue looks like that of a model's training, before the network is asked."""

from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import numpy as np

from wsss_mm.errors import InputError
from wsss_mm.patches.likeness import Appearance, TissueLook, compared, measure_look
from wsss_mm.slides import SlideReader
from wsss_mm.wsi.job import Job
from wsss_mm.wsi.raster import Raster

WINDOWS = 48
"""That are looked at, of those that hold tissue."""

_TRIES = 4 * WINDOWS
_AT_OTHER_MPP = 12  # of them are read again at each of
_FACTORS = (0.5, 2.0)
_SEED = 0  # of the order of places: the same for the same slide


def compare_slide(job: Job, raster: Raster, appearance: Appearance | None) -> dict[str, Any] | None:
    """Compare a slide with a training, see `wsss_mm.patches.likeness.compared`; None where the model says nothing.

    Args:
        job: the slide.
        raster: it at the model's mpp, knowing which of its pixels are wanted.
        appearance: of the model.
    """
    if appearance is None:
        return None
    found: list[tuple[tuple[int, int], TissueLook]] = []
    with job.open() as slide:
        for place in _places(raster, appearance.size):
            if len(found) < WINDOWS and (one := _look(slide, raster, place, appearance.size, 1.0)) is not None:
                found.append((place, one))
        again = found[:_AT_OTHER_MPP]
        others = {factor: ([], []) for factor in _FACTORS}
        for factor, (here, there) in others.items():
            for place, one in again:
                if (other := _look(slide, raster, place, appearance.size, factor)) is not None:
                    here.append(one)
                    there.append(other)
    return compared(appearance, [one for _, one in found], others, raster.slide_mpp)


def _places(raster: Raster, size: int) -> Iterator[tuple[int, int]]:
    """Columns and rows of windows of which some pixel in the middle is wanted, in a mixed order.

    They lie side by side; on a small slide they overlap by half.
    """
    step = size if raster.size[0] * raster.size[1] >= 2 * WINDOWS * size**2 else max(1, size // 2)
    across, down = (max(1, (side - size) // step + 1) for side in raster.size)
    order, tries = np.random.default_rng(_SEED).permutation(across * down), 0
    for number in order.tolist():
        x, y = number % across * step, number // across * step
        middle = min(y + size // 2, raster.size[1] - 1)
        if raster.wanted is None or raster.wanted.rows(middle, middle + 1)[0, x : x + size].any():
            yield x, y
            tries += 1
        if tries == _TRIES:
            return


def _look(slide: SlideReader, raster: Raster, place: tuple[int, int], size: int, factor: float) -> TissueLook | None:
    """A window around the same middle, read as if the slide's mpp were `factor` times what it says.

    One that covers more keeps within the slide: what lies around it is white, and would be a border of glass.
    """
    covers = size / factor
    corner = (
        min(max(at + (size - covers) / 2, 0.0), max(side - covers, 0.0)) if covers > size else at + (size - covers) / 2
        for at, side in zip(place, raster.size, strict=True)
    )
    x, y = (at * raster.factor + origin for at, origin in zip(corner, raster.bounds[:2], strict=True))
    with suppress(InputError):  # what cannot be decoded is told of by who segments it
        return measure_look(slide.read(x, y, (size, size), raster.mpp / factor))
    return None
