"""Reading label maps, such as the truth of a phantom slide, at any resolution."""

from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import tifffile
from numpy.typing import NDArray

from wsss_mm.errors import InputError
from wsss_mm.files import is_file
from wsss_mm.vocabulary import IGNORE

MAX_PIXELS = 1 << 31
"""A label map is held in memory; a file that claims more is a decompression bomb, or needs a coarser resolution."""

_MAX_TILE = 1 << 26  # px; tiles at the edge stick out, but not by far


def read_label_tiff(path: Path | str) -> NDArray[np.uint8]:
    """Read level 0 of a label TIFF: (H, W) uint8.

    Raises:
        InputError: the file is missing, no label map, or claims more than `MAX_PIXELS`.
    """
    if not is_file(Path(path)):
        raise InputError(f"{path}: no such label map; make the cohort again")
    try:
        with tifffile.TiffFile(path) as file:
            page = file.pages[0]
            if page.ndim != 2 or page.dtype != np.uint8 or not page.size:
                raise InputError(f"{path}: a label map is one uint8 channel, this is {page.dtype} {page.shape}")
            tile = page.chunks[0] * page.chunks[1]
            if page.size > MAX_PIXELS or (tile > _MAX_TILE and tile > page.size):
                raise InputError(f"{path}: claims {page.shape} px in tiles of {page.chunks}, which is no label map")
            return page.asarray()
    except InputError:
        raise
    except Exception as error:  # broken files make TIFF readers and decoders raise anything, a lack of memory too
        reason = " ".join(str(error).split()) or type(error).__name__
        raise InputError(f"{path}: not readable as a TIFF ({reason}); make it again") from None


def label_bands(path: Path | str) -> Iterator[tuple[int, NDArray[np.uint8]]]:
    """First row and rows of each band of a map in tiles, such as segmentation.tif: a row of tiles is held at a time.

    Raises:
        InputError: the file is missing, no label map in tiles, or damaged.
    """
    if not is_file(Path(path)):
        raise InputError(f"{path}: no such label map; make it again")
    try:
        with tifffile.TiffFile(path) as file:
            page = file.pages[0]
            if page.ndim != 2 or page.dtype != np.uint8 or not page.size or not page.is_tiled:
                raise InputError(f"{path}: a map is one uint8 channel in tiles, this is {page.dtype} {page.shape}")
            height, width = page.shape
            if page.tilelength * page.tilewidth > _MAX_TILE:
                raise InputError(f"{path}: has tiles of {page.chunks}, which no map has; make it again")
            band, top = np.empty((0, width), np.uint8), -1
            for data, (_, _, y, x, _), _ in page.segments():
                if y != top:
                    if len(band):
                        yield top, band
                    band, top = np.full((min(page.tilelength, height - y), width), IGNORE, np.uint8), y
                if data is not None:
                    tile = data[0, ..., 0]
                    band[:, x : x + tile.shape[1]] = tile[: len(band), : width - x]
            yield top, band
    except (InputError, OSError):
        raise
    except Exception as error:  # as above
        reason = " ".join(str(error).split()) or type(error).__name__
        raise InputError(f"{path}: not readable as a TIFF ({reason}); make it again") from None


def label_values(labels: NDArray[np.uint8]) -> list[int]:
    """Which values a label map (H, W) has, in their order."""
    return np.flatnonzero(cv2.calcHist([labels], [0], None, [256], [0, 256])).tolist()


def resample_labels(
    labels: NDArray[np.uint8], x: float, y: float, size: int | tuple[int, int], scale: float
) -> NDArray[np.uint8]:
    """Cut a region out of a label map, each pixel taking the label that covers most of it.

    Whole-numbered `scale` at whole-numbered corners counts exactly (the lowest label wins a tie); otherwise the label
    under the centre of each pixel is taken.

    Args:
        labels: (H, W) uint8.
        x: left edge, px of `labels`.
        y: top edge, px of `labels`.
        size: side, or width and height, of the region in px.
        scale: px of `labels` per px of the region.

    Returns:
        (height, width) uint8, `IGNORE` outside the map.
    """
    width, height = (size, size) if isinstance(size, int) else size
    step = round(scale)
    if step >= 1 and abs(scale - step) < 1e-6 and float(x).is_integer() and float(y).is_integer():
        region = _padded(labels, int(x), int(y), width * step, height * step)
        return region if step == 1 else _majority(region, step)
    columns = np.floor(x + (np.arange(width) + 0.5) * scale).astype(np.int64)
    rows = np.floor(y + (np.arange(height) + 0.5) * scale).astype(np.int64)
    inside = np.outer((rows >= 0) & (rows < labels.shape[0]), (columns >= 0) & (columns < labels.shape[1]))
    taken = labels[np.ix_(np.clip(rows, 0, labels.shape[0] - 1), np.clip(columns, 0, labels.shape[1] - 1))]
    return np.where(inside, taken, np.uint8(IGNORE))


def _padded(labels: NDArray[np.uint8], x: int, y: int, width: int, height: int) -> NDArray[np.uint8]:
    region = np.full((height, width), IGNORE, np.uint8)
    top, left = max(y, 0), max(x, 0)
    source = labels[top : max(y + height, 0), left : max(x + width, 0)]
    region[top - y : top - y + source.shape[0], left - x : left - x + source.shape[1]] = source
    return region


def _majority(labels: NDArray[np.uint8], step: int) -> NDArray[np.uint8]:
    """Most frequent value of each block of step x step, the lowest in a tie.

    Counted value by value, down and then across: sums over an axis of a few numbers take NumPy ten times as long.
    """
    height, width = (side // step for side in labels.shape)
    most, found = np.zeros((height, width), np.uint32), np.zeros((height, width), np.uint8)
    for value in label_values(labels):
        down = np.add.reduce((labels == value).reshape(height, step, -1), axis=1, dtype=np.uint32)
        counts = sum((down[:, column::step] for column in range(1, step)), down[:, ::step])
        found[counts > most] = value
        np.maximum(most, counts, out=most)
    return found
