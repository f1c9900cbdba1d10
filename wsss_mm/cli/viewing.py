"""The viewer with all that is known here: of results, of slides, and of the project in the current folder."""

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from wsss_mm import places
from wsss_mm.cli.readers import reader_named
from wsss_mm.cli.results_options import slides_of
from wsss_mm.errors import InputError

if TYPE_CHECKING:
    from flask import Flask

    from wsss_mm.settings import PatchSettings
    from wsss_mm.wsi.viewer.correcting import Desk
    from wsss_mm.wsi.viewer.guard import Guard
    from wsss_mm.wsi.viewer.project import Project
    from wsss_mm.wsi.viewer.results import Result

logger = logging.getLogger(__name__)

_MOST_LINES = 5  # on slides that are not found


def make_viewer(
    folder: Path,
    named: Sequence[Path] = (),
    *,
    labels: Path | None = None,
    reader: str | None = None,
    marking: bool = True,
) -> "tuple[Flask, int]":
    """The viewer of a folder of results, and how many slides it shows.

    Args:
        folder: of results.
        named: slides, or folders that hold them.
        labels: folder of journals; that of the project without.
        reader: who writes; the account's name without.
        marking: whether anything can be written: notes, bad slides, and what is wrong.

    Raises:
        InputError: there are no results, something is damaged, or a place does not exist.
    """
    from wsss_mm.wsi.viewer.guard import Guard
    from wsss_mm.wsi.viewer.openseadragon import get_archive, read_archive
    from wsss_mm.wsi.viewer.remarking import RemarkDesk
    from wsss_mm.wsi.viewer.remarks import Remarks
    from wsss_mm.wsi.viewer.results import failed_slides, read_all
    from wsss_mm.wsi.viewer.server import make_app

    script = read_archive(get_archive())
    results = read_all(folder)
    slides = slides_of(results, named)
    _say_missing(results, slides)
    guard, known = Guard(), _project(labels)
    project = None if known is None else known[0]
    desk = remarks = None
    if marking:
        desk = _desk(known, labels, reader, guard)
        said = Remarks(notes_path(folder, project is not None), reader_named(reader), project)
        remarks = RemarkDesk(said, guard)
    app = make_app(results, slides, script, desk, project=project, remarks=remarks, failed=failed_slides(folder))
    return app, len(results)


def notes_path(results: Path, in_project: bool) -> Path:
    """Where notes on slides are kept: with a project's data, or beside the results."""
    if in_project:
        return places.SLIDE_NOTES
    return (results.parent if (results / places.SUMMARY).is_file() else results) / places.SLIDE_NOTES.name


def _say_missing(results: Sequence["Result"], slides: Mapping[str, Path]) -> None:
    missing = [result for result in results if result.name not in slides]
    for result in missing if len(missing) <= _MOST_LINES else ():
        logger.warning("%s: slide %s not found, shown without; name it with --slide", result.name, result.slide_file)
    if len(missing) > _MOST_LINES:
        logger.warning(
            "%d of %d slides are not found, the first %s of %s, and shown without; name their folder with --slide",
            *(len(missing), len(results), missing[0].slide_file, missing[0].name),
        )


def _project(labels: Path | None) -> "tuple[Project, PatchSettings] | None":
    """What the project in this folder knows of slides, and its patches; None where there is none."""
    from wsss_mm.cohort import TABLE, Cohort

    if not (TABLE.is_file() and Path(places.PARAMS_FILE).is_file()):
        return None
    from wsss_mm.settings import load_params
    from wsss_mm.vocabulary import get_vocabulary
    from wsss_mm.wsi.viewer.project import Project

    params = load_params()
    vocabulary = get_vocabulary(params.cohort.vocabulary)
    return Project(Cohort.read(), vocabulary, labels or places.LABELS_FOLDER), params.patches


def _desk(
    known: "tuple[Project, PatchSettings] | None", labels: Path | None, reader: str | None, guard: "Guard"
) -> "Desk | None":
    """What takes what somebody finds wrong; None, and said, where that is not to be had."""
    from wsss_mm.cohort import TABLE

    folder = labels or places.LABELS_FOLDER
    needed = {
        folder: "the folder of journals",
        TABLE: "made by `dvc repro cohort`",
        Path(places.PARAMS_FILE): "of the project",
    }
    missing = next((path for path in needed if not path.exists()), None)
    if missing is None and known is not None:
        from wsss_mm.wsi.viewer.correcting import Desk
        from wsss_mm.wsi.viewer.corrections import Corrections

        return Desk(Corrections(*known, reader_named(reader)), guard)
    why = f"{missing}, {needed[missing]}, is not here" if missing is not None else f"{TABLE} is no file"
    if labels is not None:
        raise InputError(f"{why}, so that nothing can be marked as wrong; start the viewer in the project's folder")
    logger.info("%s: nothing can be marked as wrong in the page", why)
    return None
