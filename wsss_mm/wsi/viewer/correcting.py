"""Requests by which a page says that a slide is segmented wrongly somewhere."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from wsss_mm.errors import InputError
from wsss_mm.labelling.entries import STATES
from wsss_mm.labelling.posted import request_id, seconds_of
from wsss_mm.wsi.viewer.corrections import Corrections
from wsss_mm.wsi.viewer.guard import TOKEN, Guard, asked_place

if TYPE_CHECKING:
    from flask import Flask

    from wsss_mm.wsi.viewer.results import Result
    from wsss_mm.wsi.viewer.shown import Shown

__all__ = ["TOKEN", "Desk"]


class Desk:
    """What the page of a slide needs to know, and which requests are its own."""

    def __init__(self, corrections: Corrections, guard: Guard | None = None) -> None:
        """Take corrections, and who knows pages of this server; the same for all that takes requests."""
        self.corrections = corrections
        self.guard = guard or Guard()

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
            "token": self.guard.token,
        }

    def answer(self, app: "Flask", shown: "Shown") -> None:
        """Answer what pages ask and say of patches."""
        _add(app, shown, self)


def _add(app: "Flask", shown: "Shown", desk: Desk) -> None:
    from flask import Response, jsonify, request

    said = desk.corrections

    @app.get("/slides/<name>/patch")
    def patch(name: str) -> Response:
        found = said.patch(shown.result(name), *asked_place(request.args))
        if found is None:
            return jsonify(place=None)
        place, (x, y, side) = found
        return jsonify(place={"x": x, "y": y, "side": side}, patch_id=f"{place.slide}-{place.x}-{place.y}")

    @app.post("/slides/<name>/wrong")
    def wrong(name: str) -> Response:
        body, result = desk.guard.body(), shown.result(name)
        found = said.patch(result, *asked_place(body))
        if found is None:
            raise InputError("no patch with enough tissue lies there; choose another place")
        what = {"classes": _classes(body), "again": body.get("again") is True, "seconds": seconds_of(body)}
        return jsonify(saved=said.keep(found[0], what, request_id(body), result.model), journal=str(said.journal.path))

    @app.post("/slides/<name>/undo")
    def undo(name: str) -> Response:
        body = desk.guard.body()
        shown.result(name)
        ids = body.get("of")
        if not isinstance(ids, list) or not all(isinstance(one, str) for one in ids):
            raise InputError("of names no entries; reload the page")
        return jsonify(undone=said.undo(ids, request_id(body)))


def _classes(body: Mapping[str, Any]) -> dict[str, str]:
    given = body.get("classes") or {}
    if not isinstance(given, dict) or not all(state in STATES for state in given.values()):
        raise InputError(f"classes are none of {', '.join(STATES)}; reload the page")
    return given
