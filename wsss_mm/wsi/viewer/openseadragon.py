"""OpenSeadragon, the viewer's JavaScript, served from the archive that holds it (see `wsss_mm.javascript`).

The sources of openslide-python, which reads the slides, bring its published build for their example.
"""

import logging
from pathlib import Path

from wsss_mm.javascript import Bundle

logger = logging.getLogger(__name__)

VERSION = "6.1.1"
SCRIPT = "openseadragon.js"
SHA256 = "730fed798de683b00c8ef4d956f3d429cc02f2c449eb0d58944e1769ba7983cc"  # also in requirements.lock

_PACKAGE, _PACKAGE_VERSION = "openslide-python", "1.4.7"
_BUILD = "examples/deepzoom/static/"


def archive_path() -> Path:
    """Where the archive lies."""
    return _bundle().archive


def fetch_archive(path: Path) -> None:
    """Fetch the archive with pip, and check it.

    Raises:
        InputError: pip is missing or fails; the message says how to bring the archive by hand.
    """
    _bundle().fetch(path)


def get_archive() -> Path:
    """The archive, fetched now if it never was.

    Raises:
        InputError: see `fetch_archive`.
    """
    path = archive_path()
    if not path.is_file():
        logger.info("fetching OpenSeadragon with pip, once")
        fetch_archive(path)
    return path


def read_archive(path: Path) -> dict[str, bytes]:
    """The files that pages need, by name: the script, and the pictures of its buttons as `images/*.png`.

    Raises:
        InputError: the archive is missing, or is not what it must be.
    """
    files = {name.removeprefix(_BUILD): content for name, content in _bundle().read(path).items()}
    return {
        name: content
        for name, content in files.items()
        if name == SCRIPT or (name.startswith("images/") and name.endswith(".png"))
    }


def _bundle() -> Bundle:
    file = f"{_PACKAGE.replace('-', '_')}-{_PACKAGE_VERSION}.tar.gz"
    return Bundle(f"OpenSeadragon {VERSION}", _PACKAGE, _PACKAGE_VERSION, file, SHA256)
