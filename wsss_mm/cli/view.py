"""`wsss-mm view`: slides and maps side by side in the browser."""

import argparse
import logging
from pathlib import Path
from typing import TYPE_CHECKING, Any

from wsss_mm import places
from wsss_mm.cli.results_options import add_results, slides_of
from wsss_mm.errors import InputError

if TYPE_CHECKING:
    from wsss_mm.wsi.viewer.correcting import Desk

logger = logging.getLogger(__name__)


def add_parser(subparsers: Any) -> None:
    """Add the sub-command."""
    parser = subparsers.add_parser(
        "view",
        help="look at segmented slides in the browser",
        description="Serve slides and their maps side by side, linked and zoomable, on loopback until Ctrl-C. "
        "Nothing is loaded from the network; OpenSeadragon is fetched through npm once, by `make setup` or --setup.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    add_results(parser)
    parser.add_argument(
        "--labels",
        type=Path,
        metavar="FOLDER",
        help=f"journals that take what is marked as wrong in the page; {places.LABELS_FOLDER} of a project without",
    )
    parser.add_argument("--reader", metavar="NAME", help="who says what is wrong; your account's name without")
    parser.add_argument("--port", type=int, default=5010, help="of the page, 0 for any free one")
    parser.add_argument("--setup", action="store_true", help="fetch OpenSeadragon, and do nothing else")
    parser.set_defaults(handler=_view)


def _view(arguments: argparse.Namespace) -> None:
    from wsss_mm.serving import HOST, serve
    from wsss_mm.wsi.viewer.openseadragon import get_archive, read_archive
    from wsss_mm.wsi.viewer.results import read_results
    from wsss_mm.wsi.viewer.server import make_app

    archive = get_archive()
    script = read_archive(archive)
    if arguments.setup:
        logger.info("%s is in place", archive)
        return
    results = read_results(arguments.results)
    slides = slides_of(results, arguments.slide)
    for result in results:
        if result.name not in slides:
            logger.warning(
                "%s: slide %s not found, shown without; name it with --slide", result.name, result.slide_file
            )
    desk = _desk(arguments)
    logging.getLogger("werkzeug").setLevel(logging.ERROR)  # not a line for each tile
    serve(
        make_app(results, slides, script, desk),
        arguments.port,
        lambda port: logger.warning("%d slides at http://%s:%d/ until Ctrl-C", len(results), HOST, port),
    )


def _desk(arguments: argparse.Namespace) -> "Desk | None":
    """What takes what somebody finds wrong; None, and said, where that is not to be had."""
    from wsss_mm.cohort import TABLE, Cohort

    folder = arguments.labels or places.LABELS_FOLDER
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
        reader = reader_named(arguments.reader)
        return Desk(Corrections(Cohort.read(), vocabulary, params.patches, reader, folder))
    why = f"{missing}, {needed[missing]}, is not here"
    if arguments.labels or arguments.reader:
        raise InputError(f"{why}, so that nothing can be marked as wrong; start the viewer in the project's folder")
    logger.info("%s: nothing can be marked as wrong in the page", why)
    return None
