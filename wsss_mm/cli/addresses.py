"""At which address pages are served, over TLS or not, and the links of readers on other machines."""

import argparse
import logging
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote

from wsss_mm.cli.readers import reader_named
from wsss_mm.errors import InputError
from wsss_mm.names import likeness

if TYPE_CHECKING:
    from wsss_mm.web.label.doors import Doors

logger = logging.getLogger(__name__)

_ANY = ("0.0.0.0", "::")


def add_address(parser: argparse.ArgumentParser, port: int) -> None:
    """Add --port, --host and what belongs to it."""
    parser.add_argument("--port", type=int, default=port, help="of the page, 0 for any free one")
    parser.add_argument(
        "--host",
        metavar="ADDRESS",
        help="address or name of this machine at which others reach the page; each reader gets a link",
    )
    parser.add_argument("--certificate", type=Path, metavar="PEM", help="with --host: TLS certificate")
    parser.add_argument("--key", type=Path, metavar="PEM", help="with --certificate: its key")
    parser.add_argument("--new-links", action="store_true", help="with --host: the links of before open no more")


def readers_named(names: list[str] | None) -> list[str]:
    """Readers by name, the account's own without.

    Raises:
        InputError: two are alike, or one cannot be that of a journal.
    """
    names = [reader_named(name) for name in names or [None]]
    if len({likeness(name) for name in names}) < len(names):
        raise InputError(f"--reader {' '.join(names)}: two readers have the same name; tell them apart")
    return names


def certificate_of(arguments: argparse.Namespace) -> tuple[Path, Path] | None:
    """Certificate and key; None for plain HTTP.

    Raises:
        InputError: the options do not go together.
    """
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


def address_of(host: str) -> str:
    """A host as addresses name it."""
    return f"[{host}]" if ":" in host else host


def greeting(arguments: argparse.Namespace, doors: "Doors | None", what: str) -> Callable[[int], None]:
    """Says at which port what is served, with new links for readers on other machines."""
    from wsss_mm.serving import HOST

    def say(port: int) -> None:
        if arguments.host is None or doors is None:
            logger.warning("%s at http://%s:%d/ until Ctrl-C", what, HOST, port)
            return
        root = f"{'https' if arguments.certificate else 'http'}://{address_of(arguments.host)}:{port}"
        _say_links(doors.new_secrets(anew=arguments.new_links), root, doors.readers)
        logger.warning("%s at %s/ until Ctrl-C", what, root)

    return say


def _say_links(made: Mapping[str, str], root: str, readers: tuple[str, ...]) -> None:
    for name, secret in made.items():
        print(f"{name}: {root}/enter/{quote(secret)}", flush=True)
    if made:
        logger.warning("each link lets in one reader, and is not shown again; --new-links makes others")
    old = [name for name in readers if name not in made]
    if old:
        logger.warning("%s: the links of before still open the page", ", ".join(old))
