"""The labelling page's server: JSON and pictures for readers who are let in, and nothing for anybody else.

Requests name rows of the table of candidates; no path is ever made from a request.
"""

import logging
from collections.abc import Callable, Collection
from typing import TYPE_CHECKING

from wsss_mm.errors import InputError
from wsss_mm.pages import ROOMS_BEFORE, add_shared, served_rooms
from wsss_mm.serving import harden
from wsss_mm.web.label.answers import add_answers
from wsss_mm.web.label.doors import Doors, remembered
from wsss_mm.web.label.draw import add_drawing
from wsss_mm.web.label.front import Front, OtherReaderError
from wsss_mm.web.label.listing import add_listing
from wsss_mm.web.label.looks import add_agreement, add_looks
from wsss_mm.web.label.pictures import PARTS, Pictures, SlideGoneError
from wsss_mm.web.label.requests import read_rows
from wsss_mm.web.label.session import Session
from wsss_mm.web.missing import error_page

if TYPE_CHECKING:
    from flask import Flask
    from werkzeug.wrappers import Response as BaseResponse

logger = logging.getLogger(__name__)

_LARGEST = 2 << 20  # bytes of a request
_SPRITE = 512  # small pictures in one sheet


def make_app(
    session: Session,
    doors: Doors,
    *,
    hosts: Collection[str] = (),
    secure: bool = False,
    viewer: Callable[[str], str | None] = lambda _: None,
) -> "Flask":
    """The page as a Flask application.

    Args:
        session: what is labelled.
        doors: who may.
        hosts: names and addresses that it is asked for by, besides loopback's.
        secure: whether it is served over TLS.
        viewer: the address at which a slide's segmentation can be looked at, by slide_id.
    """
    from flask import Flask

    app = Flask(__name__)
    app.config["MAX_CONTENT_LENGTH"] = _LARGEST
    app.json.sort_keys = False  # ty: ignore[missing-attribute]
    harden(app, hosts)
    add_shared(app)
    front = Front(session, doors, secure=secure, viewer=viewer)
    _add_errors(app)
    _add_page(app, front)
    add_listing(app, front)
    add_answers(app, front)
    _add_pictures(app, front)
    add_looks(app, front)
    add_agreement(app, front)
    add_drawing(app, front)
    return app


def _add_errors(app: "Flask") -> None:
    from flask import Response, jsonify, request
    from werkzeug.exceptions import HTTPException

    @app.errorhandler(OtherReaderError)
    def other(_: OtherReaderError) -> tuple[Response, int]:
        error = "this page is not of the reader whom this browser is now; open it again"
        return jsonify(error=error, reason="reader"), 409

    said = {
        401: "this page is for readers who were given a link; open yours",
        403: "not sent by this page; reload it",
        409: "the candidates have changed since the page was loaded; reload it",
        413: "more than one request may hold; choose fewer patches",
    }

    @app.errorhandler(InputError)
    def refused(error: InputError) -> tuple[Response, int]:
        return jsonify(error=str(error)), 400

    @app.errorhandler(HTTPException)
    def failed(error: HTTPException) -> tuple[Response | str, int]:
        code = error.code or 500
        own = code in (404, 409, 410) and error.description != type(error).description
        why = error.description if own else said.get(code)
        if request.accept_mimetypes.best_match(("application/json", "text/html")) == "text/html":
            return error_page(error, "label", why)  # somebody reads it, and no script
        reason = {"reason": "candidates"} if code == 409 and not own else {}
        return jsonify(error=why or error.name.lower(), **reason), code

    @app.after_request
    def not_kept(response: Response) -> Response:
        response.headers.setdefault("Cache-Control", "no-store")
        return response


def _add_page(app: "Flask", front: Front) -> None:
    from flask import Response, abort, render_template, request

    def with_cookie(value: str) -> "BaseResponse":
        return remembered(front.doors, value, secure=front.secure)

    @app.get("/")
    def page() -> "str | BaseResponse":
        wanted = request.args.get("reader")
        if wanted is not None and not front.doors.guarded:
            return with_cookie(wanted) if wanted in front.doors.readers else abort(404)
        reader = front.doors.reader_of(request.cookies.get(front.doors.cookie))
        if reader is None and not front.doors.guarded:
            return render_template("readers.html", readers=front.doors.readers, nav=served_rooms("label"))
        if reader is None:
            return abort(401)
        token, start = front.doors.token(reader, front.session.table.version), request.environ.get(ROOMS_BEFORE)
        return render_template("index.html", token=token, start=start)

    @app.get("/enter/<secret>")
    def enter(secret: str) -> "BaseResponse":
        return with_cookie(secret) if front.doors.guarded and front.doors.reader_with(secret) else abort(401)

    @app.get("/favicon.ico")
    def icon() -> Response:
        return Response(status=204)


def _add_pictures(app: "Flask", front: Front) -> None:
    from flask import Response, abort, jsonify, request

    session, pictures = front.session, front.session.pictures

    def sent(make: Callable[[Pictures], tuple[bytes, bool]]) -> Response:
        if request.args.get("v", session.table.version) != session.table.version:
            abort(409)  # to that page the row is another patch
        try:
            picture, whole = make(pictures)
        except SlideGoneError as error:
            logger.warning("%s (%s)", error, error.why)
            abort(410, str(error))
        except (InputError, OSError) as error:
            logger.warning("%s", error)
            abort(404, "the slide cannot be read at this place; the server's log says why")
        response = Response(picture, mimetype="image/jpeg")
        if "v" in request.args and whole:  # other rows are other addresses
            response.headers["Cache-Control"] = "private, max-age=86400, immutable"
        return response

    @app.get("/image/<int:row>.jpg")
    def image(row: int) -> Response:
        desk, row = front.desk(), front.row(row)
        part = request.args.get("part", "patch")
        if part not in PARTS:
            abort(404)
        return sent(lambda pictures: (pictures.picture(row, part, desk.reader), True))

    @app.get("/sprite.jpg")
    def sprite() -> Response:
        desk, rows = front.desk(), read_rows(request.args.get("rows", ""))
        if not rows or len(rows) > _SPRITE or max(rows) >= len(session.table) or min(rows) < 0:
            abort(404)
        return sent(lambda pictures: pictures.sheet(rows, desk.reader))

    @app.get("/overview/<int:slide>.jpg")
    def overview(slide: int) -> Response:
        desk = front.desk()
        if slide >= len(session.table.slides):
            abort(404)
        return sent(lambda pictures: (pictures.overview(slide, desk.reader), True))

    @app.get("/api/overview/<int:slide>")
    def overview_size(slide: int) -> Response:
        front.desk()
        if slide >= len(session.table.slides):
            abort(404)
        return jsonify(pictures.overview_size(slide))
