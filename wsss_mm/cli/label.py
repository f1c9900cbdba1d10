"""`wsss-mm label`: say what patches hold, in the browser."""

import argparse
import logging
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import quote

from wsss_mm import places
from wsss_mm.cli.addresses import add_address, address_of, certificate_of, greeting, readers_named
from wsss_mm.cli.own_slides import meant_table, next_steps
from wsss_mm.cli.rooms import Labelling, application, beside, open_session
from wsss_mm.errors import InputError
from wsss_mm.names import folder_name

logger = logging.getLogger(__name__)


def add_parser(subparsers: Any) -> None:
    """Add the sub-command."""
    parser = subparsers.add_parser(
        "label",
        help="label patches in the browser",
        description=f"Serve the page on which readers say what tissues patches hold, on loopback until Ctrl-C. Answers "
        f"are written to {places.LABELS_FOLDER}/<reader>{places.JOURNAL_SUFFIX} before the page shows them as saved; "
        "the page goes on where its reader stopped. On loopback, slides, gates, runs and findings are a click away.",
        epilog="Example: wsss-mm label --reader ann bob",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    parser.add_argument("--reader", nargs="+", metavar="NAME", help="who labels; your account's name without")
    add_address(parser, 5011)
    parser.add_argument(
        "--no-suggestions", action="store_true", help="show nothing of what the trained classifier thinks"
    )
    parser.add_argument(
        "--queue",
        type=Path,
        metavar="FILE",
        help="only the patches of this table, such as `wsss-mm labels wanted` writes",
    )
    parser.add_argument("--no-features", action="store_true", help="compute none: orders and the map need them")
    parser.add_argument(
        "--device", help="of torch, for features: such as cpu or cuda:1; a GPU if there is one, without"
    )
    parser.add_argument("--memory", type=int, default=256, metavar="MIB", help="for pictures that are kept")
    parser.add_argument(
        "--viewer",
        metavar="URL",
        help="of another viewer for the patches' links, such as http://127.0.0.1:5010; without, that beside this page",
    )
    parser.add_argument(
        "--setup", action="store_true", help="fetch OpenSeadragon, which view Draw needs, and do nothing else"
    )
    parser.set_defaults(handler=_label)


def _label(arguments: argparse.Namespace) -> None:
    from wsss_mm.inference.runtime import DEVICE, choose_device
    from wsss_mm.serving import HOST, serve
    from wsss_mm.settings import load_params
    from wsss_mm.web.label.doors import Doors
    from wsss_mm.web.label.server import make_app
    from wsss_mm.wsi.viewer.openseadragon import archive_path, get_archive, read_archive

    if arguments.setup:
        read_archive(get_archive())
        logger.info("%s is in place", archive_path())
        return
    if arguments.device:
        os.environ[DEVICE] = choose_device(arguments.device)  # of the process that computes features
    readers = readers_named(arguments.reader)
    certificate = certificate_of(arguments)
    options = Labelling(not arguments.no_suggestions, arguments.queue, not arguments.no_features, arguments.memory)
    session = open_session(readers, options)
    if not archive_path().is_file():
        logger.warning("view Draw needs OpenSeadragon, which is missing; fetch it with: make setup")
    logging.getLogger("werkzeug").setLevel(logging.ERROR)  # not a line for each picture
    doors = Doors(readers, places.LABEL_SERVER, guarded=arguments.host is not None)
    host = arguments.host or HOST
    try:
        app = make_app(
            session,
            doors,
            hosts=[address_of(host)] if arguments.host else [],
            secure=certificate is not None,
            viewer=viewer_at(arguments.viewer) if arguments.viewer or arguments.host else beside,
        )
        greet = greeting(arguments, doors, f"{len(session.table)} patches to label")
        if arguments.host:  # nothing but this page is for other machines
            serve(app, arguments.port, greet, host=host, certificate=certificate)
        else:
            with application("label", readers, label=lambda: app) as whole:
                serve(whole, arguments.port, greet)
    finally:
        session.close()
    if load_params().cohort.name == "slides":
        sys.stdout.write(next_steps(meant_table(None), checked=True))


def viewer_at(address: str | None) -> Callable[[str], str | None]:
    """Where another viewer shows a slide, by slide_id.

    Raises:
        InputError: the address is none.
    """
    if address is None:
        return lambda _: None
    if not address.startswith(("http://", "https://")):
        raise InputError(f"--viewer {address}: is no address of a page; give one such as http://127.0.0.1:5010")
    return lambda slide: f"{address.rstrip('/')}/slides/{quote(folder_name(slide), safe='')}/"
