"""`wsss-mm label`: say what patches hold, in the browser."""

import argparse
import logging
import os
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import quote

from wsss_mm import places
from wsss_mm.cli.own_slides import meant_table, next_steps
from wsss_mm.cli.readers import reader_named
from wsss_mm.errors import InputError
from wsss_mm.names import folder_name, likeness

logger = logging.getLogger(__name__)

_ANY = ("0.0.0.0", "::")


def add_parser(subparsers: Any) -> None:
    """Add the sub-command."""
    parser = subparsers.add_parser(
        "label",
        help="label patches in the browser",
        description=f"Serve the page on which readers say what tissues patches hold, on loopback until Ctrl-C. Answers "
        f"are written to {places.LABELS_FOLDER}/<reader>{places.JOURNAL_SUFFIX} before the page shows them as saved; "
        "the page goes on where its reader stopped.",
        epilog="Example: wsss-mm label --reader ann bob",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    parser.add_argument("--reader", nargs="+", metavar="NAME", help="who labels; your account's name without")
    parser.add_argument("--port", type=int, default=5011, help="of the page, 0 for any free one")
    parser.add_argument(
        "--host",
        metavar="ADDRESS",
        help="address or name of this machine at which others reach the page; each reader gets a link",
    )
    parser.add_argument("--certificate", type=Path, metavar="PEM", help="with --host: TLS certificate")
    parser.add_argument("--key", type=Path, metavar="PEM", help="with --certificate: its key")
    parser.add_argument("--new-links", action="store_true", help="with --host: the links of before open no more")
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
        "--viewer", metavar="URL", help="of `wsss-mm view`, such as http://127.0.0.1:5010: patches have a link there"
    )
    parser.add_argument(
        "--setup", action="store_true", help="fetch OpenSeadragon, which view Draw needs, and do nothing else"
    )
    parser.set_defaults(handler=_label)


def _label(arguments: argparse.Namespace) -> None:
    from wsss_mm.cohort import Cohort
    from wsss_mm.inference.runtime import DEVICE, choose_device
    from wsss_mm.labelling.candidates import read_candidates
    from wsss_mm.serving import HOST, serve
    from wsss_mm.settings import load_params
    from wsss_mm.vocabulary import get_vocabulary
    from wsss_mm.web.label.doors import Doors
    from wsss_mm.web.label.server import make_app
    from wsss_mm.web.label.session import Options, Session, check_fresh
    from wsss_mm.wsi.viewer.openseadragon import archive_path, get_archive, read_archive

    if arguments.setup:
        read_archive(get_archive())
        logger.info("%s is in place", archive_path())
        return
    if arguments.device:
        os.environ[DEVICE] = choose_device(arguments.device)  # of the process that computes features
    readers = _readers(arguments.reader)
    certificate = _certificate(arguments)
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
    if arguments.queue is not None:
        from wsss_mm.choosing.wanted import in_queue

        candidates = in_queue(candidates, arguments.queue)
    options = Options(
        suggestions=not arguments.no_suggestions, memory=arguments.memory, features=not arguments.no_features
    )
    session = Session(candidates, cohort, vocabulary, readers, options=options)
    doors = Doors(readers, places.LABEL_SERVER, guarded=arguments.host is not None)
    host = arguments.host or HOST
    app = make_app(
        session,
        doors,
        hosts=[_named(host)] if arguments.host else [],
        secure=certificate is not None,
        viewer=_viewer(arguments.viewer),
    )
    if not archive_path().is_file():
        logger.warning("view Draw needs OpenSeadragon, which is missing; fetch it once: wsss-mm label --setup")
    logging.getLogger("werkzeug").setLevel(logging.ERROR)  # not a line for each picture
    try:
        serve(app, arguments.port, _greeting(arguments, doors, len(candidates)), host=host, certificate=certificate)
    finally:
        session.close()
    if params.cohort.name == "slides":
        sys.stdout.write(next_steps(meant_table(None), checked=True))


def _viewer(address: str | None) -> Callable[[str], str | None]:
    """Where the viewer shows a slide, by slide_id."""
    if address is None:
        return lambda _: None
    if not address.startswith(("http://", "https://")):
        raise InputError(f"--viewer {address}: is no address of a page; give one such as http://127.0.0.1:5010")
    return lambda slide: f"{address.rstrip('/')}/slides/{quote(folder_name(slide), safe='')}/"


def _readers(names: list[str] | None) -> list[str]:
    names = [reader_named(name) for name in names or [None]]
    if len({likeness(name) for name in names}) < len(names):
        raise InputError(f"--reader {' '.join(names)}: two readers have the same name; tell them apart")
    return names


def _certificate(arguments: argparse.Namespace) -> tuple[Path, Path] | None:
    if arguments.host is None:
        given = [name for name in ("certificate", "key") if getattr(arguments, name)]
        given += ["new-links"] if arguments.new_links else []
        if given:
            raise InputError(f"--{given[0]} is for readers on other machines; give --host too")
        return None
    if arguments.host in _ANY:
        raise InputError(f"--host {arguments.host} is no address that readers can open; give this machine's own")
    if (arguments.certificate is None) != (arguments.key is None):
        raise InputError("--certificate and --key belong together; give both")
    if arguments.certificate is None:
        logger.warning(
            "without --certificate and --key, names, links and answers cross the network as plain text; do so in a "
            "network alone that you trust, or let an SSH tunnel carry the page on loopback"
        )
        return None
    return arguments.certificate, arguments.key


def _named(host: str) -> str:
    return f"[{host}]" if ":" in host else host


def _greeting(arguments: argparse.Namespace, doors: Any, count: int) -> Callable[[int], None]:
    from wsss_mm.serving import HOST

    def say(port: int) -> None:
        if arguments.host is None:
            logger.warning("%d patches to label at http://%s:%d/ until Ctrl-C", count, HOST, port)
            return
        root = f"{'https' if arguments.certificate else 'http'}://{_named(arguments.host)}:{port}"
        _say_links(doors.new_secrets(anew=arguments.new_links), root, doors.readers)
        logger.warning("%d patches to label at %s/ until Ctrl-C", count, root)

    return say


def _say_links(made: Mapping[str, str], root: str, readers: Any) -> None:
    for name, secret in made.items():
        print(f"{name}: {root}/enter/{quote(secret)}", flush=True)
    if made:
        logger.warning("each link lets in one reader, and is not shown again; --new-links makes others")
    old = [name for name in readers if name not in made]
    if old:
        logger.warning("%s: the links of before still open the page", ", ".join(old))
