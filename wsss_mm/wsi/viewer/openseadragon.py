"""OpenSeadragon, the viewer's JavaScript, served from its archive (see `wsss_mm.npm`)."""

import logging
from pathlib import Path

from wsss_mm.npm import NpmPackage

logger = logging.getLogger(__name__)

VERSION = "6.1.1"
INTEGRITY = "g4iKe2q8B642SaBT3+x4ZF3/8b1TxPPydyjmtrOLgDrlYWMKd9ZXM+1Cb/xa9DVySkvs/7l6HR1nHKfD5F3Tsw=="

_SCRIPT = "openseadragon.min.js"
_BUILD = "package/build/openseadragon/"


def archive_path() -> Path:
    """Where the archive lies."""
    return _package().archive


def fetch_archive(path: Path) -> None:
    """Fetch the archive with npm, and check it.

    Raises:
        InputError: npm is missing or fails; the message says how to bring the archive by hand.
    """
    _package().fetch(path)


def get_archive() -> Path:
    """The archive, fetched now if it never was.

    Raises:
        InputError: see `fetch_archive`.
    """
    path = archive_path()
    if not path.is_file():
        logger.info("fetching OpenSeadragon through npm, once")
        fetch_archive(path)
    return path


def read_archive(path: Path) -> dict[str, bytes]:
    """The files that pages need, by name: the script, and the pictures of its buttons as `images/*.png`.

    Raises:
        InputError: the archive is missing, or is not what it must be.
    """
    files = {name.removeprefix(_BUILD): content for name, content in _package().read(path).items()}
    return {
        name: content
        for name, content in files.items()
        if name == _SCRIPT or (name.startswith("images/") and name.endswith(".png"))
    }


def _package() -> NpmPackage:
    return NpmPackage("openseadragon", VERSION, INTEGRITY, setup="wsss-mm view --setup")
