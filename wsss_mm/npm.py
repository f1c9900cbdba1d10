"""JavaScript of others: fetched once through npm, checked, and kept as its archive in the Python environment.

The project holds no copy of it, and pages load nothing from outside: labs are often offline.
"""

import base64
import hashlib
import shutil
import subprocess
import sys
import tarfile
import tempfile
from dataclasses import dataclass
from pathlib import Path

from wsss_mm.errors import InputError
from wsss_mm.files import atomic_path


def shared_folder() -> Path:
    """Where archives lie: in the Python environment, so that one installation has one of each."""
    return Path(sys.prefix) / "share" / "wsss-mm"


@dataclass(frozen=True)
class NpmPackage:
    """A pinned package.

    Attributes:
        name: in npm's registry.
        version: exactly.
        integrity: SHA-512 of the archive in base64, as npm's package-lock.json says it.
        setup: the command that fetches it, for messages.
    """

    name: str
    version: str
    integrity: str
    setup: str

    @property
    def archive(self) -> Path:
        """Where it is kept."""
        return shared_folder() / f"{self.name}-{self.version}.tgz"

    def fetch(self, path: Path) -> None:
        """Fetch the archive with npm, check it, and keep it at `path`.

        Raises:
            InputError: npm is missing or fails; the message says how to bring the archive by hand.
        """
        what = f"{self.name}@{self.version}"
        by_hand = f"or run `npm pack {what}` on another machine and put the file at {path}"
        npm = shutil.which("npm")
        if npm is None:
            raise InputError(f"{what}: npm, which fetches it, is missing; install npm, {by_hand}")
        with tempfile.TemporaryDirectory() as folder:
            command = [npm, "pack", what, "--silent", "--pack-destination", folder]
            done = subprocess.run(command, capture_output=True, text=True, check=False)
            if done.returncode:
                why = (done.stderr.strip().splitlines() or [f"exit code {done.returncode}"])[-1]
                raise InputError(f"{what}: npm cannot fetch it ({why}); go online, {by_hand}")
            packed = Path(folder) / path.name
            self.check(packed)
            with atomic_path(path) as temporary:
                shutil.copyfile(packed, temporary)

    def read(self, path: Path) -> dict[str, bytes]:
        """The files of the archive by their name in it.

        Raises:
            InputError: the archive is missing, or is not what it must be.
        """
        if not path.is_file():
            raise InputError(f"{path}: missing; fetch it with: {self.setup}")
        self.check(path)
        with tarfile.open(path) as archive:
            return {item.name: part.read() for item in archive if item.isfile() and (part := archive.extractfile(item))}

    def check(self, path: Path) -> None:
        """Raise `InputError` unless the archive has the expected SHA-512."""
        found = base64.b64encode(hashlib.sha512(path.read_bytes()).digest()).decode("ascii")
        if found != self.integrity:
            raise InputError(f"{path}: is not {self.name} {self.version} as published; delete it, then: {self.setup}")
