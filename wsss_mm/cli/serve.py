"""`wsss-mm serve`: slides, labelling, gates, runs and findings, in one application."""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from wsss_mm import places
from wsss_mm.cli.addresses import add_address, address_of, certificate_of, greeting, readers_named
from wsss_mm.cli.rooms import application
from wsss_mm.cli.view import add_marking
from wsss_mm.cli.viewing import make_viewer

if TYPE_CHECKING:
    from flask import Flask


def add_parser(subparsers: Any) -> None:
    """Add the sub-command."""
    parser = subparsers.add_parser(
        "serve",
        help="slides, labelling, gates, runs and findings in the browser",
        description="Serve all pages of the project in one application, on loopback until Ctrl-C: segmented slides, "
        "labelling, gates, reports of runs, findings. What is not there yet says what to run. `wsss-mm view` and "
        "`wsss-mm label` open the same application at slides and at labelling.",
        epilog="Example: wsss-mm serve --results results/slides",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    parser.add_argument(
        "--results", type=Path, default=places.ALL_RESULTS, metavar="FOLDER", help="folder of segmented slides"
    )
    parser.add_argument(
        "--slide", nargs="+", type=Path, default=[], metavar="PATH", help="slides, or folders that hold them"
    )
    add_marking(parser)
    parser.add_argument("--reader", nargs="+", metavar="NAME", help="who labels; your account's name without")
    add_address(parser, 5012)
    parser.set_defaults(handler=_serve)


def _serve(arguments: argparse.Namespace) -> None:
    from wsss_mm.serving import HOST, serve
    from wsss_mm.web.label.doors import Doors

    readers = readers_named(arguments.reader)
    certificate = certificate_of(arguments)
    host, guarded = arguments.host or HOST, arguments.host is not None
    doors = Doors(readers, places.LABEL_SERVER, guarded=True) if guarded else None
    # what is found wrong in the viewer is said by whoever started it, and so by nobody elsewhere
    own = readers[0] if arguments.reader and len(readers) == 1 and not guarded else None

    def view() -> "Flask":
        named, labels = arguments.slide, arguments.labels
        return make_viewer(arguments.results, named, labels=labels, reader=own, marking=not guarded)[0]

    secure, asked_by = certificate is not None, address_of(host) if guarded else None
    greet = greeting(arguments, doors, "slides, labelling, gates, runs and findings")
    with application(
        "start", readers, results=arguments.results, view=view, doors=doors, host=asked_by, secure=secure
    ) as app:
        serve(app, arguments.port, greet, host=host, certificate=certificate)
