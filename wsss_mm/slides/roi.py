"""Polygons drawn in QuPath: regions of interest and annotations, as GeoJSON."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import shapely
from numpy.typing import ArrayLike, NDArray
from shapely.geometry.base import BaseGeometry

from wsss_mm.errors import InputError
from wsss_mm.files import read_json

_FARTHEST = 1e9  # px; a slide is a thousand times smaller


@dataclass(frozen=True)
class Annotation:
    """A drawn area: its class as named in QuPath (empty if none) and its polygons in level-0 px."""

    name: str
    geometry: BaseGeometry


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


def read_annotations(path: Path | str, origin: tuple[float, float] = (0, 0)) -> list[Annotation]:
    """Read the areas of a QuPath GeoJSON export, in the order drawn.

    Args:
        path: a FeatureCollection, a list of features or a single one. Lines and points are no areas and are left out.
        origin: level-0 px of QuPath's origin: the first two values of `SlideReader.bounds`.

    Raises:
        InputError: the file is missing, is no GeoJSON, or holds no area.
    """
    path = Path(path)
    try:
        content = read_json(path)
    except FileNotFoundError:
        raise InputError(f"{path}: no such file; correct the path in the slide table or leave it empty") from None
    except (OSError, ValueError) as error:
        raise InputError(f"{path}: not readable as GeoJSON ({error}); export it again from QuPath") from None
    annotations = []
    for number, feature in enumerate(_features(content), start=1):
        try:
            geometry = _areas(_geometry(feature))
        except (InputError, ValueError, RecursionError, shapely.errors.GEOSException) as error:
            raise InputError(f"{path}: feature {number} is no GeoJSON geometry ({error}); export it again") from None
        if not geometry.is_empty:
            annotations.append(Annotation(_name(feature), shapely.transform(geometry, lambda xy: xy + origin)))
    if not annotations:
        raise InputError(f"{path}: holds no polygon; draw an area in QuPath and export it as GeoJSON")
    return annotations


def read_region(path: Path | str, origin: tuple[float, float] = (0, 0)) -> Region:
    """Read a region of interest: the union of a file's areas; see `read_annotations`."""
    return Region(shapely.union_all([annotation.geometry for annotation in read_annotations(path, origin)]))


def rasterise(
    areas: Sequence[tuple[BaseGeometry, int]],
    corner: tuple[float, float],
    size: tuple[int, int],
    scale: float,
    fill: int = 255,
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
    x = corner[0] + (np.arange(width) + 0.5) * scale
    y = corner[1] + (np.arange(height) + 0.5) * scale
    for geometry, label in areas:
        left, top, right, bottom = geometry.bounds
        columns, rows = slice(*np.searchsorted(x, (left, right))), slice(*np.searchsorted(y, (top, bottom)))
        shapely.prepare(geometry)
        inside = shapely.contains_xy(geometry, *np.meshgrid(x[columns], y[rows]))
        labels[rows, columns][inside] = label
    return labels


def _features(content: object) -> list[object]:
    if isinstance(content, dict) and isinstance(content.get("features"), list):
        return content["features"]
    return content if isinstance(content, list) else [content]


def _geometry(feature: object) -> BaseGeometry | None:
    geometry = feature.get("geometry", feature) if isinstance(feature, dict) else feature
    if geometry is None and isinstance(feature, dict):  # GeoJSON's word for a feature that lies nowhere
        return None
    return shapely.from_geojson(json.dumps(geometry))


def _areas(geometry: BaseGeometry | None) -> BaseGeometry:
    """The polygons of a geometry, made valid: hand-drawn outlines cross themselves."""
    if geometry is None:
        return shapely.MultiPolygon()
    if not (np.abs(shapely.get_coordinates(geometry)) <= _FARTHEST).all():
        raise InputError("lies nowhere on a slide")
    parts = shapely.get_parts(shapely.make_valid(geometry))
    while any(part.geom_type == "GeometryCollection" or part.geom_type.startswith("Multi") for part in parts):
        parts = shapely.get_parts(parts)
    polygons = [part for part in parts if part.geom_type == "Polygon" and part.area]
    areas = shapely.MultiPolygon(polygons)
    return areas if areas.is_valid else shapely.MultiPolygon(shapely.get_parts(shapely.union_all(polygons)).tolist())


def _name(feature: object) -> str:
    """Class of a QuPath feature: `properties.classification.name`, in older exports a plain string."""
    properties = feature.get("properties") if isinstance(feature, dict) else None
    classification = properties.get("classification") if isinstance(properties, dict) else None
    name = classification.get("name") if isinstance(classification, dict) else classification
    return name if isinstance(name, str) else ""
