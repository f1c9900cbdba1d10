"""Serves slides and maps as Deep Zoom tiles, with the pages that show them, on loopback.

Requests name results that were found at the start, levels and tiles; no path is ever made from a request.
"""

import io
import logging
import socket
from collections.abc import Callable, Mapping
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote

import numpy as np
from PIL import Image

from wsss_mm.errors import InputError
from wsss_mm.patches.vocabulary import IGNORE_COLOR
from wsss_mm.wsi.viewer.overview import make_environment, render_overview
from wsss_mm.wsi.viewer.results import Result

if TYPE_CHECKING:
    from flask import Flask, Response
    from openslide.deepzoom import DeepZoomGenerator

logger = logging.getLogger(__name__)

HOST = "127.0.0.1"
_TILE, _OVERLAP, _QUALITY = 254, 1, 85
_OPEN = 16  # slides and maps held open
_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data: blob:; "
    "connect-src 'self'"
)


def make_app(results: list[Result], slides: Mapping[str, Path], script: Mapping[str, bytes]) -> "Flask":
    """The pages and tiles as a Flask application.

    Args:
        results: what is shown.
        slides: slide files by the results' names; results without are shown as maps alone.
        script: OpenSeadragon's files, see `wsss_mm.wsi.viewer.openseadragon.read_archive`.
    """
    from flask import Flask, Response, abort, redirect, send_file

    app = Flask(__name__)
    app.config["TRUSTED_HOSTS"] = [HOST, "localhost"]  # no page of another site reaches this one by a name of its own
    by_name = {result.name: result for result in results}
    templates = make_environment()
    tiles = lru_cache(maxsize=_OPEN)(lambda kind, name: _open_tiles(by_name[name], slides.get(name), kind))

    def result_of(name: str) -> Result:
        return by_name[name] if name in by_name else abort(404)

    def tiles_of(name: str, kind: str) -> "DeepZoomGenerator":
        result_of(name)
        if kind not in ("slide", "map") or (kind == "slide" and name not in slides):
            abort(404)
        return tiles(kind, name)

    @app.get("/")
    def overview() -> "str | Response":
        if len(results) == 1:
            return redirect(f"slides/{quote(results[0].name)}/")
        return render_overview(results)

    @app.get("/slides/<name>/")
    def slide(name: str) -> str:
        result = result_of(name)
        width = result.bounds[2]
        view = {
            "slide": name in slides,
            "widthUm": width * result.slide_mpp,
            "mapWidth": result.size[0] * result.mpp / result.slide_mpp / width,
        }
        return templates.get_template("slide.html").render(result=result, view=view, others=list(by_name))

    @app.get("/slides/<name>/overlay.png")
    def overlay(name: str) -> "Response":
        return send_file((result_of(name).folder / "overlay.png").resolve())

    @app.get("/slides/<name>/<kind>.dzi")
    def description(name: str, kind: str) -> "Response":
        found = tiles_of(name, kind)
        return Response(found.get_dzi("jpeg" if kind == "slide" else "png"), mimetype="application/xml")

    @app.get("/slides/<name>/<kind>_files/<int:level>/<int:column>_<int:row>.jpeg")
    @app.get("/slides/<name>/<kind>_files/<int:level>/<int:column>_<int:row>.png")
    def tile(name: str, kind: str, level: int, column: int, row: int) -> "Response":
        from openslide import OpenSlideError

        try:
            picture = tiles_of(name, kind).get_tile(level, (column, row))
        except ValueError:
            abort(404)
        except OpenSlideError as error:  # OpenSlide refuses its handle from now on
            logger.warning("%s: tile cannot be decoded (%s)", name, error)
            tiles.cache_clear()
            abort(404)
        if kind == "slide":
            return Response(_jpeg(picture), mimetype="image/jpeg")
        return Response(_png(picture), mimetype="image/png")

    @app.get("/openseadragon/<path:name>")
    def openseadragon(name: str) -> "Response":
        kind = "text/javascript" if name.endswith(".js") else "image/png"
        return Response(script[name], mimetype=kind) if name in script else abort(404)

    @app.after_request
    def harden(response: "Response") -> "Response":
        response.headers["Content-Security-Policy"] = _POLICY
        response.headers["X-Content-Type-Options"] = "nosniff"
        return response

    return app


def serve(app: "Flask", port: int, started: Callable[[int], None]) -> None:
    """Serve on loopback until interrupted.

    Args:
        app: from `make_app`.
        port: 0 for any free one.
        started: called with the port.

    Raises:
        InputError: the port is taken.
    """
    from werkzeug.serving import make_server

    with socket.socket() as listening:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listening.bind((HOST, port))
        except (OSError, OverflowError) as error:
            raise InputError(f"port {port}: cannot be used ({error}); choose another with --port") from None
        listening.listen()
        server = make_server(HOST, port, app, threaded=True, fd=listening.fileno())
        started(listening.getsockname()[1])
        try:
            server.serve_forever()
        except KeyboardInterrupt:
            server.shutdown()


def _open_tiles(result: Result, slide: Path | None, kind: str) -> "DeepZoomGenerator":
    import openslide
    from openslide.deepzoom import DeepZoomGenerator

    source = openslide.OpenSlide(slide if kind == "slide" else result.folder / "segmentation.tif")
    return DeepZoomGenerator(source, _TILE, _OVERLAP, limit_bounds=True)


def _jpeg(picture: Image.Image) -> bytes:
    stream = io.BytesIO()
    picture.convert("RGB").save(stream, "JPEG", quality=_QUALITY)
    return stream.getvalue()


def _png(picture: Image.Image) -> bytes:
    """Background becomes transparent, so that the slide shows through."""
    pixels = np.asarray(picture.convert("RGBA")).copy()
    pixels[(pixels[..., :3] == IGNORE_COLOR).all(axis=-1), 3] = 0
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, "PNG", compress_level=1)
    return stream.getvalue()
