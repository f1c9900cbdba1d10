"""The viewer with all that is known here: of results, of slides, and of the project in the current folder."""

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from wsss_mm import places
from wsss_mm.cli.readers import reader_named
from wsss_mm.cli.results_options import slides_of
from wsss_mm.errors import InputError

if TYPE_CHECKING:
    from flask import Flask

    from wsss_mm.wsi.viewer.correcting import Desk

logger = logging.getLogger(__name__)


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
        marking: whether anything can be written.

    Raises:
        InputError: there are no results, or OpenSeadragon cannot be had.
    """
    from wsss_mm.wsi.viewer.openseadragon import get_archive, read_archive
    from wsss_mm.wsi.viewer.results import read_results
    from wsss_mm.wsi.viewer.server import make_app

    script = read_archive(get_archive())
    results = read_results(folder)
    slides = slides_of(results, named)
    for result in results:
        if result.name not in slides:
            logger.warning(
                "%s: slide %s not found, shown without; name it with --slide", result.name, result.slide_file
            )
    desk = _desk(labels, reader) if marking else None
    return make_app(results, slides, script, desk), len(results)


def _desk(labels: Path | None, reader: str | None) -> "Desk | None":
    """What takes what somebody finds wrong; None, and said, where that is not to be had."""
    from wsss_mm.cohort import TABLE, Cohort

    folder = labels or places.LABELS_FOLDER
    needed = {
        folder: "the folder of journals",
        TABLE: "made by `dvc repro cohort`",
        Path(places.PARAMS_FILE): "of the project",
    }
    missing = next((path for path in needed if not path.exists()), None)
    if missing is None:
        from wsss_mm.settings import load_params
        from wsss_mm.vocabulary import get_vocabulary
        from wsss_mm.wsi.viewer.correcting import Desk
        from wsss_mm.wsi.viewer.corrections import Corrections

        params = load_params()
        vocabulary = get_vocabulary(params.cohort.vocabulary)
        name = reader_named(reader)
        return Desk(Corrections(Cohort.read(), vocabulary, params.patches, name, folder))
    why = f"{missing}, {needed[missing]}, is not here"
    if labels or reader:
        raise InputError(f"{why}, so that nothing can be marked as wrong; start the viewer in the project's folder")
    logger.info("%s: nothing can be marked as wrong in the page", why)
    return None
