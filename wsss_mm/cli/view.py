"""`wsss-mm view`: slides and maps side by side in the browser."""

import argparse
import logging
from pathlib import Path
from typing import Any

from wsss_mm import places

logger = logging.getLogger(__name__)

_COHORT = places.COHORT


def add_parser(subparsers: Any) -> None:
    """Add the sub-command."""
    parser = subparsers.add_parser(
        "view",
        help="look at segmented slides in the browser",
        description="Serve slides and their maps side by side, linked and zoomable, on loopback until Ctrl-C. "
        "Nothing is loaded from the network; OpenSeadragon is fetched through npm once, by `make setup` or --setup.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    parser.add_argument(
        "results", nargs="?", type=Path, default=places.RESULTS, metavar="RESULTS", help="folder of results"
    )
    parser.add_argument(
        "--slide",
        nargs="+",
        type=Path,
        default=[],
        metavar="PATH",
        help=f"slides, or folders that hold them; {_COHORT} is looked through in any case, if it exists",
    )
    parser.add_argument("--port", type=int, default=5010, help="of the page, 0 for any free one")
    parser.add_argument("--setup", action="store_true", help="fetch OpenSeadragon, and do nothing else")
    parser.set_defaults(handler=_view)


def _view(arguments: argparse.Namespace) -> None:
    from wsss_mm.serving import HOST, serve
    from wsss_mm.wsi.viewer.openseadragon import archive_path, fetch_archive, read_archive
    from wsss_mm.wsi.viewer.results import find_slides, read_results
    from wsss_mm.wsi.viewer.server import make_app

    archive = archive_path()
    if not archive.is_file():
        logger.info("fetching OpenSeadragon through npm, once")
        fetch_archive(archive)
    script = read_archive(archive)
    if arguments.setup:
        logger.info("%s is in place", archive)
        return
    results = read_results(arguments.results)
    slides = find_slides(results, [*arguments.slide, *([_COHORT] if _COHORT.is_dir() else [])])
    for result in results:
        if result.name not in slides:
            logger.warning(
                "%s: slide %s not found, shown without; name it with --slide", result.name, result.slide_file
            )
    logging.getLogger("werkzeug").setLevel(logging.ERROR)  # not a line for each tile
    serve(
        make_app(results, slides, script),
        arguments.port,
        lambda port: logger.warning("%d slides at http://%s:%d/ until Ctrl-C", len(results), HOST, port),
    )
