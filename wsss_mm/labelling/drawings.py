"""What people drew on slides: areas with a class, and regions of interest, a GeoJSON file for each slide and sort.

A file is a FeatureCollection that QuPath opens, one feature a line, with coordinates in level-0 px from the corner of
what was scanned. Beside the features it says which slide it is of, and the number of its last edit: who changes it
says which edit he saw, so that two people at once overwrite nothing of each other. A file without that was not drawn
here, and is read by the line, but not changed.
"""

import glob
import hashlib
import json
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import shapely
from shapely.geometry.base import BaseGeometry

from wsss_mm import places
from wsss_mm.errors import InputError
from wsss_mm.files import atomic_path, explained, locked, parse_json, sync_folder
from wsss_mm.labelling.entries import is_id
from wsss_mm.names import folder_name
from wsss_mm.vocabulary import Vocabulary

Sort = Literal["masks", "regions"]
SORTS: tuple[Sort, ...] = ("masks", "regions")
"""Areas with a class, and regions of interest."""
REGION, IGNORED = "Region*", "Ignore*"
"""QuPath's names of classes: of a region of interest, and of what is not to be judged."""

_OTHERS = {REGION: (255, 128, 0), IGNORED: (110, 110, 110)}
_SUFFIX, _OURS, _GRID = ".geojson", "wsss_mm", 0.01  # px
_MOST_CLEANINGS = 5
_MOST = 20_000  # areas on a slide
_REMEDY = "take it as it was from git or from a backup, or move it away to begin anew"
_SIDES = 8  # of a quarter of a round end


class StaleError(InputError):
    """Somebody else changed the drawing."""


@dataclass(frozen=True)
class Area:
    """What was drawn.

    Attributes:
        id: 32 hexadecimal digits.
        name: of its class, as the vocabulary has it, or `REGION` or `IGNORED`.
        geometry: polygons, level-0 px from the corner of what was scanned.
    """

    id: str
    name: str
    geometry: shapely.MultiPolygon


@dataclass(frozen=True)
class Drawing:
    """All that was drawn on a slide of one sort, in order: later areas cover earlier ones.

    Attributes:
        areas: what was drawn.
        number: how often the file was changed.
        edit: tells this state of the file from all others; empty where there is no file.
        request: what the change that made it was called.
    """

    areas: tuple[Area, ...] = ()
    number: int = 0
    edit: str = ""
    request: str = ""


def drawing_path(sort: Sort, slide_id: str, folder: Path = places.LABELS_FOLDER) -> Path:
    """Where what is drawn on a slide is kept."""
    return folder / sort / f"{folder_name(slide_id)}{_SUFFIX}"


def names_of(sort: Sort, vocabulary: Vocabulary) -> dict[str, tuple[int, int, int]]:
    """What areas of a sort may be called, with their colours."""
    if sort == "regions":
        return {REGION: _OTHERS[REGION]}
    return {**{item.name: item.color for item in vocabulary.classes}, IGNORED: _OTHERS[IGNORED]}


def read_drawing(path: Path, slide_id: str) -> Drawing:
    """What was drawn on a slide; nothing where there is no file.

    Raises:
        InputError: the file is damaged, of another slide, or not drawn here.
    """
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        return Drawing()
    except OSError as error:
        raise InputError(f"{path}: not readable ({error.strerror}); correct its mode or its owner") from None
    try:
        content = parse_json(data)
        features, ours = content["features"], content.get(_OURS)
    except (ValueError, KeyError, TypeError, AttributeError):
        raise InputError(f"{path}: damaged, it is no GeoJSON of a drawing; {_REMEDY}") from None
    if not isinstance(ours, dict) or type(ours.get("edit")) is not int:
        raise InputError(
            f"{path}: was not drawn here, and stays as it is; name it in the table of slides as the slide's "
            "annotation or roi, and move it elsewhere to draw here"
        )
    if ours.get("slide") != slide_id:
        raise InputError(f"{path}: was drawn on slide {ours.get('slide')!r}, not on {slide_id!r}; give it its own name")
    try:
        areas = tuple(_area(feature) for feature in features)
    except (ValueError, KeyError, TypeError, IndexError, shapely.errors.ShapelyError) as error:
        raise InputError(f"{path}: damaged, one of its areas is none ({error}); {_REMEDY}") from None
    edit = f"{ours['edit']}-{hashlib.sha256(data).hexdigest()[:16]}"
    return Drawing(areas, ours["edit"], edit, str(ours.get("request", "")))


def write_drawing(
    path: Path,
    slide_id: str,
    areas: Sequence[Area],
    *,
    edit: str,
    request: str,
    colors: Mapping[str, tuple[int, int, int]],
) -> Drawing:
    """Write what is drawn on a slide, and return when it is on disk; without areas there is no file.

    The same request again changes nothing.

    Args:
        path: of the file.
        slide_id: of the slide.
        areas: all that is drawn on it, in order.
        edit: of the `Drawing` that was changed.
        request: what this change is called, 32 hexadecimal digits.
        colors: of the areas by their names.

    Raises:
        StaleError: the file was changed by somebody else.
        InputError: the file is damaged or not drawn here, or cannot be written.
    """
    with locked(path):
        for left in path.parent.glob(f".{glob.escape(path.stem)}.*{_SUFFIX}"):  # of a process that was killed
            left.unlink(missing_ok=True)
        there = read_drawing(path, slide_id)
        if there.edit and there.request == request:
            return there
        if there.edit != edit:
            if not there.edit and not areas:  # gone, as is wanted
                return there
            raise StaleError(f"{path}: somebody else has drawn on the slide meanwhile; look at it, and draw again")
        if not areas:
            with explained(path):
                path.unlink(missing_ok=True)
        else:
            _write(path, {"slide": slide_id, "edit": there.number + 1, "request": request}, areas, colors)
        sync_folder(path.parent)
        return read_drawing(path, slide_id)


def clean(geometry: BaseGeometry, size: tuple[float, float]) -> shapely.MultiPolygon:
    """The polygons of a geometry that lie on a slide of this width and height: valid, on a grid of 0.01 px.

    What is all of that already stays as it is, to the order of its corners.
    """
    if geometry.geom_type == "MultiPolygon" and geometry.is_valid and not geometry.is_empty:
        corners = shapely.get_coordinates(geometry)
        if (corners == np.round(corners, 2)).all() and (corners >= 0).all() and (corners <= size).all():
            return shapely.MultiPolygon(geometry)
    found = geometry
    for _ in range(_MOST_CLEANINGS):  # on the grid, polygons that came near each other may share an edge
        valid = shapely.make_valid(found, method="structure", keep_collapsed=False)
        with np.errstate(all="ignore"):  # of GEOS's own, which signals what it then deals with
            found = _polygons(shapely.set_precision(shapely.intersection(valid, shapely.box(0, 0, *size)), _GRID))
        if found.is_valid:
            break
    return found


def from_rings(polygons: object) -> shapely.MultiPolygon:
    """Polygons from lists of rings, the first of each the outline, the others holes, of lists of places.

    Raises:
        ValueError: they are none.
    """
    if not isinstance(polygons, list):
        raise ValueError("no list of polygons")
    made = []
    for rings in polygons:
        if not isinstance(rings, list) or not rings:
            raise ValueError("no list of rings")
        made.append(shapely.Polygon(_places(rings[0]), [_places(ring) for ring in rings[1:]]))
    return shapely.MultiPolygon(made)


def to_rings(geometry: shapely.MultiPolygon) -> list[list[list[list[float]]]]:
    """Polygons as `from_rings` takes them, and GeoJSON a MultiPolygon: rings end where they begin."""
    return [
        [np.round(shapely.get_coordinates(ring), 2).tolist() for ring in (part.exterior, *part.interiors)]
        for part in geometry.geoms
    ]


def stroke(points: object, radius: float) -> BaseGeometry:
    """What a round brush of a radius, px, paints on its way.

    Raises:
        ValueError: the way is none.
    """
    way = _places(points, least=1)
    if not (np.isfinite(radius) and radius > 0):
        raise ValueError("no radius")
    line = shapely.LineString(way) if len(way) > 1 else shapely.Point(way[0])
    return shapely.simplify(shapely.buffer(line, radius, quad_segs=_SIDES), radius / 100)


def _places(points: object, least: int = 3) -> np.ndarray:
    try:
        found = np.asarray(points, np.float64)
    except (ValueError, TypeError, OverflowError):
        raise ValueError("no list of places") from None
    if found.ndim != 2 or found.shape[1] != 2 or len(found) < least or not (np.abs(found) < 1e9).all():
        raise ValueError("no list of places")
    return found


def _polygons(geometry: BaseGeometry) -> shapely.MultiPolygon:
    parts = shapely.get_parts(geometry)
    while any(part.geom_type == "GeometryCollection" or part.geom_type.startswith("Multi") for part in parts):
        parts = shapely.get_parts(parts)
    return shapely.MultiPolygon([part for part in parts if part.geom_type == "Polygon" and part.area])


def _area(feature: Any) -> Area:
    name, geometry = feature["properties"]["classification"]["name"], feature["geometry"]
    kind, parts = geometry["type"], geometry["coordinates"]
    if kind not in ("Polygon", "MultiPolygon"):
        raise ValueError(f"{kind} is no polygon")
    identity = str(feature.get("id", "")).replace("-", "")
    if not (isinstance(name, str) and is_id(identity)):
        raise ValueError("it has no class or no id")
    return Area(identity, name, from_rings([parts] if kind == "Polygon" else parts))


def _write(path: Path, ours: Mapping[str, Any], areas: Iterable[Area], colors: Mapping[str, Any]) -> None:
    lines = ",\n".join(_feature(area, colors[area.name]) for area in areas)
    text = f'{{"type": "FeatureCollection", "{_OURS}": {json.dumps(ours)}, "features": [\n{lines}\n]}}\n'
    with atomic_path(path) as temporary, temporary.open("w", encoding="utf-8") as stream:
        stream.write(text)
        stream.flush()
        os.fsync(stream.fileno())


def _feature(area: Area, color: Sequence[int]) -> str:
    parts = to_rings(area.geometry)
    geometry = (
        {"type": "Polygon", "coordinates": parts[0]}
        if len(parts) == 1
        else {"type": "MultiPolygon", "coordinates": parts}
    )
    dashed = "-".join(area.id[start:stop] for start, stop in ((0, 8), (8, 12), (12, 16), (16, 20), (20, 32)))  # a UUID
    properties = {"objectType": "annotation", "classification": {"name": area.name, "color": list(color)}}
    feature = {"type": "Feature", "id": dashed, "geometry": geometry, "properties": properties}
    return json.dumps(feature, ensure_ascii=False, separators=(",", ":"))
