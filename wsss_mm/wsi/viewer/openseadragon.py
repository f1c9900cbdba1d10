"""OpenSeadragon, the viewer's JavaScript: fetched once through npm, checked, and served from its archive.

The project holds no copy of it, and pages load nothing from outside: labs are often offline.
"""

import base64
import hashlib
import shutil
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path

from wsss_mm.errors import InputError
from wsss_mm.files import atomic_path

VERSION = "6.1.1"
INTEGRITY = "g4iKe2q8B642SaBT3+x4ZF3/8b1TxPPydyjmtrOLgDrlYWMKd9ZXM+1Cb/xa9DVySkvs/7l6HR1nHKfD5F3Tsw=="
"""SHA-512 of the archive in base64, as npm's package-lock.json says it."""

_SCRIPT = "openseadragon.min.js"
_BUILD = "package/build/openseadragon/"


def archive_path() -> Path:
    """Where the archive lies: in the Python environment, so that one installation has one."""
    return Path(sys.prefix) / "share" / "wsss-mm" / f"openseadragon-{VERSION}.tgz"


def fetch_archive(path: Path) -> None:
    """Fetch the archive with npm, and check it.

    Raises:
        InputError: npm is missing or fails; the message says how to bring the archive by hand.
    """
    by_hand = f"or run `npm pack openseadragon@{VERSION}` on another machine and put the file at {path}"
    npm = shutil.which("npm")
    if npm is None:
        raise InputError(f"OpenSeadragon {VERSION}: npm, which fetches it, is missing; install npm, {by_hand}")
    with tempfile.TemporaryDirectory() as folder:
        command = [npm, "pack", f"openseadragon@{VERSION}", "--silent", "--pack-destination", folder]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            why = (done.stderr.strip().splitlines() or [f"exit code {done.returncode}"])[-1]
            raise InputError(f"OpenSeadragon {VERSION}: npm cannot fetch it ({why}); go online, {by_hand}")
        packed = Path(folder) / path.name
        _check(packed)
        with atomic_path(path) as temporary:
            shutil.copyfile(packed, temporary)


def read_archive(path: Path) -> dict[str, bytes]:
    """The files that pages need, by name: the script, and the pictures of its buttons as `images/*.png`.

    Raises:
        InputError: the archive is missing, or is not what it must be.
    """
    if not path.is_file():
        raise InputError(f"{path}: missing; fetch it with: wsss-mm view --setup")
    _check(path)
    files = {}
    with tarfile.open(path) as archive:
        for member in archive:
            name = member.name.removeprefix(_BUILD)
            wanted = name == _SCRIPT or (name.startswith("images/") and name.endswith(".png"))
            if member.isfile() and wanted and (content := archive.extractfile(member)):
                files[name] = content.read()
    return files


def _check(path: Path) -> None:
    found = base64.b64encode(hashlib.sha512(path.read_bytes()).digest()).decode("ascii")
    if found != INTEGRITY:
        raise InputError(f"{path}: is not OpenSeadragon {VERSION} as published; delete it, then: wsss-mm view --setup")
