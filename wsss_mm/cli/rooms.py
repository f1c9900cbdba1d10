"""The rooms of the application, as `wsss-mm serve`, `view` and `label` start them."""

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote

from wsss_mm import places
from wsss_mm.cli.results_options import slides_of
from wsss_mm.errors import InputError
from wsss_mm.names import folder_name

if TYPE_CHECKING:
    from flask import Flask

    from wsss_mm.web.application import Application
    from wsss_mm.web.label.doors import Doors
    from wsss_mm.web.label.session import Session
    from wsss_mm.wsi.viewer.correcting import Desk

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Viewing:
    """What is looked at, and who says what is wrong there.

    Attributes:
        results: folder of segmented slides.
        slide: slides, or folders that hold them.
        labels: folder of journals; that of a project if None.
        reader: who says it; the account's name if None.
        marking: whether anything can be said.
    """

    results: Path = places.RESULTS
    slide: Sequence[Path] = ()
    labels: Path | None = None
    reader: str | None = None
    marking: bool = True


@dataclass(frozen=True)
class Labelling:
    """How labelling is started.

    Attributes:
        suggestions: whether a trained classifier's opinion may be shown.
        queue: a table of the only patches to label.
        features: whether features are computed.
        memory: for pictures, MiB.
    """

    suggestions: bool = True
    queue: Path | None = None
    features: bool = True
    memory: int = 256


@contextmanager
def application(
    entrance: str,
    viewing: Viewing,
    readers: Sequence[str],
    *,
    made: "Mapping[str, Flask] | None" = None,
    doors: "Doors | None" = None,
    host: str | None = None,
    secure: bool = False,
) -> "Iterator[Application]":
    """All rooms as one application; what labelling opened is closed at the end.

    Args:
        entrance: the room at the root.
        viewing: what the viewer shows.
        readers: who labels.
        made: rooms that there are already; the others are made when somebody enters.
        doors: who may look, where it is served to other machines.
        host: that it is asked for by there.
        secure: whether it is served over TLS.
    """
    from wsss_mm.web.application import Application, Room
    from wsss_mm.web.label.doors import Doors
    from wsss_mm.web.label.server import make_app
    from wsss_mm.web.written import Folders, make_written

    logging.getLogger("werkzeug").setLevel(logging.ERROR)  # not a line for each tile

    def label() -> "Flask":
        session = opened.enter_context(closing(open_session(readers, Labelling())))
        own = doors or Doors(readers, places.LABEL_SERVER, guarded=False)
        return make_app(session, own, secure=secure, viewer=beside)

    hosts = [] if host is None else [host]
    makers: dict[str, Callable[[], Flask]] = {"view": lambda: make_viewer(viewing)[0], "label": label}
    makers |= {name: partial(_given, app) for name, app in (made or {}).items()}
    written = make_written(Folders(viewing.results), hosts, doors, secure=secure)
    with ExitStack() as opened:
        yield Application({name: Room(make, hosts) for name, make in makers.items()}, written, entrance, doors)


def _given(app: "Flask") -> "Flask":
    return app


def make_viewer(viewing: Viewing) -> "tuple[Flask, int]":
    """The viewer as a Flask application, and how many slides it shows.

    Raises:
        InputError: there are no results, or OpenSeadragon cannot be had.
    """
    from wsss_mm.wsi.viewer.openseadragon import get_archive, read_archive
    from wsss_mm.wsi.viewer.results import read_results
    from wsss_mm.wsi.viewer.server import make_app

    script = read_archive(get_archive())
    results = read_results(viewing.results)
    slides = slides_of(results, viewing.slide)
    for result in results:
        if result.name not in slides:
            logger.warning(
                "%s: slide %s not found, shown without; name it with --slide", result.name, result.slide_file
            )
    desk = _desk(viewing) if viewing.marking else None
    return make_app(results, slides, script, desk), len(results)


def _desk(viewing: Viewing) -> "Desk | None":
    """What takes what somebody finds wrong; None, and said, where that is not to be had."""
    from wsss_mm.cohort import TABLE, Cohort

    folder = viewing.labels or places.LABELS_FOLDER
    needed = {
        folder: "the folder of journals",
        TABLE: "made by `dvc repro cohort`",
        Path(places.PARAMS_FILE): "of the project",
    }
    missing = next((path for path in needed if not path.exists()), None)
    if missing is None:
        from wsss_mm.cli.readers import reader_named
        from wsss_mm.settings import load_params
        from wsss_mm.vocabulary import get_vocabulary
        from wsss_mm.wsi.viewer.correcting import Desk
        from wsss_mm.wsi.viewer.corrections import Corrections

        params = load_params()
        vocabulary = get_vocabulary(params.cohort.vocabulary)
        reader = reader_named(viewing.reader)
        return Desk(Corrections(Cohort.read(), vocabulary, params.patches, reader, folder))
    why = f"{missing}, {needed[missing]}, is not here"
    if viewing.labels or viewing.reader:
        raise InputError(f"{why}, so that nothing can be marked as wrong; start the viewer in the project's folder")
    logger.info("%s: nothing can be marked as wrong in the page", why)
    return None


def open_session(readers: Sequence[str], options: Labelling) -> "Session":
    """A session of labelling with the candidates that there are; to be closed.

    Raises:
        InputError: there are none, or they are of other slides or settings.
    """
    from wsss_mm.cohort import Cohort
    from wsss_mm.labelling.candidates import read_candidates
    from wsss_mm.settings import load_params
    from wsss_mm.vocabulary import get_vocabulary
    from wsss_mm.web.label.session import Options, Session, check_fresh

    params = load_params()
    vocabulary = get_vocabulary(params.cohort.vocabulary)
    if params.cohort.name != "slides" and not (places.CANDIDATES / places.CANDIDATES_FILE).is_file():
        raise InputError(
            f"{places.PARAMS_FILE}: cohort.name is {params.cohort.name}, of which nothing is left to label; begin with "
            f"slides of your own: wsss-mm cohort add SLIDE..., which says what comes next"
        )
    candidates = read_candidates()
    cohort = Cohort.read()
    check_fresh(candidates, cohort, params.patches)
    if options.queue is not None:
        from wsss_mm.choosing.wanted import in_queue

        candidates = in_queue(candidates, options.queue)
    what = Options(suggestions=options.suggestions, memory=options.memory, features=options.features)
    return Session(candidates, cohort, vocabulary, readers, options=what)


def beside(slide: str) -> str | None:
    """Where the viewer of the same application shows a slide, by slide_id; None where it is not segmented."""
    name = folder_name(slide)
    there = (places.RESULTS / name / places.SUMMARY).is_file()
    return f"/view/slides/{quote(name, safe='')}/" if there else None
