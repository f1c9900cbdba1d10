"""Serves slides and maps as Deep Zoom tiles, with the pages that show them, on loopback.

Requests name results that were found at the start, levels and tiles; no path is ever made from a request. Links are
looked at anew at each request: a file is shown only while it is where it was, within the folder of its slide.
"""

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote

from wsss_mm import places
from wsss_mm.pages import add_shared
from wsss_mm.serving import harden
from wsss_mm.wsi.viewer.overview import make_environment, render_overview
from wsss_mm.wsi.viewer.results import Result
from wsss_mm.wsi.viewer.shown import Shown
from wsss_mm.wsi.viewer.tiles import jpeg, png

if TYPE_CHECKING:
    from flask import Flask
    from werkzeug.wrappers import Response as BaseResponse

    from wsss_mm.wsi.viewer.correcting import Desk

logger = logging.getLogger(__name__)


def make_app(
    results: list[Result],
    slides: Mapping[str, Path],
    script: Mapping[str, bytes],
    desk: "Desk | None" = None,
) -> "Flask":
    """The pages and tiles as a Flask application.

    Args:
        results: what is shown.
        slides: slide files by the results' names; results without are shown as maps alone.
        script: OpenSeadragon's files, see `wsss_mm.wsi.viewer.openseadragon.read_archive`.
        desk: takes what a reader finds wrong; None where nothing can be said.
    """
    from flask import Flask, Response, abort

    app = Flask(__name__)
    harden(app, inline_styles=True)  # OpenSeadragon's
    add_shared(app)
    shown = Shown({result.name: result for result in results}, slides)
    _add_pages(app, shown, desk)
    _add_tiles(app, shown)
    if desk is not None:
        desk.answer(app, shown)

    @app.get("/openseadragon/<path:name>")
    def openseadragon(name: str) -> Response:
        kind = "text/javascript" if name.endswith(".js") else "image/png"
        return Response(script[name], mimetype=kind) if name in script else abort(404)

    return app


def _add_pages(app: "Flask", shown: Shown, desk: "Desk | None") -> None:
    from flask import Response, redirect, send_file

    templates = make_environment()

    @app.get("/")
    def overview() -> "str | BaseResponse":
        if len(shown.results) == 1:
            return redirect(f"slides/{quote(next(iter(shown.results)))}/")
        return render_overview(list(shown.results.values()))

    @app.get("/slides/<name>/")
    def slide(name: str) -> str:
        result = shown.result(name)
        width = result.bounds[2]
        view = {
            "slide": name in shown.slides,
            "widthUm": width * result.slide_mpp,
            "mapWidth": result.size[0] * result.mpp / result.slide_mpp / width,
            "levelWidth": width,
            "confidence": result.certain,
        }
        wrong = None if desk is None else desk.told(result)
        page = templates.get_template("slide.html")
        return page.render(result=result, view=view, others=list(shown.results), wrong=wrong)

    @app.get(f"/slides/<name>/{places.OVERLAY}")
    def overlay(name: str) -> Response:
        # an etag is made of the path, which may be no UTF-8
        return send_file(shown.file(name, places.OVERLAY), etag=False)


def _add_tiles(app: "Flask", shown: Shown) -> None:
    from flask import Response, abort

    @app.get("/slides/<name>/<kind>.dzi")
    def description(name: str, kind: str) -> Response:
        grid = shown.tiles(name, kind).grid
        return Response(grid.get_dzi("jpeg" if kind == "slide" else "png"), mimetype="application/xml")

    @app.get("/slides/<name>/<kind>_files/<int:level>/<int:column>_<int:row>.jpeg")
    @app.get("/slides/<name>/<kind>_files/<int:level>/<int:column>_<int:row>.png")
    def tile(name: str, kind: str, level: int, column: int, row: int) -> Response:
        from openslide import OpenSlideError

        try:
            found = shown.tiles(name, kind)
            picture = (found.tile if kind == "slide" else found.labels)(level, (column, row))
        except ValueError:
            abort(404)
        except OpenSlideError as error:  # OpenSlide refuses its handle from now on
            logger.warning("%s: tile cannot be decoded (%s)", name, error)
            shown.forget_tiles()
            abort(404)
        if kind == "slide":
            return Response(jpeg(picture), mimetype="image/jpeg")
        return Response(png(picture), mimetype="image/png")
