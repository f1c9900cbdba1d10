"""Regions of a label map as GeoJSON annotations that QuPath opens."""

import gzip
import io
import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import TextIO

import numpy as np

from wsss_mm.files import atomic_path
from wsss_mm.slides.pyramid import RowMap
from wsss_mm.vocabulary import TissueClass
from wsss_mm.wsi.polygons import TracedRegion, trace_regions
from wsss_mm.wsi.simplify import level0, polygon_of, simplified

_BAND = 256
_POINTS_AT_ONCE = 1 << 16
_COMPACT = (",", ":")
_PACKED, _LEVEL = ".gz", 6  # the suffix of what is compressed, and how much


@dataclass(frozen=True)
class Written:
    """What became of the regions of a class.

    Attributes:
        polygons: how many are in the file.
        pixels: of the map that belong to these.
        dropped_pixels: of the map that belong to others.
        outlined: px that simplified polygons enclose; None where outlines are exact.
    """

    polygons: int
    pixels: int
    dropped_pixels: int
    outlined: float | None = None


def write_geojson(
    path: Path,
    labels: RowMap,
    classes: Sequence[TissueClass],
    *,
    factor: float = 1.0,
    limits: tuple[int, int] | None = None,
    min_area: float = 0,
    tolerance: float = 0,
) -> dict[str, Written]:
    """Write a FeatureCollection with one annotation for each region, holes kept, one feature a line.

    Args:
        path: of the file; one that ends on .gz is compressed.
        labels: label map (H, W); rows of it are held, and the outlines of some regions, however many there are.
        classes: in the order of label values.
        factor: level-0 px per px of the map; coordinates are level-0 px from the map's origin, which is the slide's
            bounds origin, as QuPath counts.
        limits: width and height that no coordinate exceeds, level-0 px; the map's last pixels may overlap the edge.
        min_area: px of the map, smaller regions are left out.
        tolerance: px of the map, how far outlines may move to have fewer points, see `wsss_mm.wsi.simplify`.

    Returns:
        For each class code what was written.

    Raises:
        InputError: no space, or no permission to write.
    """
    written = {}
    with atomic_path(path) as temporary, _opened(temporary, path.suffix == _PACKED) as stream:
        stream.write('{"type": "FeatureCollection", "features": [')
        separator = "\n"
        for value, item in enumerate(classes):
            count, pixels, outlined = 0, 0, 0.0 if tolerance else None
            for region in trace_regions(labels, value, min_area, path.parent):
                drawn = simplified(region, tolerance, factor, limits)
                stream.write(separator)
                stream.writelines(_feature(drawn, item, factor, limits))
                separator, count, pixels = ",\n", count + 1, pixels + region.area
                if outlined is not None:
                    outlined += polygon_of(drawn, factor, limits).area / factor**2
            total = sum(
                np.count_nonzero(labels[top : top + _BAND] == value) for top in range(0, labels.shape[0], _BAND)
            )
            written[item.code] = Written(count, pixels, total - pixels, outlined)
        stream.write("\n]}\n")
    return written


@contextmanager
def _opened(path: Path, packed: bool) -> Iterator[TextIO]:
    """A file for text; if it is packed, equal text gives equal bytes, whatever the hour."""
    if not packed:
        with path.open("w", encoding="utf-8") as stream:
            yield stream
        return
    with (
        path.open("wb") as file,
        gzip.GzipFile("", "wb", _LEVEL, file, mtime=0) as pressed,
        io.TextIOWrapper(pressed, encoding="utf-8", newline="\n") as stream,
    ):
        yield stream


def _feature(region: TracedRegion, item: TissueClass, factor: float, limits: tuple[int, int] | None) -> Iterator[str]:
    """The feature's JSON in pieces: an outline may have millions of points, and a region thousands of holes."""
    properties = {
        "objectType": "annotation",
        "classification": {"name": item.name, "color": list(item.color)},
    }
    yield '{"type":"Feature","geometry":{"type":"Polygon","coordinates":['
    separator = ""
    for rings in _at_once((region.exterior, *region.holes)):
        yield separator
        separator = ","
        if len(rings) == 1:
            yield from _long_ring(rings[0], factor, limits)
            continue
        points = _coordinates(np.concatenate(rings), factor, limits)
        stops = np.cumsum([len(ring) for ring in rings]).tolist()
        closed = [[*points[start:stop], points[start]] for start, stop in pairwise([0, *stops])]
        yield json.dumps(closed, separators=_COMPACT)[1:-1]
    yield f']}},"properties":{json.dumps(properties, separators=_COMPACT)}}}'


def _at_once(rings: Sequence[np.ndarray]) -> Iterator[list[np.ndarray]]:
    """Rings in order, so many at a time that they have about `_POINTS_AT_ONCE` points."""
    held, points = [], 0
    for ring in rings:
        if held and points + len(ring) > _POINTS_AT_ONCE:
            yield held
            held, points = [], 0
        held.append(ring)
        points += len(ring)
    yield held


def _long_ring(ring: np.ndarray, factor: float, limits: tuple[int, int] | None) -> Iterator[str]:
    yield "["
    first = ""
    for start in range(0, len(ring), _POINTS_AT_ONCE):
        text = json.dumps(_coordinates(ring[start : start + _POINTS_AT_ONCE], factor, limits), separators=_COMPACT)
        first = first or text[1 : text.index("]") + 1]
        yield text[1:-1] + ","
    yield first + "]"


def _coordinates(points: np.ndarray, factor: float, limits: tuple[int, int] | None) -> list[list[float]]:
    """Points in level-0 px, whole ones as such."""
    scaled = level0(points, factor, limits)
    whole = scaled.astype(np.int64)
    return (whole if np.array_equal(whole, scaled) else scaled).tolist()
