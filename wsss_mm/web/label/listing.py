"""What the labelling page shows of the candidates: the session's state, all rows, what comes next, and one patch."""

import gzip
import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from wsss_mm.errors import InputError
from wsss_mm.web.label.front import Front
from wsss_mm.web.label.looks import of_features
from wsss_mm.web.label.queue import MOST, ORDERS, Filters, Page, make_queue
from wsss_mm.web.label.requests import read_number, read_rows
from wsss_mm.web.label.session import Session

if TYPE_CHECKING:
    from flask import Flask


def add_listing(app: "Flask", front: Front) -> None:
    """What a page begins with, the rows of its queue, and one of them."""
    from flask import Response, jsonify, request

    session, table = front.session, front.session.table
    totals = np.bincount(table.slide, minlength=len(table.slides)).tolist()

    @app.get("/api/state")
    def state() -> Response:
        desk = front.desk()
        desk.refresh()
        per_slide = desk.per_slide()
        features = session.features_job()
        suggests = bool(session.options.suggestions and features and features.result is not None)
        return jsonify(
            reader=desk.reader,
            readers=list(session.desks),
            version=table.version,
            vocabulary=[
                {"code": item.code, "name": item.name, "color": item.hex_color, "key": str(index) if index < 10 else ""}
                for index, item in enumerate(session.vocabulary.classes, 1)
            ],
            slides=[
                {"id": item.slide_id, "site": item.site, "split": item.split, "count": count, "labelled": labelled}
                for item, count, labelled in zip(table.slides, totals, per_slide, strict=True)
            ],
            candidates=len(table),
            suggestions=suggests and features is not None and features.result.scores is not None,
            features=of_features(session),
            orders=list(ORDERS),
            can_undo=desk.can_undo,
            can_redo=desk.can_redo,
            progress={
                "classes": desk.counts(session.codes),
                "slides": [
                    {"id": item.slide_id, "answered": done, "count": count}
                    for item, done, count in zip(table.slides, per_slide, totals, strict=True)
                ],
                "sites": _sites(session, per_slide, totals),
                "readers": [{"id": name, "answered": len(other.mine)} for name, other in session.desks.items()],
            },
        )

    @app.get("/api/rows")
    def rows() -> Response:
        desk = front.desk()
        desk.refresh()
        with desk.lock:
            states, mine = (
                desk.state.tolist(),
                {str(row): shown_answer(entry, session.codes) for row, entry in desk.mine.items()},
            )
        columns = session.cached("columns", lambda: json.dumps(_columns(session))[1:-1])
        own = {"state": states, "mine": mine, **_suggested(session)}
        text = f'{{"version":"{table.version}",{columns},{json.dumps(own, ensure_ascii=False)[1:]}'
        response = Response(gzip.compress(text.encode(), 1, mtime=0), mimetype="application/json")
        response.headers["Content-Encoding"] = "gzip"
        return response

    @app.get("/api/queue")
    def queue() -> Response:
        desk = front.desk()
        desk.refresh()
        given = {name: request.args.get(name) or None for name in ("slide", "site", "class", "state")}
        order = request.args.get("order", "random")
        if order not in ORDERS:
            raise InputError(f"no order {order[:40]!r}; choose of {', '.join(ORDERS)}")
        page = Page(
            read_number(request.args, "n", MOST, MOST),
            read_rows(request.args.get("skip", "")),
            read_number(request.args, "seed", 0, 2**31),
        )
        without = tuple(request.args.getlist("without"))
        filters = Filters(given["slide"], given["site"], given["class"], given["state"], without)
        found = make_queue(session, desk, order, filters, page)
        shown = [item.row for item in found.items]
        front.promise(desk, page.skip, shown)
        items = [
            {
                "row": item.row,
                "drawn": item.drawn,
                "ticket": front.doors.ticket(desk.reader, item.row, item.drawn, repeat=item.repeat),
            }
            for item in found.items
        ]
        return jsonify(rows=items, left=found.left, pending=found.pending, note=found.note, order=order)

    @app.get("/api/patch/<int:row>")
    def patch(row: int) -> Response:
        desk, row = front.desk(), front.row(row)
        told = front.doors.told(desk.reader, row, request.args.get("ticket"))
        blind = told is not None and (told[1] or told[0] in ("doubtful", "settlement"))
        with desk.lock:
            entry = None if blind else desk.mine.get(row)
        item = table.slides[table.slide[row]]
        return jsonify(
            row=row,
            patch_id=table.patch_id(row),
            **table.place(row),
            site=item.site,
            split=item.split,
            span=session.pictures.side(row),
            mine=None if entry is None else shown_answer(entry, session.codes),
            suggestion=None if blind else session.suggestion(row),
            viewer=front.viewer(item.slide_id),
        )


def _columns(session: Session) -> dict[str, list[Any]]:
    """What the page knows of every candidate."""
    table = session.table
    focus = np.nan_to_num(table.focus.astype(np.float64))
    scale = 10.0 ** (2 - np.floor(np.log10(np.maximum(np.abs(focus), 1e-9))))  # three digits
    return {
        "x": table.x.tolist(),
        "y": table.y.tolist(),
        "mpp": _once(table.mpps),
        "size": _once(table.sizes),
        "slide": table.slide.tolist(),
        "tissue": np.round(table.tissue.astype(np.float64), 2).tolist(),
        "focus": (np.round(focus * scale) / scale).tolist(),
    }


def _once(values: npt.NDArray[Any]) -> Any:
    """All values, or the one that all of them are."""
    return values[0].item() if (values == values[0]).all() else values.tolist()


def _suggested(session: Session) -> dict[str, dict[str, list[int]]]:
    """Probabilities of all candidates by class, in percent; nothing where there are none, or nobody wants to know."""
    features = session.features if session.options.suggestions else None
    if features is None or features.scores is None:
        return {}
    percent = np.rint(100 * np.nan_to_num(features.scores)).astype(int)
    return {"suggested": {code: percent[:, column].tolist() for column, code in enumerate(session.codes)}}


def shown_answer(entry: Mapping[str, Any], codes: Sequence[str]) -> dict[str, Any]:
    """An answer as the page has it: of the classes there are by now."""
    classes = {code: state for code, state in entry.get("classes", {}).items() if code in codes}
    return {"classes": classes, "artefact": entry.get("artefact"), "time": entry["time"]}


def _sites(session: Session, done: list[int], totals: list[int]) -> list[dict[str, Any]]:
    found: dict[str, list[int]] = {}
    for item, labelled, count in zip(session.table.slides, done, totals, strict=True):
        of_site = found.setdefault(item.site, [0, 0])
        of_site[0] += labelled
        of_site[1] += count
    return [{"id": site, "answered": labelled, "count": count} for site, (labelled, count) in sorted(found.items())]
