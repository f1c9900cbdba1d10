"""Requests by which a page says something of a slide as a whole."""

import logging
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from wsss_mm.errors import InputError
from wsss_mm.labelling.posted import request_id
from wsss_mm.wsi.viewer.guard import Guard, asked_place
from wsss_mm.wsi.viewer.remarks import Remarks

if TYPE_CHECKING:
    from flask import Flask

    from wsss_mm.wsi.viewer.results import Result
    from wsss_mm.wsi.viewer.shown import Shown

logger = logging.getLogger(__name__)


class RemarkDesk:
    """What the page of a slide needs to know, and which requests are its own."""

    def __init__(self, remarks: Remarks, guard: Guard) -> None:
        self.remarks, self.guard = remarks, guard

    def told(self, result: "Result") -> dict[str, Any]:
        """What the page of a slide is told; where tables were damaged meanwhile, that."""
        try:
            said = self.remarks.told(result)
        except InputError as error:
            said = {"reader": self.remarks.reader, "notes": [], "aside": None, "refusal": str(error)}
        return {**said, "token": self.guard.token}

    def aside(self, results: Mapping[str, "Result"]) -> dict[str, str]:
        """Why results are set aside, by their names; where the quarantine was damaged meanwhile, nothing."""
        try:
            aside = self.remarks.aside()
        except InputError as error:
            logger.warning("%s", error)
            return {}
        said = {name: self.remarks.reason(result, aside) for name, result in results.items()} if aside else {}
        return {name: why for name, why in said.items() if why}

    def answer(self, app: "Flask", shown: "Shown") -> None:
        """Answer what pages say of slides; each answer is what the page shows from then on."""
        from flask import Response, jsonify

        said = self.remarks

        @app.post("/slides/<name>/note")
        def note(name: str) -> Response:
            body, result = self.guard.body(), shown.result(name)
            said.add_note(result, body.get("note"), asked_place(body), request_id(body))
            return jsonify(said.told(result))

        @app.post("/slides/<name>/unsay")
        def unsay(name: str) -> Response:
            body, result = self.guard.body(), shown.result(name)
            said.remove_note(result, body.get("note"))
            return jsonify(said.told(result))

        @app.post("/slides/<name>/bad")
        def bad(name: str) -> Response:
            body, result = self.guard.body(), shown.result(name)
            said.set_aside(result, body.get("reason"))
            return jsonify(said.told(result))

        @app.post("/slides/<name>/good")
        def good(name: str) -> Response:
            self.guard.body()
            result = shown.result(name)
            said.take_back(result)
            return jsonify(said.told(result))
