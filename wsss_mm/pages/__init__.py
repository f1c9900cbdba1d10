"""What all pages are made of: one environment of templates, one stylesheet, one way from room to room.

Pages that are written as files hold the stylesheet, so that they can be sent, and follow the system's dark or light; of
scripts they have none, or one that searches and sorts. Pages that are served have a button for it, too, and remember
what was chosen.
"""

import os
import re
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast
from urllib.parse import quote

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup, escape

if TYPE_CHECKING:
    from flask import Flask

_FOLDER = Path(__file__).parent
_STYLE, _THEME = "style.css", "theme.js"
_SHARED = {_STYLE: "text/css", _THEME: "text/javascript"}
_OWN_POLICY = re.compile(r'<meta http-equiv="Content-Security-Policy"[^>]*>')
_NO_ICON = '<link rel="icon" href="data:,">'  # so that browsers ask for none
_PAGE_HEAD = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">"""
_HEAD, _BODY = re.compile(r"<head\b[^>]*>"), re.compile(r"<body\b[^>]*>")

ROOMS: Mapping[str, str] = {
    "start": "Start",
    "view": "Slides",
    "label": "Labelling",
    "gates": "Gates",
    "runs": "Runs",
    "findings": "Findings",
}
"""Rooms of the application by their place in it, and what people call them."""

ROOMS_BEFORE = "wsss.rooms"
"""Where a request says at which address the application's start is; without it, a page stands alone."""


def environment(package: str, folder: str = "templates") -> Environment:
    """Templates of a package; everything that is filled in is escaped, and what is not given is an error.

    Args:
        package: that holds them, such as "wsss_mm.findings".
        folder: in the package.
    """
    made = Environment(
        loader=PackageLoader(package, folder),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    own: dict[str, Any] = {call.__name__: call for call in (page_head, stylesheet, shared, served_head, served_rooms)}
    cast("dict[str, Any]", made.globals).update(own)
    made.filters["urlencode"] = lambda name: quote(os.fsencode(name), safe="")  # as jinja2's, also of no UTF-8
    return made


def page_head() -> Markup:
    """How every page begins, as far as the part of its head that is its own."""
    return Markup(_PAGE_HEAD)


def stylesheet() -> Markup:
    """The stylesheet, for pages that hold it themselves."""
    return Markup(_shared(_STYLE).decode("utf-8"))


def shared(name: str) -> str:
    """The address of a file that all pages share, where a page is being served."""
    from flask import request

    return f"{request.script_root}/pages/{name}"


def rooms(start: str | None, here: str) -> Markup:
    """The way to the other rooms, with the button for dark and light.

    Args:
        start: address of the application's start, with a slash at its end; None for a page that stands alone.
        here: the room that the page is in, of `ROOMS`.
    """
    links = Markup("\n").join(  # apart from each other in pages whose own stylesheet does not know them, too
        Markup('<a href="{}{}"{}>{}</a>').format(
            start, f"{room}/", Markup(' aria-current="page"') if room == here else "", name
        )
        for room, name in (ROOMS.items() if start is not None else ())
    )
    button = Markup('<button type="button" id="theme" aria-pressed="false">Dark</button>')
    return Markup('<nav class="rooms" aria-label="Rooms">{}{}</nav>\n').format(links, button)


def served_head() -> Markup:
    """What the head of a page needs that is being served: dark and light. Nothing where none is served."""
    from flask import has_request_context

    return Markup('<script src="{}"></script>\n').format(shared(_THEME)) if has_request_context() else Markup("")


def served_rooms(here: str) -> Markup:
    """`rooms` of a page that is being served; nothing where none is."""
    from flask import has_request_context, request

    return rooms(request.environ.get(ROOMS_BEFORE), here) if has_request_context() else Markup("")


def shown_in_room(page: str, start: str, here: str, nonce: str) -> str:
    """A written page as it is served: with the way to the other rooms, and the button for dark and light.

    Its own policy goes, as the server sends one that lets in nothing but our script.

    Args:
        page: the file's HTML.
        start: see `rooms`.
        here: see `rooms`.
        nonce: that the policy sent with it names.
    """
    head = f'<script src="{escape(start)}pages/{_THEME}" nonce="{escape(nonce)}"></script>{_NO_ICON}'
    page = _HEAD.sub(lambda found: found[0] + head, _OWN_POLICY.sub("", page, count=1), count=1)
    return _BODY.sub(lambda found: found[0] + str(rooms(start, here)), page, count=1)


def add_shared(app: "Flask") -> None:
    """Answer requests for the stylesheet and the script of dark and light; its templates may call `page_head`."""
    from flask import Response, abort

    app.add_template_global(page_head)

    @app.get("/pages/<name>")
    def of_all_pages(name: str) -> Response:
        return Response(_shared(name), mimetype=_SHARED[name]) if name in _SHARED else abort(404)


@cache
def _shared(name: str) -> bytes:
    return (_FOLDER / name).read_bytes()
