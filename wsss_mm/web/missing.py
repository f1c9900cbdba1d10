"""The page instead of one that is not there, is not for who asks, or cannot be made yet."""

from typing import TYPE_CHECKING

from wsss_mm.pages import ROOMS, environment

if TYPE_CHECKING:
    from werkzeug.exceptions import HTTPException

_SAID = {
    401: "This link is of no reader here; ask for a new one.",
    404: "There is no such page here. Pages that there are begin at {}.",
}


def missing_page(here: str, title: str, why: str, run: str = "", back: str = "") -> str:
    """The page, as it is served.

    Args:
        here: the room that it is in, of `wsss_mm.pages.ROOMS`; empty for none.
        title: what is wrong, in a few words.
        why: it is so, and what to do.
        run: the command that makes what is missing, where `why` does not say that itself.
        back: address at which the room begins, where that is worth a link.
    """
    template = environment("wsss_mm.web").get_template("missing.html")
    return template.render(here=here, title=title, why=why, run=run, back=back, name=ROOMS.get(here))


def error_page(error: "HTTPException", here: str = "", why: str | None = None) -> tuple[str, int]:
    """The page of an HTTP error, with its status; `why` in words of the room, where it has some."""
    from flask import request

    code = error.code or 500
    why = why or _SAID.get(code, "").format(ROOMS[here or "start"]) or error.description or error.name
    return missing_page(here, error.name, why, back=f"{request.script_root}/" if here and code == 404 else ""), code
