"""What readers look at beside the patches: the map, patches that look alike, the learning curve, and agreement."""

import base64
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import numpy as np

from wsss_mm.errors import InputError
from wsss_mm.web.label.front import Front
from wsss_mm.web.label.queue import RENEWED, disputed
from wsss_mm.web.label.requests import read_number, read_polygon
from wsss_mm.web.label.session import Session

if TYPE_CHECKING:
    from flask import Flask, Response

_SIMILAR = 2000
_SOON = 10.0  # s that a page waits for what is mostly there at once
_NO_FEATURES = "features are switched off; start the page without --no-features"


def add_looks(app: "Flask", front: Front) -> None:
    """The map, patches that look alike, and the learning curve."""
    from flask import Response, jsonify, request

    session = front.session

    def not_yet() -> tuple[Response, int]:
        return jsonify(progress=of_features(session)["progress"] or 0.0), 202

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
        polygon = read_polygon(front.body(front.desk()).get("polygon"))
        found = points()
        return not_yet() if found is None else jsonify(rows=_inside(found, polygon).tolist())

    @app.get("/api/similar/<int:row>")
    def similar(row: int) -> "Response | tuple[Response, int]":
        front.desk()
        n = min(read_number(request.args, "n", 50, _SIMILAR), len(session.table) - 1)
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


def add_agreement(app: "Flask", front: Front) -> None:
    """How far readers agree, and the patches that they differ in."""
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


def of_features(session: Session) -> dict[str, Any]:
    """Which features there are, how far they are, or why there are none."""
    job = session.features_job()
    if job is None or job.error:
        return {"kind": None, "progress": None, "error": job.error if job else ""}
    return (
        {"kind": job.result.kind, "progress": 1.0}
        if job.result
        else {"kind": None, "progress": session.thinking.progress}
    )


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
