"""The labelling page's server: JSON and pictures for readers who are let in, and nothing for anybody else.

Requests name rows of the table of candidates; no path is ever made from a request.
"""

import base64
import gzip
import json
import logging
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from functools import wraps
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from wsss_mm.errors import InputError
from wsss_mm.labelling.journal import EntryError
from wsss_mm.labelling.posted import request_id
from wsss_mm.serving import harden
from wsss_mm.web.label.desk import Desk, Done
from wsss_mm.web.label.doors import Doors
from wsss_mm.web.label.draw import add_drawing
from wsss_mm.web.label.front import Front, OtherReaderError
from wsss_mm.web.label.pictures import PARTS, Pictures, SlideGoneError
from wsss_mm.web.label.queue import MOST, ORDERS, RENEWED, Filters, Page, disputed, make_queue
from wsss_mm.web.label.requests import Said, read_answer, read_places, read_skip
from wsss_mm.web.label.session import Session

if TYPE_CHECKING:
    from flask import Flask, Response
    from werkzeug.wrappers import Response as BaseResponse

logger = logging.getLogger(__name__)

_LARGEST = 2 << 20  # bytes of a request
_NEXT = 6  # pictures of a queue that are made ahead
_SPRITE = 512  # small pictures in one sheet
_SIMILAR = 2000
_ANY_ROW = 2**31  # of a list of patches that is another one by now
_SOON = 10.0  # s that a page waits for what is mostly there at once
_NO_FEATURES = "features are switched off; start the page without --no-features"
_REMEMBERED = 180 * 86400  # s that a browser knows its reader
_OF_KIND = {
    "answer": ("drawn", "suggested", "how", "repeat"),
    "settle": ("drawn",),
    "skip": ("drawn",),
}
"""What entries say of how a patch came."""


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
    front = Front(session, doors, secure=secure, viewer=viewer)
    _add_errors(app)
    _add_page(app, front)
    _add_table(app, front)
    _add_answers(app, front)
    _add_pictures(app, front)
    _add_looks(app, front)
    _add_agreement(app, front)
    add_drawing(app, front)
    return app


def _add_errors(app: "Flask") -> None:
    from flask import Response, jsonify
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
    def failed(error: HTTPException) -> tuple[Response, int]:
        code = error.code or 500
        own = code in (404, 409, 410) and error.description != type(error).description
        reason = {"reason": "candidates"} if code == 409 and not own else {}
        return jsonify(error=error.description if own else said.get(code, error.name.lower()), **reason), code

    @app.after_request
    def not_kept(response: Response) -> Response:
        response.headers.setdefault("Cache-Control", "no-store")
        return response


def _kept(work: Callable[..., Done]) -> Callable[..., Done]:
    """A write that fails is the server's fault, so that the page keeps what it sent and sends it again.

    What no journal would ever keep is not: sent again, it would stand in the way of all that comes after it.
    """

    @wraps(work)
    def kept(*arguments: Any, **options: Any) -> Done:
        from flask import abort, jsonify

        try:
            return work(*arguments, **options)
        except EntryError as error:
            logger.error("%s", error)
            raise InputError(f"it cannot be kept: {error.wrong}; answer anew, or reload the page") from error
        except (InputError, OSError) as error:
            logger.error("an answer could not be written: %s", error)
            response = jsonify(error=str(error))
            response.status_code = 503
            return abort(response)

    return kept


def _add_page(app: "Flask", front: Front) -> None:
    from flask import Response, abort, redirect, render_template, request

    def with_cookie(value: str) -> "BaseResponse":
        response = redirect("/")
        response.set_cookie(
            front.doors.cookie, value, httponly=True, samesite="Lax", secure=front.secure, max_age=_REMEMBERED
        )
        return response

    @app.get("/")
    def page() -> "str | BaseResponse":
        wanted = request.args.get("reader")
        if wanted is not None and not front.doors.guarded:
            return with_cookie(wanted) if wanted in front.doors.readers else abort(404)
        reader = front.doors.reader_of(request.cookies.get(front.doors.cookie))
        if reader is None and not front.doors.guarded:
            return render_template("readers.html", readers=front.doors.readers)
        if reader is None:
            return abort(401)
        return render_template("index.html", token=front.doors.token(reader, front.session.table.version))

    @app.get("/enter/<secret>")
    def enter(secret: str) -> "BaseResponse":
        return with_cookie(secret) if front.doors.guarded and front.doors.reader_with(secret) else abort(401)

    @app.get("/favicon.ico")
    def icon() -> Response:
        return Response(status=204)


def _add_table(app: "Flask", front: Front) -> None:
    from flask import Response, jsonify, request

    session, table = front.session, front.session.table
    totals = np.bincount(table.slide, minlength=len(table.slides)).tolist()

    @app.get("/api/state")
    def state() -> Response:
        desk = front.desk()
        desk.refresh()
        per_slide = desk.per_slide()
        features = session.features_job()
        suggests = bool(session.options.suggestions and features and features.result is not None)
        return jsonify(
            reader=desk.reader,
            readers=list(session.desks),
            version=table.version,
            vocabulary=[
                {"code": item.code, "name": item.name, "color": item.hex_color, "key": str(index) if index < 10 else ""}
                for index, item in enumerate(session.vocabulary.classes, 1)
            ],
            slides=[
                {"id": item.slide_id, "site": item.site, "split": item.split, "count": count, "labelled": labelled}
                for item, count, labelled in zip(table.slides, totals, per_slide, strict=True)
            ],
            candidates=len(table),
            suggestions=suggests and features is not None and features.result.scores is not None,
            features=_of_features(session),
            orders=list(ORDERS),
            can_undo=desk.can_undo,
            can_redo=desk.can_redo,
            progress={
                "classes": desk.counts(session.codes),
                "slides": [
                    {"id": item.slide_id, "answered": done, "count": count}
                    for item, done, count in zip(table.slides, per_slide, totals, strict=True)
                ],
                "sites": _sites(session, per_slide, totals),
                "readers": [{"id": name, "answered": len(other.mine)} for name, other in session.desks.items()],
            },
        )

    @app.get("/api/rows")
    def rows() -> Response:
        desk = front.desk()
        desk.refresh()
        with desk.lock:
            states, mine = (
                desk.state.tolist(),
                {str(row): _shown(entry, session.codes) for row, entry in desk.mine.items()},
            )
        columns = session.cached("columns", lambda: json.dumps(_columns(session))[1:-1])
        own = {"state": states, "mine": mine, **_suggested(session)}
        text = f'{{"version":"{table.version}",{columns},{json.dumps(own, ensure_ascii=False)[1:]}'
        response = Response(gzip.compress(text.encode(), 1, mtime=0), mimetype="application/json")
        response.headers["Content-Encoding"] = "gzip"
        return response

    @app.get("/api/queue")
    def queue() -> Response:
        desk = front.desk()
        desk.refresh()
        given = {name: request.args.get(name) or None for name in ("slide", "site", "class", "state")}
        order = request.args.get("order", "random")
        if order not in ORDERS:
            raise InputError(f"no order {order[:40]!r}; choose of {', '.join(ORDERS)}")
        page = Page(_number("n", MOST, MOST), _listed(request.args.get("skip", "")), _number("seed", 0, 2**31))
        without = tuple(request.args.getlist("without"))
        filters = Filters(given["slide"], given["site"], given["class"], given["state"], without)
        found = make_queue(session, desk, order, filters, page)
        shown = [item.row for item in found.items]
        front.ahead[desk.reader] = [*page.skip, *shown]
        session.pictures.make_ahead(shown[:_NEXT])
        items = [
            {
                "row": item.row,
                "drawn": item.drawn,
                "ticket": front.doors.ticket(desk.reader, item.row, item.drawn, repeat=item.repeat),
            }
            for item in found.items
        ]
        return jsonify(rows=items, left=found.left, pending=found.pending, note=found.note, order=order)

    @app.get("/api/patch/<int:row>")
    def patch(row: int) -> Response:
        desk, row = front.desk(), front.row(row)
        told = front.doors.told(desk.reader, row, request.args.get("ticket"))
        blind = told is not None and (told[1] or told[0] in ("doubtful", "settlement"))
        with desk.lock:
            entry = None if blind else desk.mine.get(row)
        item = table.slides[table.slide[row]]
        return jsonify(
            row=row,
            patch_id=table.patch_id(row),
            **table.place(row),
            site=item.site,
            split=item.split,
            span=session.pictures.side(row),
            mine=None if entry is None else _shown(entry, session.codes),
            suggestion=None if blind else session.suggestion(row),
            viewer=front.viewer(item.slide_id),
        )


def _add_answers(app: "Flask", front: Front) -> None:
    from flask import Response, jsonify

    session = front.session

    def noted(desk: Desk, kind: str) -> Response:
        """Keep what came; of a page whose list of patches is an older one, by the places that it names."""
        body = front.body(desk)
        late = body.get("late") is True
        count = _ANY_ROW if late else len(session.table)
        said = read_skip(body, count) if kind == "skip" else read_answer(body, count, session.vocabulary)
        places = read_places(body, len(said.rows), known) if late else [session.table.place(row) for row in said.rows]
        kept = _OF_KIND[kind]
        own = [
            {**each, **{name: value for name, value in circumstances.items() if name in kept}}
            for circumstances, each in zip(_circumstances(front, desk, said, places), said.each, strict=True)
        ]
        done = _kept(desk.answer)(places, said.content, said.request, kind=kind, each=own)
        if len(said.rows) == 1 and not late:
            _make_next(front, desk, said.rows[0])
        return jsonify(saved=done.ids, can_undo=desk.can_undo, can_redo=desk.can_redo)

    known = {slide.slide_id for slide in session.cohort}

    @app.post("/api/answer")
    def answer() -> Response:
        return noted(front.desk(), "answer")

    @app.post("/api/skip")
    def skip() -> Response:
        return noted(front.desk(), "skip")

    @app.post("/api/settle")
    def settle() -> Response:
        return noted(front.desk(), "settle")

    def turned(kind: str, name: str) -> Response:
        desk = front.desk()
        done = _kept(getattr(desk, kind))(request_id(front.body(desk)))
        with desk.lock:
            mine = {str(row): _shown(desk.mine[row], session.codes) if row in desk.mine else None for row in done.rows}
            states = {str(row): int(desk.state[row]) for row in done.rows}
        more = {"can_undo": desk.can_undo, "can_redo": desk.can_redo}
        return jsonify({name: done.rows, "kind": kind, "mine": mine, "state": states, **more})

    @app.post("/api/undo")
    def undo() -> Response:
        return turned("undo", "undone")

    @app.post("/api/redo")
    def redo() -> Response:
        return turned("redo", "redone")


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
        desk, rows = front.desk(), _listed(request.args.get("rows", ""))
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


def _add_looks(app: "Flask", front: Front) -> None:
    """The map, patches that look alike, and the learning curve."""
    from flask import Response, jsonify

    session = front.session

    def not_yet() -> tuple[Response, int]:
        return jsonify(progress=_of_features(session)["progress"] or 0.0), 202

    def points() -> Any:
        """The map's points; None while they are being made."""
        job = session.features_job()
        if job is None or job.error:
            raise InputError(job.error if job else _NO_FEATURES)
        if job.result is None:
            return None
        made = session.think(("points",), "points")
        if made.error:
            raise InputError(made.error)
        return made.result

    @app.get("/api/embedding")
    def embedding() -> "Response | tuple[Response, int]":
        front.desk()
        found = points()
        if found is None:
            return not_yet()
        data = base64.b64encode(found.tobytes()).decode()
        return jsonify(points=data, kind=session.features.kind if session.features else "")

    @app.post("/api/lasso")
    def lasso() -> "Response | tuple[Response, int]":
        polygon = _polygon(front.body(front.desk()).get("polygon"))
        found = points()
        return not_yet() if found is None else jsonify(rows=_inside(found, polygon).tolist())

    @app.get("/api/similar/<int:row>")
    def similar(row: int) -> "Response | tuple[Response, int]":
        front.desk()
        n = min(_number("n", 50, _SIMILAR), len(session.table) - 1)
        job = session.features_job()
        if job is None or job.error:
            raise InputError(job.error if job else _NO_FEATURES)
        if job.result is None:
            return not_yet()
        made = session.think(("similar", front.row(row), n), "similar", row, n)
        made.ended.wait(_SOON)
        if made.error:
            raise InputError(made.error)
        return not_yet() if made.result is None else jsonify(rows=made.result)

    @app.get("/api/curve")
    def curve() -> Response:
        desk = front.desk()
        if session.features is None:
            return jsonify(labels=[])
        job = session.of_labels("curve", desk, RENEWED)
        return jsonify(labels=[], error=job.error) if job.result is None else jsonify(job.result)


def _add_agreement(app: "Flask", front: Front) -> None:
    from flask import Response, jsonify

    session = front.session

    @app.get("/api/agreement")
    def agreement() -> Response:
        front.desk()
        return jsonify(_agreement(session))

    @app.get("/api/disputes")
    def disputes() -> Response:
        front.desk()
        return jsonify(places=[{"row": row, "codes": codes} for row, codes in disputed(session)])


def _columns(session: Session) -> dict[str, list[Any]]:
    """What the page knows of every candidate."""
    table = session.table
    focus = np.nan_to_num(table.focus.astype(np.float64))
    scale = 10.0 ** (2 - np.floor(np.log10(np.maximum(np.abs(focus), 1e-9))))  # three digits
    return {
        "x": table.x.tolist(),
        "y": table.y.tolist(),
        "mpp": _once(table.mpps),
        "size": _once(table.sizes),
        "slide": table.slide.tolist(),
        "tissue": np.round(table.tissue.astype(np.float64), 2).tolist(),
        "focus": (np.round(focus * scale) / scale).tolist(),
    }


def _once(values: npt.NDArray[Any]) -> Any:
    """All values, or the one that all of them are."""
    return values[0].item() if (values == values[0]).all() else values.tolist()


def _suggested(session: Session) -> dict[str, dict[str, list[int]]]:
    """Probabilities of all candidates by class, in percent; nothing where there are none, or nobody wants to know."""
    features = session.features if session.options.suggestions else None
    if features is None or features.scores is None:
        return {}
    percent = np.rint(100 * np.nan_to_num(features.scores)).astype(int)
    return {"suggested": {code: percent[:, column].tolist() for column, code in enumerate(session.codes)}}


def _shown(entry: Mapping[str, Any], codes: Sequence[str]) -> dict[str, Any]:
    """An answer as the page has it: of the classes there are by now."""
    classes = {code: state for code, state in entry.get("classes", {}).items() if code in codes}
    return {"classes": classes, "artefact": entry.get("artefact"), "time": entry["time"]}


def _sites(session: Session, done: list[int], totals: list[int]) -> list[dict[str, Any]]:
    found: dict[str, list[int]] = {}
    for item, labelled, count in zip(session.table.slides, done, totals, strict=True):
        of_site = found.setdefault(item.site, [0, 0])
        of_site[0] += labelled
        of_site[1] += count
    return [{"id": site, "answered": labelled, "count": count} for site, (labelled, count) in sorted(found.items())]


def _of_features(session: Session) -> dict[str, Any]:
    job = session.features_job()
    if job is None or job.error:
        return {"kind": None, "progress": None, "error": job.error if job else ""}
    return (
        {"kind": job.result.kind, "progress": 1.0}
        if job.result
        else {"kind": None, "progress": session.thinking.progress}
    )


def _circumstances(
    front: Front, desk: Desk, said: Said, places: Sequence[Mapping[str, Any]]
) -> Iterator[dict[str, Any]]:
    """How each patch came, and what was shown with it: what the queue knows counts, not what the page says.

    Only a queue draws at random, or shows a patch for a second reading.
    """
    told = front.doors.told(desk.reader, said.rows[0], said.ticket) if len(said.rows) == 1 else None
    for place in places:
        row = front.session.table.row_of(place)  # None where it is no candidate any more
        if told:
            drawn = told[0]
        elif row is not None and desk.was_random(row):  # a correction leaves the sample what it is
            drawn = "random"
        else:
            drawn = "search" if said.drawn in (None, "random", "settlement") else said.drawn
        suggested = front.session.suggestion(row) if said.shown and row is not None else None
        how = "confirmed" if said.confirmed and suggested else "created"
        found = {"drawn": drawn, "suggested": suggested, "how": how, "repeat": True if told and told[1] else None}
        yield {name: value for name, value in found.items() if value is not None}


def _make_next(front: Front, desk: Desk, row: int) -> None:
    ahead = front.ahead.get(desk.reader, [])
    if row in ahead:
        at = ahead.index(row) + 1
        front.session.pictures.make_ahead(ahead[at : at + _NEXT])


def _number(name: str, default: int, most: int) -> int:
    from flask import request

    text = request.args.get(name) or str(default)
    if not (text.isascii() and text.isdigit() and len(text) < 12):
        raise InputError(f"{name} is no number; reload the page")
    return min(int(text), most)


def _listed(text: str) -> list[int]:
    parts = [part for part in text.split(",") if part]
    if not all(part.isascii() and part.isdigit() and len(part) < 12 for part in parts):
        raise InputError("rows are numbers with commas between them; reload the page")
    return [int(part) for part in parts]


def _polygon(given: object) -> Any:
    corners: Any
    try:
        corners = np.asarray(given, dtype=np.float64)
    except (ValueError, TypeError, OverflowError):
        corners = np.zeros((0, 2))
    if corners.ndim != 2 or corners.shape[1] != 2 or not 3 <= len(corners) <= 10_000 or not np.isfinite(corners).all():
        raise InputError("polygon is no list of three or more places; draw it anew")
    return corners


def _inside(points: Any, polygon: Any) -> Any:
    """Rows of the points inside a polygon, by the number of its sides to the right of each."""
    inside = np.zeros(len(points), bool)
    x, y = points[:, 0].astype(np.float64), points[:, 1].astype(np.float64)
    for (x0, y0), (x1, y1) in zip(polygon, np.roll(polygon, -1, axis=0), strict=True):
        crosses = (y0 > y) != (y1 > y)
        with np.errstate(divide="ignore", invalid="ignore"):
            inside ^= crosses & (x < (x1 - x0) * (y - y0) / (y1 - y0) + x0)
    return np.flatnonzero(inside)


def _agreement(session: Session) -> dict[str, Any]:
    """Kappa of all patches, and under `random` of those drawn at random alone, which are as hard as most."""
    from wsss_mm.labelling.agreement import agreement_table

    found: dict[str, Any] = {}
    for random_alone in (False, True):
        table = agreement_table(session.journals(), session.codes, random_alone=random_alone)
        part: dict[str, list[dict[str, Any]]] = {"between": [], "within": []}
        for row in table.to_dict("records"):
            who = {"readers": [row["first"], row["second"]], "reader": row["first"]}
            who.pop("reader" if row["kind"] == "between" else "readers")
            numbers = {name: _finite([row[name]])[0] for name in ("kappa", "low", "high", "agreed")}
            part[row["kind"]].append({**who, "code": row["class"], "n": row["n"], "unsure": row["unsure"], **numbers})
        found |= {"random": part} if random_alone else part
    return found


def _finite(values: Iterable[float]) -> list[float | None]:
    return [float(value) if np.isfinite(value) else None for value in values]
