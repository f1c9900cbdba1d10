"""Regions of a label map as GeoJSON annotations that QuPath opens."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np

from wsss_mm.files import atomic_path
from wsss_mm.slides.pyramid import RowMap
from wsss_mm.vocabulary import TissueClass
from wsss_mm.wsi.polygons import Region, trace_regions

_BAND = 256
_POINTS_AT_ONCE = 1 << 16
_COMPACT = (",", ":")


@dataclass(frozen=True)
class Written:
    """What became of the regions of a class: how many are in the file, and the pixels in the file and left out."""

    polygons: int
    pixels: int
    dropped_pixels: int


def write_geojson(
    path: Path,
    labels: RowMap,
    classes: Sequence[TissueClass],
    *,
    factor: float = 1.0,
    limits: tuple[int, int] | None = None,
    min_area: float = 0,
) -> dict[str, Written]:
    """Write a FeatureCollection with one annotation for each region, holes kept, one feature a line.

    Args:
        path: of the file.
        labels: label map (H, W); rows of it are held, and the outlines of some regions, however many there are.
        classes: in the order of label values.
        factor: level-0 px per px of the map; coordinates are level-0 px from the map's origin, which is the slide's
            bounds origin, as QuPath counts.
        limits: width and height that no coordinate exceeds, level-0 px; the map's last pixels may overlap the edge.
        min_area: px of the map, smaller regions are left out.

    Returns:
        For each class code what was written.

    Raises:
        InputError: no space, or no permission to write.
    """
    written = {}
    with atomic_path(path) as temporary, temporary.open("w", encoding="utf-8") as stream:
        stream.write('{"type": "FeatureCollection", "features": [')
        separator = "\n"
        for value, item in enumerate(classes):
            count = pixels = 0
            for region in trace_regions(labels, value, min_area, path.parent):
                stream.write(separator)
                stream.writelines(_feature(region, item, factor, limits))
                separator, count, pixels = ",\n", count + 1, pixels + region.area
            total = sum(
                np.count_nonzero(labels[top : top + _BAND] == value) for top in range(0, labels.shape[0], _BAND)
            )
            written[item.code] = Written(count, pixels, total - pixels)
        stream.write("\n]}\n")
    return written


def _feature(region: Region, item: TissueClass, factor: float, limits: tuple[int, int] | None) -> Iterator[str]:
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
    """Points in level-0 px; rounding is monotone, so what is valid on the lattice stays valid."""
    scaled = np.round(points * factor, 2)
    if limits is not None:
        scaled = np.minimum(scaled, limits)
    whole = scaled.astype(np.int64)
    return (whole if np.array_equal(whole, scaled) else scaled).tolist()
