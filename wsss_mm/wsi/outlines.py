"""Reading outlines back as a stream: a GeoJSON file may be many times larger than memory.

`wsss_mm.wsi.geojson` writes a feature a line, whose points are taken as one array of numbers: memory holds some copies
of the longest line. Lines of another form are read as JSON, and so are small files with other line breaks.
"""

import gzip
import json
import re
import warnings
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TextIO

import numpy as np
import shapely
from shapely.geometry import shape
from shapely.geometry.base import BaseGeometry

from wsss_mm.errors import InputError
from wsss_mm.files import parse_json
from wsss_mm.places import OUTLINES, OUTLINES_GZ

LARGEST_TEXT = 1 << 25
"""Characters that are read as JSON at once, which takes fifteen times as much memory."""

_HEAD, _TAIL = '{"type": "FeatureCollection", "features": [\n', "]}"
_BEFORE, _AFTER = '{"type":"Feature","geometry":{"type":"Polygon","coordinates":[[[', ']]]},"properties":'
_NUMBERS = re.compile(r"[-+0-9.eE,\[\]]+")


@dataclass(frozen=True)
class Outline:
    """A feature: its class and colour as the file names them, and its polygon, None if it is no valid one."""

    name: object
    color: object
    polygon: BaseGeometry | None


def outlines_of(folder: Path) -> Path | None:
    """The GeoJSON among a slide's results, plain or compressed."""
    return next((path for name in (OUTLINES, OUTLINES_GZ) if (path := folder / name).is_file()), None)


def read_outlines(path: Path) -> Iterator[Outline]:
    """Read the features of a FeatureCollection in turn.

    Args:
        path: of the file; one that ends on .gz is compressed.

    Raises:
        InputError: it is none, ends early, or is too large for its line breaks.
    """
    try:
        with _opened(path) as stream:
            yield from _outlines(stream)
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise InputError(f"the GeoJSON cannot be unpacked ({error})") from None


def _outlines(stream: TextIO) -> Iterator[Outline]:
    if stream.readline(len(_HEAD)) != _HEAD:
        stream.seek(0)
        yield from map(_outline, _features(stream))
        return
    for line in _lines(stream):
        yield _drawn(line) or _outline(_parsed(line))


def _opened(path: Path) -> TextIO:
    if path.suffix == ".gz":
        return gzip.open(path, "rt", encoding="utf-8")
    return path.open(encoding="utf-8")


def _lines(stream: TextIO) -> Iterator[str]:
    """The features' text."""
    line = stream.readline().strip()
    while line != _TAIL:
        if not line:
            raise InputError("the GeoJSON ends before its last feature")
        more = line.endswith(",")
        yield line.removesuffix(",")
        line = stream.readline().strip()
        if more == (line == _TAIL):
            raise InputError("features of the GeoJSON are not parted by commas")
    if stream.read(1):
        raise InputError("the GeoJSON goes on after its last feature")


def _features(stream: TextIO) -> list[object]:
    content = _parsed(stream.read(LARGEST_TEXT + 1))
    if not isinstance(content, dict) or content.get("type") != "FeatureCollection":
        raise InputError("the GeoJSON is no FeatureCollection")
    return content["features"]


def _parsed(text: str) -> object:
    if len(text) > LARGEST_TEXT:
        raise InputError(f"the GeoJSON has not one feature a line, and more than {LARGEST_TEXT:,} characters")
    return parse_json(text)


def _outline(feature: Any) -> Outline:
    """A feature of any form."""
    try:
        classification = feature["properties"]["classification"]
        name, color = classification["name"], classification.get("color")
    except (TypeError, KeyError, AttributeError):
        name = color = None
    try:
        polygon = shape(feature["geometry"])
    except (ValueError, TypeError, KeyError, AttributeError, shapely.errors.ShapelyError):
        return Outline(name, color, None)
    return Outline(name, color, _valid(polygon))


def _drawn(line: str) -> Outline | None:
    """A feature as `wsss_mm.wsi.geojson` writes it; None if it is not."""
    stop = line.rfind(_AFTER)
    numbers = line[len(_BEFORE) : stop]
    if stop < 0 or not (line.startswith(_BEFORE) and line.endswith("}}")) or not _NUMBERS.fullmatch(numbers):
        return None
    lengths = [ring.count("],[") + 1 for ring in numbers.split("]],[[")]
    numbers = numbers.replace("]],[[", ",").replace("],[", ",")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")  # what is left over is a warning
            points = np.fromstring(numbers, sep=",").reshape(sum(lengths), 2)
        rings = shapely.linearrings(points, indices=np.repeat(np.arange(len(lengths)), lengths))
        classification = json.loads(line[stop + len(_AFTER) : -1])["classification"]
        return Outline(classification["name"], classification["color"], _valid(shapely.polygons(rings[0], rings[1:])))
    except (Warning, ValueError, TypeError, KeyError, shapely.errors.ShapelyError):
        return None


def _valid(polygon: BaseGeometry) -> BaseGeometry | None:
    return polygon if polygon.is_valid and not polygon.is_empty else None
