"""Sliding-window segmentation as a stream: rows of the slide in, finished rows of the label map out.

METHOD.md section 6: windows overlap, their class probabilities are averaged, argmax gives the class, and what is white
on the slide itself is background. Only a band of window-height rows is ever in memory. Reading, the network and the
averaging run side by side, each a few batches ahead of the next.
"""

from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass, field
from functools import partial

import numpy as np

from wsss_mm.errors import InputError
from wsss_mm.slide_parameters import DEFAULTS, Parameters
from wsss_mm.vocabulary import IGNORE
from wsss_mm.wsi.lattice import window_starts, window_stride
from wsss_mm.wsi.prefetch import prefetch, worked
from wsss_mm.wsi.raster import Band, Raster
from wsss_mm.wsi.stitch import RowStitcher, window_profile

Predict = Callable[[np.ndarray], np.ndarray]
"""RGB windows (N, H, W, 3) uint8 to class probabilities (N, C, H, W) float32."""

_HELD_ROWS = 4


@dataclass(frozen=True)
class Rows:
    """Finished rows of the map, from row `start`: `labels` (rows, width) uint8, 0..C-1 and `IGNORE` for background.

    `probabilities` (C, rows, width) float32 are the averages; in background further from tissue than a window they mean
    nothing. `carry` (C, r, width) float32 is what windows have already added to the rows below: enough to go on from
    here, see `Resumption`. `probabilities` and `carry` are valid until the next rows are asked for: keep a copy.
    `beneath` (rows, width) uint8 is what the labels would be without the grey threshold: `IGNORE` where nothing was to
    be looked at, or could be decoded.
    """

    start: int
    labels: np.ndarray
    probabilities: np.ndarray
    carry: np.ndarray = field(default_factory=lambda: np.empty(0))
    beneath: np.ndarray = field(default_factory=lambda: np.empty(0))

    @property
    def stop(self) -> int:
        """The row after the last."""
        return self.start + len(self.labels)


@dataclass(frozen=True)
class Resumption:
    """Where a stream was cut: `row` is the first that was not given out, `carry` the one of the last `Rows`."""

    row: int
    carry: np.ndarray


@dataclass(frozen=True)
class _Window:
    x: int
    y: int
    image: np.ndarray


@dataclass(frozen=True)
class _RowEnd:
    """No later window reaches above `stop`."""

    start: int
    stop: int
    background: np.ndarray
    unknown: np.ndarray


_Event = _Window | _RowEnd


def segment_rows(
    raster: Raster,
    predict: Predict,
    classes: int,
    parameters: Parameters = DEFAULTS,
    *,
    batch_size: int = 16,
    full_batches: bool = False,
    ahead: int = 2,
    at_once: int = 1,
    resume: Resumption | None = None,
) -> Iterator[Rows]:
    """Segment a raster from top to bottom.

    Windows without a pixel of tissue are not computed: all they could say would be overwritten by background.

    Args:
        raster: the slide at the model's mpp.
        predict: the network.
        classes: C.
        parameters: window, overlap, weighting and background.
        batch_size: windows a forward pass; the result does not depend on it.
        full_batches: fill up smaller batches with black, for networks whose rounding depends on the size of the batch.
        ahead: batches that are read in advance, in a thread; 0 does all in this thread.
        at_once: batches that `predict` is given at the same time, each in a thread.
        resume: where an earlier stream of the same raster and parameters was cut.

    Yields:
        Consecutive rows; together they are the map of `raster.size`.

    Raises:
        InputError: the overlap is out of range, or the network does not give `classes` probabilities, or none that are
            numbers.
    """
    window = parameters.window
    stride = window_stride(window, parameters.overlap)
    columns, lines = (window_starts(side, window, stride) for side in raster.size)
    stitcher = RowStitcher(raster.size, columns, lines, classes, window_profile(window, parameters.weighting))
    if resume is not None:
        stitcher.restore(resume.row, resume.carry)
    bands = list(zip(lines, [*lines[1:], raster.size[1]], strict=True))  # a row of windows; which map rows it ends
    if resume is not None:
        bands = [(y, stop) for y, stop in bands if stop > resume.row]
    events = _events(raster, window, columns, bands, parameters.background_grey)
    read = prefetch(_batches(events, batch_size), ahead)
    fill = batch_size if full_batches else 0
    for held, probabilities in worked(read, partial(_predicted, predict, classes, fill), at_once if ahead else 0):
        place = iter(probabilities)
        for event in held:
            if isinstance(event, _Window):
                stitcher.add(event.x, event.y, next(place))
                continue
            averages = stitcher.take(event.stop)
            labels = _likeliest(averages)
            beneath = labels.copy()
            labels[event.background] = IGNORE
            beneath[event.unknown] = IGNORE
            yield Rows(event.start, labels, averages, stitcher.carry, beneath)


def well_filled(largest: int, width: int, parameters: Parameters = DEFAULTS) -> int:
    """The batch, at most `largest`, that a map's rows of windows fill well, for networks that are given full batches.

    A batch waits for `_HELD_ROWS` rows of windows. One that is larger than half of what they hold is often given with
    more black than windows: on an H100, batches of 64 took 0.6 of the time of 256 over a map of 4096 px.

    Args:
        largest: windows, such as fit into memory.
        width: of the map, px.
        parameters: window and overlap.
    """
    columns = len(window_starts(width, parameters.window, window_stride(parameters.window, parameters.overlap)))
    half = _HELD_ROWS * columns // 2
    return min(largest, 1 << (half.bit_length() - 1))


def _events(
    raster: Raster, window: int, columns: list[int], bands: list[tuple[int, int]], background_grey: int
) -> Iterator[_Event]:
    """Windows in raster order, and between them the rows that have become final."""
    for y, following in bands:
        band = Band(raster, y, window, background_grey)
        for x in columns:
            if band.has_tissue(x):
                yield _Window(x, y, band.window(x))
        start, end = max(y, 0), None
        if following > start:
            end = _RowEnd(start, following, band.background(start, following), band.unknown(start, following))
        del band  # or the next one were built beside it
        if end is not None:
            yield end


def _batches(events: Iterator[_Event], size: int) -> Generator[list[_Event], None, None]:
    """Events in order, as many as hold `size` windows; a few rows at most wait for a batch to fill."""
    held, windows, rows = [], 0, 0
    for event in events:
        held.append(event)
        windows += isinstance(event, _Window)
        rows += isinstance(event, _RowEnd)
        if windows == size or rows == _HELD_ROWS:
            yield held
            held, windows, rows = [], 0, 0
    if held:
        yield held


def _predicted(predict: Predict, classes: int, fill: int, held: list[_Event]) -> np.ndarray:
    """Probabilities of the windows among events, (N, C, window, window)."""
    images = [event.image for event in held if isinstance(event, _Window)]
    if not images:
        return np.empty(0)
    missing = [np.zeros_like(images[0])] * (fill - len(images))
    probabilities = predict(np.stack(images + missing))
    if probabilities.shape[1] != classes:
        raise InputError(f"model: gives {probabilities.shape[1]} probabilities for {classes} classes; check model.json")
    if not np.isfinite(probabilities.sum()):  # NaN is above nothing, and would be the first class
        raise InputError(
            "model: gives probabilities that are no numbers; try --precision fp32, and if that does not help, train it "
            "again"
        )
    return probabilities


def _likeliest(probabilities: np.ndarray) -> np.ndarray:
    """Argmax over the first axis as (rows, width) uint8, the lowest in a tie; row by row, which stays in the cache."""
    labels = np.zeros(probabilities.shape[1:], np.uint8)
    for row, row_labels in enumerate(labels):
        best = probabilities[0, row].copy()
        for value in range(1, len(probabilities)):
            row_labels[probabilities[value, row] > best] = value
            np.maximum(best, probabilities[value, row], out=best)
    return labels
