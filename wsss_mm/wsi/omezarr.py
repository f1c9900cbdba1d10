"""A finished map as OME-Zarr 0.5: a small picture of the slide, and the classes as its `labels`.

Written by hand: of Zarr's third version this takes blocks of bytes, packed by gzip, beside JSON. The library asks for
Python 3.11, brings six others and keeps a thread of its own; it is among those that read this in the tests.
"""

import gzip
import math
import shutil
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from wsss_mm.files import write_json
from wsss_mm.slides.pyramid import RowMap, level_samples
from wsss_mm.vocabulary import IGNORE, TissueClass

_VERSION = "0.5"
_NODE, _LABELS, _NAME = "zarr.json", "labels", "segmentation"
_CHUNK = 1024  # px; a slide of 40,000 px at twice the um/px has 400 files of its finest level
_PACKING = 6
_OPAQUE = 255
_NONE = 0  # what label images have where there is nothing, and viewers do not draw


def write_ome_zarr(
    path: Path,
    labels: RowMap,
    mpp: float,
    classes: Sequence[TissueClass],
    *,
    picture: npt.NDArray[np.uint8],
    name: str,
) -> None:
    """Write a folder that is opened as an image with labels: 1 for the first class, 0 for the background.

    Levels are those of the label pyramid; equal maps give equal bytes. Positions are um from the middle of the map's
    first pixel. The picture has as many levels, is smaller and covers the same field.

    Args:
        path: of the folder; one that is there is of a process that was killed, and goes.
        labels: label map (H, W), of which 1024 rows are held.
        mpp: um/px of the map.
        classes: in the order of label values.
        picture: (h, w, 3) RGB of all of the map's field.
        name: of the slide.

    Raises:
        OSError: no space, or no permission to write.
    """
    if path.exists():  # chunks of zeros are left out, so that none of another map may stay
        shutil.rmtree(path)
    height, width = labels.shape
    samples = level_samples((height, width))
    image, labelled = path, path / _LABELS / _NAME
    steps = [2**level for level in range(len(samples))]
    pixel = [mpp * side / px for side, px in zip((height, width), picture.shape[:2], strict=True)]
    scales = []
    for level, step in enumerate(steps):
        small = _shrunk(picture, step)
        _write_array(image / str(level), (3, *small.shape[:2]), "cyx", _of_picture(small))
        sides = [one * px / less for one, px, less in zip(pixel, picture.shape, small.shape[:2], strict=False)]
        scales.append(([1.0, *sides], [0.0, *((side - mpp) / 2 for side in sides)]))
    _write_group(image, {"multiscales": [_multiscale(name, "cyx", scales)], "omero": _as_rgb()})
    _write_group(path / _LABELS, {_LABELS: [_NAME]})
    scales = []
    for level, (rows, columns) in enumerate(samples):
        _write_array(labelled / str(level), (len(rows), len(columns)), "yx", _of_labels(labels, rows, columns))
        scales.append(([mpp * rows.step, mpp * columns.step], [mpp * rows.start, mpp * columns.start]))
    _write_group(labelled, {"multiscales": [_multiscale(_NAME, "yx", scales)], "image-label": _legend(classes)})


def wrong_labels(path: Path, labels: RowMap) -> int:
    """Pixels of the finest labels that are not those of a map (H, W), whose rows are taken from top to bottom."""
    folder, wrong = path / _LABELS / _NAME / "0", 0
    height, width = labels.shape
    for (line, column), values in _of_labels(labels, range(height), range(width)):
        file, found = folder / "c" / str(line) / str(column), np.zeros((_CHUNK, _CHUNK), np.uint8)
        if file.is_file():
            found = np.frombuffer(gzip.decompress(file.read_bytes()), np.uint8).reshape(found.shape)
        wrong += int((found[: values.shape[0], : values.shape[1]] != values).sum())
    return wrong


Blocks = Iterator[tuple[tuple[int, ...], npt.NDArray[np.uint8]]]
"""Place of each chunk in the grid, and its values."""


def _of_labels(labels: RowMap, rows: range, columns: range) -> Blocks:
    for line, top in enumerate(range(0, len(rows), _CHUNK)):
        here = rows[top : top + _CHUNK]
        band = labels[here.start : here[-1] + 1 : here.step][:, columns.start :: columns.step]
        values = np.where(band == IGNORE, _NONE, band + 1).astype(np.uint8)
        for column, left in enumerate(range(0, len(columns), _CHUNK)):
            yield (line, column), values[:, left : left + _CHUNK]


def _of_picture(picture: npt.NDArray[np.uint8]) -> Blocks:
    height, width = picture.shape[:2]
    for line, top in enumerate(range(0, height, _CHUNK)):
        for column, left in enumerate(range(0, width, _CHUNK)):
            part = picture[top : top + _CHUNK, left : left + _CHUNK]
            for channel in range(3):
                yield (channel, line, column), part[None, :, :, channel]


def _shrunk(picture: npt.NDArray[np.uint8], step: int) -> npt.NDArray[np.uint8]:
    height, width = (max(1, math.ceil(side / step)) for side in picture.shape[:2])
    if step == 1:
        return picture
    return cv2.resize(picture, (width, height), interpolation=cv2.INTER_AREA).astype(np.uint8)


def _write_array(folder: Path, shape: tuple[int, ...], axes: str, blocks: Blocks) -> None:
    """An array whose chunks are files by their place; those of zeros are left out, as Zarr has them."""
    chunk = tuple(1 if axis == "c" else _CHUNK for axis in axes)
    folder.mkdir(parents=True)
    for place, values in blocks:
        if not values.any():
            continue
        whole = np.zeros(chunk, np.uint8)
        whole[tuple(slice(side) for side in values.shape)] = values
        file = folder.joinpath("c", *map(str, place))
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(gzip.compress(whole.tobytes(), _PACKING, mtime=0))
    description = {
        "zarr_format": 3,
        "node_type": "array",
        "shape": list(shape),
        "data_type": "uint8",
        "chunk_grid": {"name": "regular", "configuration": {"chunk_shape": list(chunk)}},
        "chunk_key_encoding": {"name": "default", "configuration": {"separator": "/"}},
        "fill_value": 0,
        "codecs": [{"name": "bytes"}, {"name": "gzip", "configuration": {"level": _PACKING}}],
        "dimension_names": list(axes),
        "attributes": {},
    }
    write_json(folder / _NODE, description)


def _write_group(folder: Path, content: Mapping[str, Any]) -> None:
    attributes = {"ome": {"version": _VERSION, **content}}
    write_json(folder / _NODE, {"zarr_format": 3, "node_type": "group", "attributes": attributes}, ("attributes",))


def _multiscale(name: str, axes: str, scales: Sequence[tuple[list[float], list[float]]]) -> dict[str, Any]:
    """Where levels lie, given scale and translation of each."""
    space = {"type": "space", "unit": "micrometer"}
    return {
        "name": name,
        "axes": [{"name": axis, **({"type": "channel"} if axis == "c" else space)} for axis in axes],
        "datasets": [
            {
                "path": str(level),
                "coordinateTransformations": [
                    {"type": "scale", "scale": scale},
                    {"type": "translation", "translation": translation},
                ],
            }
            for level, (scale, translation) in enumerate(scales)
        ],
    }


def _as_rgb() -> dict[str, Any]:
    window = {"min": 0, "max": 255, "start": 0, "end": 255}
    colours = {"Red": "FF0000", "Green": "00FF00", "Blue": "0000FF"}
    channels = [{"label": name, "color": value, "window": window, "active": True} for name, value in colours.items()]
    return {"channels": channels, "rdefs": {"model": "color"}}


def _legend(classes: Sequence[TissueClass]) -> dict[str, Any]:
    values = list(enumerate(classes, start=1))
    return {
        "colors": [{"label-value": value, "rgba": [*item.color, _OPAQUE]} for value, item in values],
        "properties": [{"label-value": value, "class": item.code, "name": item.name} for value, item in values],
        "source": {"image": "../../"},
    }
