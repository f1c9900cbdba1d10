"""`wsss-mm view`: slides and maps side by side in the browser."""

import argparse
import logging
from pathlib import Path
from typing import Any

from wsss_mm import places
from wsss_mm.cli.results_options import add_results
from wsss_mm.cli.viewing import make_viewer

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
    parser.add_argument("--reader", metavar="NAME", help="who writes in the page; your account's name without")
    parser.add_argument("--port", type=int, default=5010, help="of the page, 0 for any free one")
    parser.add_argument("--setup", action="store_true", help="fetch OpenSeadragon, and do nothing else")
    parser.set_defaults(handler=_view)


def _view(arguments: argparse.Namespace) -> None:
    from wsss_mm.serving import HOST, serve
    from wsss_mm.wsi.viewer.openseadragon import get_archive, read_archive

    if arguments.setup:
        archive = get_archive()
        read_archive(archive)
        logger.info("%s is in place", archive)
        return
    app, count = make_viewer(arguments.results, arguments.slide, labels=arguments.labels, reader=arguments.reader)
    logging.getLogger("werkzeug").setLevel(logging.ERROR)  # not a line for each tile
    serve(
        app, arguments.port, lambda port: logger.warning("%d slides at http://%s:%d/ until Ctrl-C", count, HOST, port)
    )
