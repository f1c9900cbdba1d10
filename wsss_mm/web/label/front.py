"""What every request to the labelling page is asked first: who sends it, and whether a page of ours does."""

from collections.abc import Callable, Sequence
from typing import Any

from wsss_mm.serving import posted_object
from wsss_mm.web.label.desk import Desk
from wsss_mm.web.label.doors import Doors, token_parts
from wsss_mm.web.label.session import Session

TOKEN = "X-WSSS-Token"

_NEXT = 6  # pictures of a queue that are made ahead


class OtherReaderError(Exception):
    """A page of one reader in a browser that is another by now."""


class Front:
    """Who asks, and what a queue promised them."""

    def __init__(self, session: Session, doors: Doors, *, secure: bool, viewer: Callable[[str], str | None]) -> None:
        self.session, self.doors, self.secure, self.viewer = session, doors, secure, viewer
        self._ahead: dict[str, list[int]] = {}

    def desk(self) -> Desk:
        """The desk of who asks; 401 for strangers."""
        from flask import abort, request

        reader = self.doors.reader_of(request.cookies.get(self.doors.cookie))
        return self.session.desks[reader] if reader else abort(401)

    def row(self, row: int) -> int:
        """A row; 404 if there is none."""
        from flask import abort

        return row if row < len(self.session.table) else abort(404)

    def body(self, desk: Desk) -> dict[str, Any]:
        """What a page of this reader posted; 403 where it is none of ours, 409 where it is another one's by now."""
        from flask import abort, request

        token = request.headers.get(TOKEN, "")
        version, _, reader = token_parts(token)
        if reader != desk.reader and reader:  # or its page would send the answer again, in the name of another
            raise OtherReaderError
        if not self.doors.is_ours(token):
            abort(403)
        content = posted_object()
        stale = version != self.session.table.version or content.get("version", version) != version
        if stale and content.get("late") is not True:  # which names places, or nothing at all
            abort(409)
        return content

    def promise(self, desk: Desk, before: Sequence[int], shown: Sequence[int]) -> None:
        """Rows that a reader has before them, and those that come next: the first pictures are made ahead."""
        self._ahead[desk.reader] = [*before, *shown]
        self.session.pictures.make_ahead(shown[:_NEXT])

    def fulfil(self, desk: Desk, row: int) -> None:
        """A row that was promised is done: pictures of those after it are made ahead."""
        ahead = self._ahead.get(desk.reader, [])
        if row in ahead:
            at = ahead.index(row) + 1
            self.session.pictures.make_ahead(ahead[at : at + _NEXT])
