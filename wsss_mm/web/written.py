"""The start page, and pages that the line wrote: gates, reports of runs, findings. What is not there says what to run.

Files are looked for anew at each request, below their own folder, links followed; what a file holds is shown with a
policy that lets in no script but the one of dark and light.
"""

import logging
import secrets
from collections.abc import Callable, Collection
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from wsss_mm import places
from wsss_mm.errors import InputError
from wsss_mm.files import leads_outside
from wsss_mm.outage import is_outage, needed
from wsss_mm.pages import ROOMS, ROOMS_BEFORE, add_shared, environment, shown_in_room
from wsss_mm.serving import harden
from wsss_mm.web.label.doors import Doors, remembered
from wsss_mm.web.missing import error_page, missing_page

if TYPE_CHECKING:
    from flask import Flask, Response
    from werkzeug.wrappers import Response as BaseResponse

logger = logging.getLogger(__name__)

REFUSED, REFUSAL = "/refused", "wsss.refusal"
"""The path of the page that says why there is nothing, and where a request says it: the room, and why."""

_KINDS = {".html": "text/html", ".pdf": "application/pdf", ".csv": "text/csv"}
_POLICY = (
    "default-src 'none'; script-src 'nonce-{nonce}'; style-src 'unsafe-inline'; img-src 'self' data:; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
_MOST_RUNS = 200
_T = TypeVar("_T")
_STAGES = ("train_segmenter", "train_classifier", "evaluate", "upper_bound", "register")
_COMMANDS = {
    "view": "make repro",
    "label": "wsss-mm cohort add SLIDE",
    "gates": "make repro",
    "runs": "make repro",
    "findings": "wsss-mm findings",
}
_ABOUT = {
    "view": "Segmented slides beside their maps; what is wrong there can be said.",
    "label": "Say what patches hold, and draw on slides.",
    "gates": "What the line checked of data and models, and what failed.",
    "runs": "How good a training was, on what data, and where it fails.",
    "findings": "Pages on slides that a pathologist can sign.",
}


@dataclass(frozen=True)
class Folders:
    """Where things lie, as the application was started.

    Attributes:
        results: of segmented slides.
        root: of the project.
    """

    results: Path
    root: Path = Path()

    def there(self, room: str) -> str:
        """What a room has to show, in words; empty where there is nothing yet."""
        if room == "view":
            found = [path for deep in ("", "*/", f"{places.RESULTS.name}/*/") for path in self._summaries(deep)]
            return _counted(len(found), "segmented slide")
        if room == "findings":
            pages = list((self.root / places.FINDINGS).glob(f"*/{places.FINDINGS_PAGE}"))
            return _counted(len(pages), "slide with findings", "slides with findings")
        if room == "gates":
            return _gates(self.root)
        if room == "label":
            return "patches to label" if (self.root / places.CANDIDATES / places.CANDIDATES_FILE).is_file() else ""
        return "runs in MLflow" if _has_store() else ""

    def _summaries(self, deep: str) -> list[Path]:
        found = self.results.glob(f"{deep}{places.SUMMARY}")
        return [path for path in found if not leads_outside(path, self.results)]


def make_written(
    folders: Folders, hosts: Collection[str] = (), doors: "Doors | None" = None, *, secure: bool = False
) -> "Flask":
    """These pages as a Flask application.

    Args:
        folders: where things lie.
        hosts: names and addresses that it is asked for by, besides loopback's.
        doors: let readers in, where it is served to other machines.
        secure: whether it is served over TLS.
    """
    from flask import Flask, abort

    app = Flask(__name__, static_folder=None)
    harden(app, hosts)
    add_shared(app)
    _add_start(app, folders)
    _add_files(app, folders)
    _add_runs(app)

    @app.get("/enter/<secret>")
    def enter(secret: str) -> "BaseResponse":
        let_in = doors is not None and doors.guarded and doors.reader_with(secret)
        return remembered(doors, secret, secure=secure) if doors is not None and let_in else abort(401)

    return app


def _add_start(app: "Flask", folders: Folders) -> None:
    from flask import abort, request
    from werkzeug.exceptions import HTTPException

    @app.get("/")
    @app.get("/start/")
    def start() -> str:
        doors = [
            {"place": room, "name": ROOMS[room], "about": about, "there": folders.there(room), "run": _COMMANDS[room]}
            for room, about in _ABOUT.items()
        ]
        return _page("start.html", doors=doors, start=_start())

    @app.route(REFUSED, methods=["GET", "POST", "PUT", "DELETE", "PATCH"])
    def refused() -> tuple[str, int]:
        room, why = request.environ.get(REFUSAL) or abort(404)
        there = bool(room) and bool(folders.there(room))
        return _missing(room, why, makes=room == "view" and not there, there=there), 404 if room else 401

    @app.errorhandler(InputError)
    def wrong(error: InputError) -> tuple[str, int]:
        there = _has_store()
        return _missing(request.path.split("/")[1], str(error), makes=not there, there=there), 404

    @app.errorhandler(HTTPException)
    def failed(error: HTTPException) -> tuple[str, int]:
        return error_page(error)


def _add_files(app: "Flask", folders: Folders) -> None:
    from flask import abort

    @app.get("/gates/")
    def gates() -> "Response":
        path = folders.root / places.GATES_PAGE
        return _sent(path, path.parent, "gates") or _nothing("gates", f"{path}: no gate has run yet")

    @app.get("/findings/")
    def findings() -> "Response":
        folder = folders.root / places.FINDINGS
        path = folder / places.COHORT_FINDINGS_PAGE
        return _sent(path, folder, "findings") or _nothing("findings", f"{path}: nothing is written yet")

    @app.get("/findings/<path:name>")
    def finding(name: str) -> "Response":
        folder = folders.root / places.FINDINGS
        parts = name.split("/")
        if any(part in ("", ".", "..") or "\\" in part or "\0" in part for part in parts):
            abort(404)
        return _sent(folder.joinpath(*parts), folder, "findings") or abort(404)


def _add_runs(app: "Flask") -> None:
    @app.get("/runs/")
    def runs() -> str:
        return _page("runs.html", runs=_asked(_runs))

    @app.get("/runs/<run_id>/")
    def run(run_id: str) -> "Response":
        from flask import abort

        if len(run_id) != 32 or not set(run_id) <= set("0123456789abcdef"):
            abort(404)
        return _shown(_asked(lambda: _report(run_id)), "runs")


def _asked(question: Callable[[], _T]) -> _T:
    """What the store answers; `InputError` where there is none, or a server is not to be had."""
    if not _has_store():
        raise InputError("no run has been recorded in this project yet")
    try:
        return question()
    except InputError:
        raise
    except Exception as error:
        if not is_outage(error):
            raise
        raise InputError(needed(error)) from None


def _report(run_id: str) -> str:
    from wsss_mm.tracking.report import find_run_of, render_report

    return render_report(*find_run_of(run_id))


def _runs() -> list[dict[str, str]]:
    from wsss_mm.tracking.finding import newest_first
    from wsss_mm.tracking.store import connect

    found = newest_first(connect().MlflowClient(), "", most=_MOST_RUNS)
    return [
        {
            "id": run.info.run_id,
            "name": run.info.run_name or run.info.run_id,
            "stage": run.data.tags.get("stage", ""),
            "status": run.info.status.lower(),
            "started": datetime.fromtimestamp(run.info.start_time / 1000, timezone.utc).strftime("%Y-%m-%d %H:%M UTC"),
            "miou": _number(run.data.metrics, "test.ungated.miou"),
            "valid": _number(run.data.metrics, "valid/miou"),
        }
        for run in found
        if run.data.tags.get("stage") in _STAGES
    ]


def _number(metrics: dict[str, float], name: str) -> str:
    return f"{metrics[name]:.3f}" if name in metrics else ""


def _has_store() -> bool:
    """Whether there are runs to ask for; a store is not made by looking."""
    from wsss_mm.tracking.store import sqlite_file, tracking_uri

    file = sqlite_file(tracking_uri())
    return file is None or file.is_file()


def _gates(root: Path) -> str:
    from wsss_mm.gates import GATES, report_path
    from wsss_mm.gates.reading import read_report

    states = []
    for gate in GATES:
        try:
            states.append(read_report(root / report_path(gate)).status)
        except InputError:
            continue
    if "failed" in states:
        return f"{states.count('failed')} of {_counted(len(states), 'gate')} failed"
    return f"{_counted(len(states), 'gate')} passed" if states else ""


def _counted(count: int, one: str, many: str = "") -> str:
    return f"{count} {one if count == 1 else many or one + 's'}" if count else ""


def _start() -> str:
    from flask import request

    return request.environ.get(ROOMS_BEFORE) or f"{request.script_root}/"


def _sent(path: Path, folder: Path, room: str) -> "Response | None":
    """A file of a folder as it is shown; None where there is none, or links lead out of the folder."""
    from flask import Response

    kind = _KINDS.get(path.suffix)
    if kind is None or not path.is_file():
        return None
    if leads_outside(path, folder):
        logger.warning("%s: a link leads out of %s; not shown", path, folder)
        return None
    if kind != "text/html":
        return Response(path.read_bytes(), mimetype=kind)
    return _shown(path.read_text(encoding="utf-8", errors="replace"), room)


def _shown(page: str, room: str) -> "Response":
    from flask import Response

    nonce = secrets.token_urlsafe(16)
    response = Response(shown_in_room(page, _start(), room, nonce), mimetype="text/html")
    response.headers["Content-Security-Policy"] = _POLICY.format(nonce=nonce)
    return response


def _nothing(room: str, why: str) -> "Response":
    from flask import make_response

    return make_response(_missing(room, why, makes=True), 404)


def _missing(room: str, why: str, *, makes: bool, there: bool = False) -> str:
    """The page that says why there is nothing, and what makes it where `why` does not say that itself.

    What is there is not said to be missing, where something else is wrong.
    """
    title = ("This cannot be shown" if there else "Nothing to show yet") if room else "Not for strangers"
    return missing_page(room, title, why, _COMMANDS[room] if makes else "")


def _page(template: str, **values: Any) -> str:
    return environment("wsss_mm.web").get_template(template).render(values)
