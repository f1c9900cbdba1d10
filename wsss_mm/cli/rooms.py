"""The rooms of the application, as `wsss-mm serve`, `view` and `label` start them."""

import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote

from wsss_mm import places
from wsss_mm.cli.viewing import make_viewer
from wsss_mm.errors import InputError
from wsss_mm.names import folder_name

if TYPE_CHECKING:
    from flask import Flask

    from wsss_mm.web.application import Application
    from wsss_mm.web.label.doors import Doors
    from wsss_mm.web.label.session import Session


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
    readers: Sequence[str],
    *,
    results: Path = places.ALL_RESULTS,
    view: "Callable[[], Flask] | None" = None,
    label: "Callable[[], Flask] | None" = None,
    doors: "Doors | None" = None,
    host: str | None = None,
    secure: bool = False,
) -> "Iterator[Application]":
    """All rooms as one application; what labelling opened is closed at the end.

    Args:
        entrance: the room at the root.
        readers: who labels.
        results: folder of segmented slides.
        view: makes the viewer; of these results, with what this folder knows of them, if None.
        label: makes the labelling page, if it is not to be as `wsss-mm label` makes it without options.
        doors: who may look, where it is served to other machines.
        host: that it is asked for by there.
        secure: whether it is served over TLS.
    """
    from wsss_mm.web.application import Application, Room
    from wsss_mm.web.label.doors import Doors
    from wsss_mm.web.label.server import make_app
    from wsss_mm.web.written import Folders, make_written

    logging.getLogger("werkzeug").setLevel(logging.ERROR)  # not a line for each tile

    def labelling() -> "Flask":
        session = opened.enter_context(closing(open_session(readers, Labelling())))
        own = doors or Doors(readers, places.LABEL_SERVER, guarded=False)
        return make_app(session, own, secure=secure, viewer=beside)

    hosts = [] if host is None else [host]
    own = readers[0] if len(readers) == 1 else None  # what is found wrong is said by who labels, where that is one
    makers = {"view": view or (lambda: make_viewer(results, reader=own)[0]), "label": label or labelling}
    written = make_written(Folders(results), hosts, doors, secure=secure)
    with ExitStack() as opened:
        yield Application({name: Room(make, hosts) for name, make in makers.items()}, written, entrance, doors)


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
    there = any((folder / name / places.SUMMARY).is_file() for folder in (places.RESULTS, places.ALL_RESULTS))
    return f"/view/slides/{quote(name, safe='')}/" if there else None
