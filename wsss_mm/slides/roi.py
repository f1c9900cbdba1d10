"""Polygons drawn in QuPath: regions of interest and annotations, as GeoJSON."""

import json
import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np
import shapely
from numpy.typing import ArrayLike, NDArray
from shapely.geometry.base import BaseGeometry

from wsss_mm.errors import InputError
from wsss_mm.files import read_json
from wsss_mm.vocabulary import IGNORE

logger = logging.getLogger(__name__)

_FARTHEST = 1e9  # px; a slide is a thousand times smaller
_DEEPEST = 20  # objects in objects, of which people draw a few
_NUDGE = 1e-6, 6e-7  # px; centres on an edge, as whole numbers often are, belong to the area right of or below it


@dataclass(frozen=True)
class Annotation:
    """A drawn area.

    Attributes:
        names: Its class as named in QuPath, of a derived class (`Tumor: Positive`) each part; empty if it has none.
        geometry: Its polygons, level-0 px.
        place: Where it stands in the file, in words.
    """

    names: tuple[str, ...]
    geometry: BaseGeometry
    place: str

    @property
    def name(self) -> str:
        """Its class as QuPath shows it."""
        return ": ".join(self.names)


@dataclass(frozen=True)
class Region:
    """A region of interest: polygons, holes excluded, in level-0 px."""

    geometry: BaseGeometry

    @property
    def bounds(self) -> tuple[float, float, float, float]:
        """x, y, width, height of the enclosing rectangle, level-0 px."""
        left, top, right, bottom = self.geometry.bounds
        return left, top, right - left, bottom - top

    def share(self, rectangles: ArrayLike) -> NDArray[np.float64]:
        """Share, 0..1, of each rectangle (n, 4): x, y, width, height in level-0 px, that lies in the region."""
        x, y, width, height = np.asarray(rectangles, np.float64).reshape(-1, 4).T
        boxes = shapely.box(x, y, x + width, y + height)
        shapely.prepare(self.geometry)
        share = shapely.contains(self.geometry, boxes).astype(np.float64)
        cut = (share == 0) & shapely.intersects(self.geometry, boxes)
        share[cut] = shapely.area(shapely.intersection(self.geometry, boxes[cut])) / shapely.area(boxes[cut])
        return share

    def mask(self, corner: tuple[float, float], size: tuple[int, int], scale: float) -> NDArray[np.bool_]:
        """Draw the region: a pixel is inside if its centre is. Even-odd along each row, so holes and islands are kept.

        Args:
            corner: x, y of the mask's top-left corner, level-0 px.
            size: width and height of the mask, px.
            scale: level-0 px per px of the mask.

        Returns:
            (H, W) bool.
        """
        width, height = size
        edges = (self._edges - [corner[0], corner[1]] * 2) / scale - 0.5  # px of the mask, centres at whole numbers
        edges = edges[(edges[:, 1] != edges[:, 3]) & (edges[:, [1, 3]].max(axis=1) > 0)]
        first, last = (np.clip(np.ceil(side), 0, height).astype(np.int64) for side in np.sort(edges[:, [1, 3]]).T)
        spans = np.maximum(last - first, 0)
        edge = np.repeat(np.arange(len(edges)), spans)
        row = np.arange(len(edge)) - np.repeat(np.cumsum(spans) - spans, spans) + first[edge]
        x0, y0, x1, y1 = edges[edge].T
        column = np.clip(np.ceil(x0 + (row - y0) * (x1 - x0) / (y1 - y0)), 0, width).astype(np.int64)
        crossings = np.zeros((height, width + 1), np.uint8)
        np.add.at(crossings, (row, column), 1)
        return (np.cumsum(crossings[:, :width], axis=1, dtype=np.uint8) & 1).astype(bool)

    @cached_property
    def _edges(self) -> NDArray[np.float64]:
        """Sides of all rings, (n, 4): x0, y0, x1, y1 in level-0 px."""
        points, ring = shapely.get_coordinates(shapely.get_rings(shapely.get_parts(self.geometry)), return_index=True)
        return np.hstack([points[:-1], points[1:]])[ring[:-1] == ring[1:]]


def read_annotations(
    path: Path | str, origin: tuple[float, float] = (0, 0), size: tuple[float, float] | None = None
) -> list[Annotation]:
    """Read the areas of a QuPath GeoJSON export, in the order drawn: an object's child objects come after it.

    Args:
        path: a FeatureCollection, a feature or a list of them. Lines and points are no areas and are left out.
        origin: level-0 px of QuPath's origin: the first two values of `SlideReader.bounds`.
        size: width and height of what was scanned, the last two, where the areas have to lie.

    Raises:
        InputError: the file is missing, is no GeoJSON, holds no area, or none that lies on the slide.
    """
    path = Path(path)
    try:
        content = read_json(path)
    except FileNotFoundError:
        raise InputError(f"{path}: no such file; correct the path in the slide table or leave it empty") from None
    except (OSError, ValueError) as error:
        raise InputError(f"{path}: not readable as GeoJSON ({error}); export it again from QuPath") from None
    annotations, flat = [], []
    for place, feature in _objects(path, content):
        try:
            geometry = _areas(_geometry(feature))
        except (InputError, ValueError, RecursionError, shapely.errors.GEOSException) as error:
            raise InputError(f"{path}: {place} is no GeoJSON geometry ({error}); export it again") from None
        if not geometry.is_empty:
            annotations.append(Annotation(class_names(feature), geometry, place))
        elif class_names(feature):
            flat.append(place)
    if not annotations:
        raise InputError(f"{path}: holds no polygon; draw an area in QuPath and export it as GeoJSON")
    if flat:
        logger.warning(
            "%s: %d objects with a class have no area and are left out, the first: %s", path, len(flat), flat[0]
        )
    if size is not None:
        _check_place(path, annotations, size)
    return [replace(item, geometry=shapely.transform(item.geometry, lambda xy: xy + origin)) for item in annotations]


def read_region(
    path: Path | str, origin: tuple[float, float] = (0, 0), size: tuple[float, float] | None = None
) -> Region:
    """Read a region of interest: the union of a file's areas; see `read_annotations`."""
    return Region(shapely.union_all([annotation.geometry for annotation in read_annotations(path, origin, size)]))


def rasterise(
    areas: Sequence[tuple[BaseGeometry, int]],
    corner: tuple[float, float],
    size: tuple[int, int],
    scale: float,
    fill: int = IGNORE,
) -> NDArray[np.uint8]:
    """Draw areas as a label map: a pixel is what its centre lies in, later areas cover earlier ones.

    Args:
        areas: polygons in level-0 px and their labels.
        corner: x, y of the map's top-left corner, level-0 px.
        size: width and height of the map, px.
        scale: level-0 px per px of the map.
        fill: label of what no area covers.

    Returns:
        (H, W) uint8.
    """
    width, height = size
    labels = np.full((height, width), fill, np.uint8)
    x, y = (
        start + (np.arange(length) + 0.5) * scale + nudge
        for start, length, nudge in zip(corner, size, _NUDGE, strict=True)
    )
    bounds = shapely.bounds([geometry for geometry, _ in areas]).reshape(-1, 4)
    there = (bounds[:, :2] <= (x[-1], y[-1])).all(axis=1) & (bounds[:, 2:] >= (x[0], y[0])).all(axis=1)
    for number in np.flatnonzero(there):  # of many thousand cells few lie in a patch
        geometry, label = areas[number]
        left, top, right, bottom = bounds[number]
        columns, rows = slice(*np.searchsorted(x, (left, right))), slice(*np.searchsorted(y, (top, bottom)))
        shapely.prepare(geometry)
        inside = shapely.contains_xy(geometry, *np.meshgrid(x[columns], y[rows]))
        labels[rows, columns][inside] = label
    return labels


def _features(content: object) -> list[object]:
    if isinstance(content, dict) and isinstance(content.get("features"), list):
        return content["features"]
    if isinstance(content, list):
        return [feature for item in content for feature in (_features(item) if isinstance(item, dict) else [item])]
    return [content]


def _objects(path: Path, content: object) -> Iterator[tuple[str, object]]:
    """Each feature and, after it, the objects it holds, with its place in words."""
    waiting = [(f"feature {number}", 0, feature) for number, feature in enumerate(_features(content), start=1)][::-1]
    while waiting:
        place, depth, feature = waiting.pop()
        yield place, feature
        held = _children(feature)
        if not isinstance(held, list) or (held and depth == _DEEPEST):
            raise InputError(f"{path}: the child objects of {place} are no list, or too deep; export it again")
        inner = [(f"{place}, child {number}", depth + 1, child) for number, child in enumerate(held, start=1)]
        waiting += inner[::-1]


def _children(feature: object) -> object:
    """QuPath's `childObjects`, beside the properties or among them."""
    if not isinstance(feature, dict):
        return []
    properties = feature.get("properties")
    return feature.get("childObjects") or (isinstance(properties, dict) and properties.get("childObjects")) or []


def _geometry(feature: object) -> BaseGeometry | None:
    geometry = feature.get("geometry", feature) if isinstance(feature, dict) else feature
    if geometry is None and isinstance(feature, dict):  # GeoJSON's word for a feature that lies nowhere
        return None
    return shapely.from_geojson(json.dumps(_closed(geometry)))


def _closed(geometry: object) -> object:
    """The geometry with rings that end where they begin, which some programs leave to the reader."""
    if not isinstance(geometry, dict):
        return geometry
    kind, parts = geometry.get("type"), geometry.get("coordinates")
    if kind == "Polygon":
        return geometry | {"coordinates": _closed_rings(parts)}
    if kind == "MultiPolygon" and isinstance(parts, list):
        return geometry | {"coordinates": [_closed_rings(rings) for rings in parts]}
    return geometry


def _closed_rings(rings: object) -> object:
    if not isinstance(rings, list):
        return rings
    return [
        [*ring, ring[0]] if isinstance(ring, list) and len(ring) > 2 and ring[0] != ring[-1] else ring for ring in rings
    ]


def _areas(geometry: BaseGeometry | None) -> BaseGeometry:
    """The polygons of a geometry, made valid: where a hand-drawn outline crosses itself, all that it goes round."""
    if geometry is None:
        return shapely.MultiPolygon()
    if not (np.abs(shapely.get_coordinates(geometry)) <= _FARTHEST).all():
        raise InputError("lies nowhere on a slide")
    parts = shapely.get_parts(shapely.make_valid(geometry, method="structure", keep_collapsed=False))
    while any(part.geom_type == "GeometryCollection" or part.geom_type.startswith("Multi") for part in parts):
        parts = shapely.get_parts(parts)
    polygons = [part for part in parts if part.geom_type == "Polygon" and part.area]
    areas = shapely.MultiPolygon(polygons)
    return areas if areas.is_valid else shapely.MultiPolygon(shapely.get_parts(shapely.union_all(polygons)).tolist())


def class_names(feature: object) -> tuple[str, ...]:
    """Class of a QuPath feature: `properties.classification.name`, `names` of a derived one, or a plain string."""
    properties = feature.get("properties") if isinstance(feature, dict) else None
    names = properties.get("classification") if isinstance(properties, dict) else None
    if isinstance(names, dict):
        names = names.get("names") or names.get("name")
    names = names if isinstance(names, list) else [names]
    return tuple(name.strip() for name in names if isinstance(name, str) and name.strip())


def _check_place(path: Path, annotations: Sequence[Annotation], size: tuple[float, float]) -> None:
    """Look whether the areas lie on a slide of this width and height."""
    geometries = [annotation.geometry for annotation in annotations]
    on_slide = shapely.area(shapely.intersection(geometries, shapely.box(0, 0, *size))) / shapely.area(geometries)
    if not on_slide.any():
        left, top, right, bottom = shapely.total_bounds(geometries)
        turned = " (x and y exchanged they would)" if bottom <= size[0] and right <= size[1] else ""
        raise InputError(
            f"{path}: no area lies on the slide{turned}: they reach from x={left:.0f}, y={top:.0f} to {right:.0f},"
            f" {bottom:.0f}, the slide is {size[0]:.0f} x {size[1]:.0f} px; export what was drawn on it, in pixels"
        )
    off = [annotation.place for annotation, share in zip(annotations, on_slide, strict=True) if share < 0.5]
    if off:
        message = "%s: %d of %d areas lie more than half outside the slide, the first: %s; is it this slide's file?"
        logger.warning(message, path, len(off), len(annotations), off[0])
