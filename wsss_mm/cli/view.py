"""`wsss-mm view`: slides and maps side by side in the browser."""

import argparse
import logging
from pathlib import Path
from typing import Any

from wsss_mm import places
from wsss_mm.cli.readers import reader_named
from wsss_mm.cli.results_options import add_results
from wsss_mm.cli.rooms import application
from wsss_mm.cli.viewing import make_viewer

logger = logging.getLogger(__name__)


def add_parser(subparsers: Any) -> None:
    """Add the sub-command."""
    parser = subparsers.add_parser(
        "view",
        help="look at segmented slides in the browser",
        description="Serve slides and their maps side by side, linked and zoomable, on loopback until Ctrl-C. "
        "Labelling, gates, runs and findings are a click away. Nothing is loaded from the network; `make setup` "
        "fetches OpenSeadragon once, or this command does.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    add_results(parser)
    add_marking(parser)
    parser.add_argument("--reader", metavar="NAME", help="who writes in the page; your account's name without")
    parser.add_argument("--port", type=int, default=5010, help="of the page, 0 for any free one")
    parser.add_argument("--setup", action="store_true", help="fetch OpenSeadragon, and do nothing else")
    parser.set_defaults(handler=_view)


def add_marking(parser: argparse.ArgumentParser) -> None:
    """Add --labels."""
    parser.add_argument(
        "--labels",
        type=Path,
        metavar="FOLDER",
        help=f"journals that take what is marked as wrong in the page; {places.LABELS_FOLDER} of a project without",
    )


def _view(arguments: argparse.Namespace) -> None:
    from wsss_mm.serving import HOST, serve
    from wsss_mm.wsi.viewer.openseadragon import get_archive, read_archive

    if arguments.setup:
        read_archive(get_archive())
        logger.info("%s is in place", get_archive())
        return
    app, count = make_viewer(arguments.results, arguments.slide, labels=arguments.labels, reader=arguments.reader)
    readers = [reader_named(arguments.reader)]
    with application("view", readers, results=arguments.results, view=lambda: app) as whole:
        serve(
            whole,
            arguments.port,
            lambda port: logger.warning("%d slides at http://%s:%d/ until Ctrl-C", count, HOST, port),
        )
