"""Serves slides and maps as Deep Zoom tiles, with the pages that show them, on loopback.

Requests name results that were found at the start, levels and tiles; no path is ever made from a request. Links are
looked at anew at each request: a file is shown only while it is where it was, within the folder of its slide.
"""

import logging
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from wsss_mm import places
from wsss_mm.errors import InputError
from wsss_mm.pages import add_shared
from wsss_mm.serving import harden
from wsss_mm.wsi.viewer.guard import answer_errors, asked_place
from wsss_mm.wsi.viewer.overview import make_environment, render_overview
from wsss_mm.wsi.viewer.results import Result
from wsss_mm.wsi.viewer.shown import Shown
from wsss_mm.wsi.viewer.tiles import jpeg, png

if TYPE_CHECKING:
    from flask import Flask
    from werkzeug.wrappers import Response as BaseResponse

    from wsss_mm.wsi.viewer.correcting import Desk
    from wsss_mm.wsi.viewer.project import Project
    from wsss_mm.wsi.viewer.remarking import RemarkDesk

logger = logging.getLogger(__name__)

_LAYERS: Mapping[str, dict[str, Any]] = {
    "map": {"name": "Map", "on": True, "opacity": 40, "outlines": False, "key": "M"},
    "confidence": {"name": "Confidence", "on": False, "opacity": 80, "outlines": False, "key": "C"},
    "truth": {"name": "Truth", "on": False, "opacity": 100, "outlines": True, "key": "T"},
    "drawn": {"name": "Annotations", "on": False, "opacity": 100, "outlines": True, "key": "A"},
}
"""How layers lie over a slide at first."""


def make_app(
    results: list[Result],
    slides: Mapping[str, Path],
    script: Mapping[str, bytes],
    desk: "Desk | None" = None,
    *,
    project: "Project | None" = None,
    remarks: "RemarkDesk | None" = None,
    failed: Mapping[str, str] | None = None,
) -> "Flask":
    """The pages and tiles as a Flask application.

    Args:
        results: what is shown.
        slides: slide files by the results' names; results without are shown as maps alone.
        script: OpenSeadragon's files, see `wsss_mm.wsi.viewer.openseadragon.read_archive`.
        desk: takes what a reader finds wrong; None where nothing can be said.
        project: knows truth and annotations of slides; None outside of one.
        remarks: takes notes and bad slides; None where nothing can be written.
        failed: why slides failed when they were last segmented, by slide_id.
    """
    from flask import Flask, Response, abort

    app = Flask(__name__)
    harden(app, inline_styles=True)  # OpenSeadragon's
    add_shared(app)
    shown = Shown({result.name: result for result in results}, slides)
    shown.project = project
    _add_pages(app, shown, desk, remarks)
    _add_overview(app, shown, remarks, failed or {})
    _add_tiles(app, shown)
    _add_missing(app)
    answer_errors(app)
    for one in (desk, remarks):
        if one is not None:
            one.answer(app, shown)

    @app.get("/openseadragon/<path:name>")
    def openseadragon(name: str) -> Response:
        kind = "text/javascript" if name.endswith(".js") else "image/png"
        return Response(script[name], mimetype=kind) if name in script else abort(404)

    return app


def view_of(result: Result, layers: Iterable[str], *, slide: bool) -> dict[str, Any]:
    """What the scripts of a slide's page are told.

    Args:
        result: That is shown.
        layers: Kinds of those there are, in their order.
        slide: Whether the slide itself was found.
    """
    width = result.bounds[2]
    return {
        "slide": slide,
        "widthUm": width * result.slide_mpp,
        "mapWidth": result.size[0] * result.mpp / result.slide_mpp / width,
        "levelWidth": width,
        "layers": [{"kind": kind, **_LAYERS[kind]} for kind in layers],
        "classes": [{"code": item.code, "name": item.name, "color": item.color} for item in result.classes],
    }


def _add_pages(app: "Flask", shown: Shown, desk: "Desk | None", remarks: "RemarkDesk | None") -> None:
    from flask import Response, request, send_file

    templates = make_environment()

    @app.get("/slides/<name>/")
    def slide(name: str) -> str:
        result = shown.result(name)
        wrong = None if desk is None else desk.told(result)
        said = None if remarks is None else remarks.told(result)
        page = templates.get_template("slide.html")
        view = view_of(result, shown.layers(name), slide=name in shown.slides)
        others, older = list(shown.results), shown.is_older(name)
        return page.render(result=result, view=view, others=others, older=older, wrong=wrong, said=said)

    @app.get(f"/slides/<name>/{places.OVERLAY}")
    def overlay(name: str) -> Response:
        # an etag is made of the path, which may be no UTF-8
        return send_file(shown.file(name, places.OVERLAY), etag=False)

    @app.get("/slides/<name>/thumbnail.jpg")
    def thumbnail(name: str) -> "BaseResponse":
        stamp, picture = shown.thumbnail(name)
        response = Response(picture, mimetype="image/jpeg")
        response.headers["Cache-Control"] = "private, no-cache"  # kept, and asked for whether it is the same
        response.set_etag(stamp)
        return response.make_conditional(request)


def _add_missing(app: "Flask") -> None:
    """Lead back who followed a wrong link."""
    from flask import request
    from werkzeug.exceptions import NotFound

    templates = make_environment()

    @app.errorhandler(404)
    def missing(error: NotFound) -> "tuple[str, int] | NotFound":
        if "." in request.path.rpartition("/")[2]:  # a tile or a picture, which nobody reads
            return error
        return templates.get_template("missing.html").render(start=f"{request.script_root}/"), 404


def _add_overview(app: "Flask", shown: Shown, remarks: "RemarkDesk | None", failed: Mapping[str, str]) -> None:
    from flask import redirect

    @app.get("/")
    def overview() -> "str | BaseResponse":
        if len(shown.results) == 1 and not failed:
            return redirect(f"slides/{quote(next(iter(shown.results)))}/")
        aside = {} if remarks is None else remarks.aside(shown.results)
        results = list(shown.results.values())
        return render_overview(results, failed=failed, aside=aside, since=len(shown.since()))


def _add_tiles(app: "Flask", shown: Shown) -> None:
    from flask import Response, abort, jsonify, request

    @app.get("/slides/<name>/<kind>.dzi")
    def description(name: str, kind: str) -> Response:
        found = (
            shown.tiles(name, kind).description("jpeg") if kind == "slide" else shown.layer(name, kind).description()
        )
        return Response(found, mimetype="application/xml")

    @app.get("/slides/<name>/at")
    def at(name: str) -> Response:
        try:
            return jsonify(shown.at(name, *asked_place(request.args)))
        except InputError as error:
            abort(400, str(error))

    @app.get("/slides/<name>/<kind>_files/<int:level>/<int:column>_<int:row>.jpeg")
    @app.get("/slides/<name>/<kind>_files/<int:level>/<int:column>_<int:row>.png")
    def tile(name: str, kind: str, level: int, column: int, row: int) -> Response:
        from openslide import OpenSlideError

        try:
            if kind == "slide":
                picture = shown.tiles(name, kind).tile(level, (column, row))
            else:
                picture = shown.layer(name, kind).labels(level, (column, row))
        except ValueError:
            abort(404)
        except OpenSlideError as error:  # OpenSlide refuses its handle from now on
            logger.warning("%s: tile cannot be decoded (%s)", name, error)
            shown.forget_tiles()
            abort(404)
        if kind == "slide":
            return Response(jpeg(picture), mimetype="image/jpeg")
        return Response(png(picture), mimetype="image/png")
