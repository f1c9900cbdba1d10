"""Requests by which a page says that a slide is segmented wrongly somewhere.

Nothing is taken from any other page: each request that changes something brings the token that the server's own pages
have, which is another one each time it is started.
"""

import hmac
import math
import secrets
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from wsss_mm.errors import InputError
from wsss_mm.labelling.entries import STATES
from wsss_mm.labelling.posted import request_id, seconds_of
from wsss_mm.serving import posted_object
from wsss_mm.wsi.viewer.corrections import Corrections

if TYPE_CHECKING:
    from flask import Flask

    from wsss_mm.wsi.viewer.results import Result
    from wsss_mm.wsi.viewer.shown import Shown

TOKEN = "X-WSSS-Token"
_LARGEST = 1 << 16  # bytes of a request


class Desk:
    """What the page of a slide needs to know, and which requests are its own."""

    def __init__(self, corrections: Corrections) -> None:
        self.corrections = corrections
        self._token = secrets.token_urlsafe(32)

    def told(self, result: "Result") -> dict[str, Any]:
        """What the page of a slide is told."""
        said = self.corrections
        slide = said.slide_of(result)
        classes = [{"code": item.code, "name": item.name, "color": item.hex_color} for item in said.vocabulary.classes]
        return {
            "refusal": said.refusal(result),
            "judged": slide.split if slide is not None and slide.split != "train" else "",
            "reader": said.journal.reader,
            "classes": classes,
            "token": self._token,
        }

    def answer(self, app: "Flask", shown: "Shown") -> None:
        """Answer what pages ask and say of patches."""
        _add(app, shown, self)

    def body(self) -> Mapping[str, Any]:
        """What one of our pages posted; 403 where it was another one."""
        from flask import abort, request

        request.max_content_length = _LARGEST
        if not hmac.compare_digest(request.headers.get(TOKEN, "").encode(), self._token.encode()):
            abort(403)
        return posted_object()


def _add(app: "Flask", shown: "Shown", desk: Desk) -> None:
    from flask import Response, jsonify, request

    said = desk.corrections

    @app.errorhandler(InputError)
    def refused(error: InputError) -> tuple[Response, int]:
        return jsonify(error=str(error)), 503 if isinstance(error.__cause__, OSError) else 400

    @app.errorhandler(403)
    def strange(_: Exception) -> tuple[Response, int]:
        return jsonify(error="the viewer was started anew; reload the page, and say it again"), 403

    @app.get("/slides/<name>/patch")
    def patch(name: str) -> Response:
        found = said.patch(shown.result(name), *_place(request.args))
        if found is None:
            return jsonify(place=None)
        place, (x, y, side) = found
        return jsonify(place={"x": x, "y": y, "side": side}, patch_id=f"{place.slide}-{place.x}-{place.y}")

    @app.post("/slides/<name>/wrong")
    def wrong(name: str) -> Response:
        body, result = desk.body(), shown.result(name)
        found = said.patch(result, *_place(body))
        if found is None:
            raise InputError("no patch with enough tissue lies there; choose another place")
        what = {"classes": _classes(body), "again": body.get("again") is True, "seconds": seconds_of(body)}
        return jsonify(saved=said.keep(found[0], what, request_id(body), result.model), journal=str(said.journal.path))

    @app.post("/slides/<name>/undo")
    def undo(name: str) -> Response:
        body = desk.body()
        shown.result(name)
        ids = body.get("of")
        if not isinstance(ids, list) or not all(isinstance(one, str) for one in ids):
            raise InputError("of names no entries; reload the page")
        return jsonify(undone=said.undo(ids, request_id(body)))


def _place(given: Mapping[str, Any]) -> tuple[float, float]:
    try:
        x, y = (float(given[name]) for name in "xy")
    except (KeyError, TypeError, ValueError, OverflowError):
        x = y = math.nan
    if not (math.isfinite(x) and math.isfinite(y)):
        raise InputError("no place on the slide; reload the page")
    return x, y


def _classes(body: Mapping[str, Any]) -> dict[str, str]:
    given = body.get("classes") or {}
    if not isinstance(given, dict) or not all(state in STATES for state in given.values()):
        raise InputError(f"classes are none of {', '.join(STATES)}; reload the page")
    return given
