"""One application of several rooms: each is a Flask application of its own, made when it is first asked for.

Rooms have the first part of the path: /view/, /label/. One of them is the entrance, which is at the root, too. All
others (start, gates, runs, findings) are answered by `wsss_mm.web.written`. Each room has its own checks of hosts,
tokens and links; nothing that a room answers passes by them.
"""

import logging
import threading
from collections.abc import Callable, Collection, Iterable, Mapping
from typing import TYPE_CHECKING, Any

from wsss_mm.errors import InputError
from wsss_mm.pages import ROOMS, ROOMS_BEFORE
from wsss_mm.web.written import REFUSAL, REFUSED

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication
    from flask import Flask

    from wsss_mm.web.label.doors import Doors

logger = logging.getLogger(__name__)

ENTRANCE = "start"
_OPEN = ("enter", "pages")
"""What strangers may ask for: the door, and the stylesheet."""


class Room:
    """A room that is made when somebody enters, and tried again by the next one where that fails."""

    def __init__(self, make: Callable[[], "Flask"], hosts: Collection[str] = ()) -> None:
        self._make, self._hosts = make, hosts
        self._lock = threading.Lock()
        self._app: Flask | None = None

    def app(self) -> "Flask":
        """The room's application.

        Raises:
            InputError: what it shows is not there yet.
        """
        with self._lock:
            if self._app is None:
                app = self._make()
                app.config["TRUSTED_HOSTS"] = [*app.config["TRUSTED_HOSTS"], *self._hosts]
                self._app = app
            return self._app


class Application:
    """All rooms behind one address; a WSGI application."""

    def __init__(
        self,
        rooms: Mapping[str, Room],
        written: "Flask",
        entrance: str = ENTRANCE,
        doors: "Doors | None" = None,
    ) -> None:
        """Put rooms together.

        Args:
            rooms: those that are applications of their own, by their place: "view", "label".
            written: answers for all others.
            entrance: the room at the root.
            doors: who may look; None where everybody may, as on loopback.
        """
        self._rooms, self._written, self._entrance, self._doors = rooms, written, entrance, doors

    def __call__(self, environ: dict[str, Any], start_response: "StartResponse") -> Iterable[bytes]:
        """Answer a request."""
        base = environ.get("SCRIPT_NAME", "")
        environ[ROOMS_BEFORE] = f"{base}/"
        name, slash, rest = environ.get("PATH_INFO", "").removeprefix("/").partition("/")
        if name in ROOMS and not slash:
            asked = environ.get("QUERY_STRING", "")
            return _redirect(f"{base}/{name}/{'?' if asked else ''}{asked}")(environ, start_response)
        inside = name in self._rooms
        if not inside and name not in ROOMS and self._entrance in self._rooms:
            name = self._entrance
        if name not in _OPEN and not self._lets_in(environ):
            return self._refused(environ, "this page is for readers who were given a link; open yours", start_response)
        if name not in self._rooms:
            return self._written(environ, start_response)
        if inside:
            environ |= {"SCRIPT_NAME": f"{base}/{name}", "PATH_INFO": f"/{rest}"}
        try:
            app = self._rooms[name].app()
        except InputError as error:
            logger.info("%s: %s", name, error)
            environ["SCRIPT_NAME"] = base
            return self._refused(environ, str(error), start_response, name)
        return app(environ, start_response)

    def _lets_in(self, environ: dict[str, Any]) -> bool:
        from werkzeug.http import parse_cookie

        return self._doors is None or self._doors.reader_of(parse_cookie(environ).get(self._doors.cookie)) is not None

    def _refused(
        self, environ: dict[str, Any], why: str, start_response: "StartResponse", room: str = ""
    ) -> Iterable[bytes]:
        environ |= {"PATH_INFO": REFUSED, REFUSAL: (room, why)}
        return self._written(environ, start_response)


def _redirect(address: str) -> "WSGIApplication":
    from werkzeug.utils import redirect

    return redirect(address, 308)
