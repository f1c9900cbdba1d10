"""Requests that change something: which are taken, and what is answered to others.

Nothing is taken from any other page: each request that changes something brings the token that the server's own pages
have, which is another one each time it is started.
"""

import hmac
import math
import secrets
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from wsss_mm.errors import InputError
from wsss_mm.serving import posted_object

if TYPE_CHECKING:
    from flask import Flask, Response

TOKEN = "X-WSSS-Token"
_LARGEST = 1 << 16  # bytes of a request


class Guard:
    """Knows the pages of this server.

    Attributes:
        token: what they bring.
    """

    def __init__(self) -> None:
        self.token = secrets.token_urlsafe(32)

    def body(self) -> Mapping[str, Any]:
        """What one of our pages posted; 403 where it was another one."""
        from flask import abort, request

        request.max_content_length = _LARGEST
        if not hmac.compare_digest(request.headers.get(TOKEN, "").encode(), self.token.encode()):
            abort(403)
        return posted_object()


def answer_errors(app: "Flask") -> None:
    """Say in JSON why a request was refused."""
    from flask import jsonify

    @app.errorhandler(InputError)
    def refused(error: InputError) -> "tuple[Response, int]":
        return jsonify(error=str(error)), 503 if isinstance(error.__cause__, OSError) else 400

    @app.errorhandler(403)
    def strange(_: Exception) -> "tuple[Response, int]":
        return jsonify(error="the viewer was started anew; reload the page, and say it again"), 403


def asked_place(given: Mapping[str, Any]) -> tuple[float, float]:
    """The place that a request is about: x and y, level-0 px from where the scan begins.

    Raises:
        InputError: it names none.
    """
    try:
        x, y = (float(given[name]) for name in "xy")
    except (KeyError, TypeError, ValueError, OverflowError):
        x = y = math.nan
    if not (math.isfinite(x) and math.isfinite(y)):
        raise InputError("no place on the slide; reload the page")
    return x, y
