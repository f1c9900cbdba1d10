"""Answers, skips and settlements as the page posts them, undone and done again: into the journals, or refused."""

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import wraps
from typing import TYPE_CHECKING, Any

from wsss_mm.errors import InputError
from wsss_mm.labelling.journal import EntryError
from wsss_mm.labelling.posted import request_id
from wsss_mm.web.label.desk import Desk, Done
from wsss_mm.web.label.front import Front
from wsss_mm.web.label.listing import shown_answer
from wsss_mm.web.label.requests import Said, read_answer, read_places, read_skip

if TYPE_CHECKING:
    from flask import Flask

logger = logging.getLogger(__name__)

_ANY_ROW = 2**31  # of a list of patches that is another one by now
_OF_KIND = {
    "answer": ("drawn", "suggested", "how", "repeat"),
    "settle": ("drawn",),
    "skip": ("drawn",),
}
"""What entries say of how a patch came."""


def add_answers(app: "Flask", front: Front) -> None:
    """What is said of patches: answer, skip, settle, undo, redo."""
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
            front.fulfil(desk, said.rows[0])
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
            mine = {
                str(row): shown_answer(desk.mine[row], session.codes) if row in desk.mine else None for row in done.rows
            }
            states = {str(row): int(desk.state[row]) for row in done.rows}
        more = {"can_undo": desk.can_undo, "can_redo": desk.can_redo}
        return jsonify({name: done.rows, "kind": kind, "mine": mine, "state": states, **more})

    @app.post("/api/undo")
    def undo() -> Response:
        return turned("undo", "undone")

    @app.post("/api/redo")
    def redo() -> Response:
        return turned("redo", "redone")


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
