"""Sliding-window segmentation as a stream: rows of the slide in, finished rows of the label map out.

METHOD.md section 6: windows overlap, their class probabilities are averaged, argmax gives the class, and what is white
on the slide itself is background. Only a band of window-height rows is ever in memory.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

from wsss_mm.errors import InputError
from wsss_mm.patches.vocabulary import IGNORE
from wsss_mm.wsi.lattice import window_starts, window_stride
from wsss_mm.wsi.raster import Band, Raster
from wsss_mm.wsi.stitch import RowStitcher

Predict = Callable[[np.ndarray], np.ndarray]
"""RGB windows (N, H, W, 3) uint8 to class probabilities (N, C, H, W) float32."""

_HELD_ROWS = 4


@dataclass(frozen=True)
class Rows:
    """Finished rows of the map, from row `start`: `labels` (rows, width) uint8, 0..C-1 and `IGNORE` for background.

    `probabilities` (C, rows, width) float32 are the averages, 0 where no window was needed.
    """

    start: int
    labels: np.ndarray
    probabilities: np.ndarray


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


def segment_rows(
    raster: Raster,
    predict: Predict,
    classes: int,
    *,
    window: int = 224,
    overlap: float = 0.5,
    batch_size: int = 16,
    background_grey: int = 210,
) -> Iterator[Rows]:
    """Segment a raster from top to bottom.

    Windows without a pixel of tissue are not computed: all they could say would be overwritten by background.

    Args:
        raster: the slide at the model's mpp.
        predict: the network.
        classes: C.
        window: side of the window, px.
        overlap: of neighbouring windows, as a share of their side, 0 <= overlap < 1.
        batch_size: windows a forward pass; the result does not depend on it.
        background_grey: slide pixels whose grey value exceeds it are background.

    Yields:
        Consecutive rows; together they are the map of `raster.size`.

    Raises:
        InputError: the overlap is out of range, or the network does not give `classes` probabilities.
    """
    stitcher = RowStitcher(raster.size[0], window, classes)
    stride = window_stride(window, overlap)
    for held in _batches(_events(raster, window, stride, background_grey), batch_size):
        probabilities = _predict(predict, [event.image for event in held if isinstance(event, _Window)], classes)
        for event in held:
            if isinstance(event, _Window):
                stitcher.add(event.x, event.y, next(probabilities))
                continue
            averages, covered = stitcher.take(event.stop)
            labels = averages.argmax(axis=0).astype(np.uint8)
            labels[event.background | ~covered] = IGNORE
            yield Rows(event.start, labels, averages)


def _events(raster: Raster, window: int, stride: int, background_grey: int) -> Iterator[_Window | _RowEnd]:
    """Windows in raster order, and between them the rows that have become final."""
    width, height = raster.size
    columns, lines = window_starts(width, window, stride), window_starts(height, window, stride)
    for y, following in zip(lines, [*lines[1:], height], strict=True):
        band = Band(raster, y, window, background_grey)
        for x in columns:
            if band.has_tissue(x):
                yield _Window(x, y, band.window(x))
        start = max(y, 0)
        if following > start:
            yield _RowEnd(start, following, band.background(start, following))


def _batches(events: Iterator[_Window | _RowEnd], size: int) -> Iterator[list[_Window | _RowEnd]]:
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


def _predict(predict: Predict, images: list[np.ndarray], classes: int) -> Iterator[np.ndarray]:
    if not images:
        return iter(())
    probabilities = predict(np.stack(images))
    if probabilities.shape[1] != classes:
        raise InputError(f"model: gives {probabilities.shape[1]} probabilities for {classes} classes; check model.json")
    return iter(probabilities)
