"""The view in which readers draw: tiles of slides, strokes made into polygons, and drawings kept.

Requests name slides by their place among those of the cohort, and say which slide they mean; no path is made of them.
"""

import logging
import threading
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import shapely

from wsss_mm import places
from wsss_mm.errors import InputError
from wsss_mm.labelling.drawings import (
    IGNORED,
    REGION,
    SORTS,
    Area,
    Sort,
    StaleError,
    clean,
    drawing_path,
    from_rings,
    names_of,
    read_drawing,
    stroke,
    to_rings,
    write_drawing,
)
from wsss_mm.labelling.posted import request_id
from wsss_mm.names import folder_name
from wsss_mm.wsi.outlines import outlines_of, read_outlines
from wsss_mm.wsi.viewer.openseadragon import SCRIPT, archive_path, read_archive
from wsss_mm.wsi.viewer.tiles import OVERLAP, TILE, Tiles, jpeg

if TYPE_CHECKING:
    from flask import Flask, Response

    from wsss_mm.cohort.cohort import Slide
    from wsss_mm.web.label.front import Front
    from wsss_mm.web.label.session import Session

logger = logging.getLogger(__name__)

_OPEN, _OUTLINED = 8, 2  # slides held open, and slides whose outlines are
_LARGEST = 32 << 20  # bytes of a drawing
_STEP = 2.0  # um that an outline may be moved by when the stairs of its pixels are left out
_KINDS = {REGION: ("roi", "Region of interest"), IGNORED: ("ignore", "Not to be judged")}


class Easel:
    """Slides to draw on, and what is drawn on them."""

    def __init__(self, session: "Session") -> None:
        self._session = session
        self.slides: list[Slide] = session.cohort.with_files()
        self.colors = {sort: names_of(sort, session.vocabulary) for sort in SORTS}
        self._codes = {item.name: item.code for item in session.vocabulary.classes}
        self._codes |= {name: code for name, (code, _) in _KINDS.items()}
        self._names = {code: name for name, code in self._codes.items()}
        self._lock = threading.Lock()
        self._tiles = lru_cache(maxsize=_OPEN)(self._open)
        self._outlines = lru_cache(maxsize=_OUTLINED)(_Outlines)

    @property
    def kinds(self) -> list[dict[str, Any]]:
        """What can be drawn: classes of the vocabulary, and what is none."""
        return [
            {
                "code": self._codes[name],
                "name": _KINDS[name][1] if name in _KINDS else name,
                "color": "#{:02x}{:02x}{:02x}".format(*color),
                "sort": sort,
            }
            for sort in SORTS
            for name, color in self.colors[sort].items()
        ]

    def path(self, sort: Sort, number: int) -> Path:
        """The file of a drawing."""
        return drawing_path(sort, self.slides[number].slide_id, self._session.folder)

    def size(self, number: int) -> tuple[int, int]:
        """Width and height of what was scanned, level-0 px."""
        return self.tiles(number).grid.level_dimensions[-1]

    def tiles(self, number: int) -> Tiles:
        """A slide's tiles.

        Raises:
            InputError: it is damaged, or no longer the one that the cohort knows.
        """
        from openslide import OpenSlideError

        try:
            with self._lock:
                return self._tiles(number)
        except (OpenSlideError, OSError) as error:
            raise InputError(f"{self.slides[number].path}: cannot be opened ({error}); fetch it again") from None

    def forget(self) -> None:
        """Open slides anew when they are asked for next."""
        with self._lock:
            self._tiles.cache_clear()

    def drawn(self, sort: Sort, number: int) -> dict[str, Any]:
        """A drawing as the page has it; what is wrong with it, if it cannot be changed."""
        try:
            drawing = read_drawing(self.path(sort, number), self.slides[number].slide_id)
            return {"edit": drawing.edit, "areas": [self._shown(area, sort, number) for area in drawing.areas]}
        except InputError as error:
            return {"edit": "", "areas": [], "error": str(error)}

    def save(self, number: int, body: Mapping[str, Any]) -> dict[str, Any]:
        """Keep a drawing: its edit, and those areas that were not kept as they came.

        Raises:
            StaleError: somebody else drew on the slide.
            InputError: what came is no drawing, or it cannot be written.
        """
        sort, edit, given = body.get("sort"), body.get("edit"), body.get("areas")
        if sort not in SORTS or not isinstance(edit, str) or not isinstance(given, list):
            raise InputError("no drawing; reload the page")
        request, size, areas, changed = request_id(body), self.size(number), [], {}
        for one in given:
            try:
                name, rings = self._names[one["kind"]], one["polygons"]
                geometry = clean(from_rings(rings), size)
                identity = request_id({"id": one["id"]})
            except (ValueError, TypeError, KeyError, AttributeError, shapely.errors.ShapelyError):
                raise InputError("an area is none; reload the page") from None
            if name not in self.colors[sort]:
                raise InputError(f"{name} is nothing of {sort}; reload the page")
            kept = to_rings(geometry)
            if kept != rings:
                changed[identity] = kept
            if kept:
                areas.append(Area(identity, name, geometry))
        path, slide = self.path(sort, number), self.slides[number].slide_id
        found = write_drawing(path, slide, areas, edit=edit, request=request, colors=self.colors[sort])
        return {"edit": found.edit, "changed": changed}

    def combined(self, number: int, body: Mapping[str, Any]) -> dict[str, Any]:
        """What a stroke makes of areas: `add` it to them, or `cut` it out of each."""
        size, onto, how = self.size(number), body.get("onto") or {}, body.get("how")
        try:
            painted = stroke(body.get("points"), float(body.get("radius", 0)))
            given = {str(name): from_rings(rings) for name, rings in onto.items()}
        except (ValueError, TypeError, AttributeError, shapely.errors.ShapelyError):
            raise InputError("no stroke; reload the page") from None
        sound = {name: shapely.make_valid(geometry, method="structure") for name, geometry in given.items()}
        if how == "cut":
            cut = {name: g for name, g in sound.items() if shapely.intersects(g, painted)}
            return {"areas": {name: to_rings(clean(shapely.difference(g, painted), size)) for name, g in cut.items()}}
        name, before = next(iter(sound.items()), ("", None))
        if before is not None and not shapely.intersects(before, painted):
            return {"areas": {}, "apart": to_rings(clean(painted, size))}
        whole = painted if before is None else shapely.union(before, painted)
        return {"areas": {name: to_rings(clean(whole, size))}}

    def region(self, number: int, x: float, y: float) -> dict[str, Any]:
        """The segmented region at a place, level-0 px from the corner of what was scanned; nothing where there is none.

        Raises:
            InputError: the slide is not segmented, or its outlines are damaged.
        """
        path = self._segmented(number)
        if path is None:
            raise InputError("this slide is not segmented yet: there is nothing to take over")
        state = path.stat()
        found = self._outlines(path, state.st_mtime_ns, state.st_size).at(x, y)
        if found is None:
            return {"kind": None, "polygons": []}
        name, polygon = found
        index = self._session.vocabulary.find(name)
        code = None if index is None else self._session.vocabulary.classes[index].code
        with self.slides[number].open() as reader:
            smooth = shapely.simplify(polygon, _STEP / reader.mpp)
        return {"kind": code, "polygons": to_rings(clean(smooth, self.size(number)))}

    def is_segmented(self, number: int) -> bool:
        """Whether there is something to take over."""
        return self._segmented(number) is not None

    def _segmented(self, number: int) -> Path | None:
        folder = self._session.options.root / places.RESULTS / folder_name(self.slides[number].slide_id)
        return outlines_of(folder) if (folder / places.SUMMARY).is_file() else None

    def _open(self, number: int) -> Tiles:
        slide = self.slides[number]
        with slide.open() as reader:  # the slide that the cohort knows
            return Tiles(reader.path)

    def _shown(self, area: Area, sort: Sort, number: int) -> dict[str, Any]:
        if area.name not in self.colors[sort]:
            raise InputError(
                f"{self.path(sort, number)}: {area.name!r} is no class of vocabulary {self._session.vocabulary.name!r} "
                "any more; give the area one in QuPath, or move the file away to begin anew"
            )
        return {"id": area.id, "kind": self._codes[area.name], "polygons": to_rings(area.geometry)}


class _Outlines:
    """Regions of a segmented slide, found by a place in them."""

    def __init__(self, path: Path, *_: int) -> None:
        found = [(str(item.name), item.polygon) for item in read_outlines(path) if item.polygon is not None]
        self._found, self._tree = found, shapely.STRtree([polygon for _, polygon in found])

    def at(self, x: float, y: float) -> tuple[str, shapely.Polygon] | None:
        """Class and polygon at a place."""
        rows = self._tree.query(shapely.Point(x, y), predicate="intersects")
        return self._found[int(rows[0])] if len(rows) else None


def add_drawing(app: "Flask", front: "Front") -> None:
    """Answer what the view asks for."""
    easel = Easel(front.session)
    _add_slides(app, front, easel)
    _add_drawings(app, front, easel)

    @lru_cache(maxsize=1)
    def script() -> bytes:
        return read_archive(archive_path())[SCRIPT]

    @app.get("/openseadragon.js")
    def openseadragon() -> "Response":
        from flask import Response, abort

        front.desk()
        try:
            response = Response(script(), mimetype="text/javascript")
        except InputError as error:
            logger.warning("%s", error)
            abort(404)
        response.headers["Cache-Control"] = "private, max-age=86400"
        return response


def _add_slides(app: "Flask", front: "Front", easel: Easel) -> None:
    from flask import Response, abort, jsonify

    @app.get("/api/draw")
    def slides() -> Response:
        front.desk()
        found = [
            {
                "id": slide.slide_id,
                "split": slide.split,
                "site": slide.site,
                "segmented": easel.is_segmented(number),
                **{sort: easel.path(sort, number).is_file() for sort in SORTS},
            }
            for number, slide in enumerate(easel.slides)
        ]
        return jsonify(slides=found, kinds=easel.kinds, script=archive_path().is_file())

    @app.get("/draw/<int:number>/<int:level>/<int:column>_<int:row>.jpeg")
    def tile(number: int, level: int, column: int, row: int) -> Response:
        from openslide import OpenSlideError

        front.desk()
        _known(easel, number)
        try:
            picture = easel.tiles(number).tile(level, (column, row))
        except (ValueError, InputError):
            abort(404)
        except OpenSlideError as error:  # OpenSlide refuses its handle from now on
            logger.warning("%s: tile cannot be decoded (%s)", easel.slides[number].path, error)
            easel.forget()
            abort(404)
        response = Response(jpeg(picture), mimetype="image/jpeg")
        response.headers["Cache-Control"] = "private, max-age=3600"
        return response


def _add_drawings(app: "Flask", front: "Front", easel: Easel) -> None:
    from flask import Response, jsonify, request

    def posted(number: int) -> Mapping[str, Any]:
        from flask import abort

        request.max_content_length = _LARGEST
        body = front.body(front.desk())
        _known(easel, number)
        if body.get("slide") != easel.slides[number].slide_id:
            abort(409)
        return body

    @app.get("/api/draw/<int:number>")
    def drawing(number: int) -> Response:
        front.desk()
        _known(easel, number)
        with easel.slides[number].open() as reader:
            bounds, mpp = reader.bounds, reader.mpp
        grid = easel.tiles(number).grid
        return jsonify(
            id=easel.slides[number].slide_id,
            width=grid.level_dimensions[-1][0],
            height=grid.level_dimensions[-1][1],
            levels=grid.level_count,
            tile=TILE,
            overlap=OVERLAP,
            origin=list(bounds[:2]),
            mpp=mpp,
            segmented=easel.is_segmented(number),
            **{sort: easel.drawn(sort, number) for sort in SORTS},
        )

    @app.post("/api/draw/<int:number>")
    def save(number: int) -> "Response | tuple[Response, int]":
        try:
            return jsonify(easel.save(number, posted(number)))
        except StaleError as error:
            return jsonify(error=str(error)), 409
        except (InputError, OSError) as error:
            if isinstance(error, InputError) and not isinstance(error.__cause__, OSError):
                raise
            logger.error("a drawing could not be written: %s", error)
            return jsonify(error=str(error)), 503

    @app.post("/api/draw/<int:number>/stroke")
    def combine(number: int) -> Response:
        return jsonify(easel.combined(number, posted(number)))

    @app.get("/api/draw/<int:number>/region")
    def region(number: int) -> Response:
        front.desk()
        _known(easel, number)
        try:
            x, y = (float(request.args.get(name, "")) for name in ("x", "y"))
        except ValueError:
            raise InputError("no place on the slide; reload the page") from None
        if not np.isfinite([x, y]).all():
            raise InputError("no place on the slide; reload the page")
        return jsonify(easel.region(number, x, y))


def _known(easel: Easel, number: int) -> None:
    from flask import abort

    if number >= len(easel.slides):
        abort(404)
