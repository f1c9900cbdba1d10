"""Writes that are all or nothing, digests, and JSON that is the same for the same content."""

import errno
import fcntl
import hashlib
import json
import math
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from wsss_mm.errors import InputError

_CHUNK = 1 << 20
_REMEDIES = {
    errno.ENOSPC: "no space left on device; free some (`dvc gc --workspace`, old work_dirs) and run the same again",
    errno.EFBIG: "larger than the file system or a limit (ulimit -f) lets a file be; raise it, or choose another place",
    errno.EDQUOT: "the disk quota is used up; free some space and run the same again",
    errno.EROFS: "the file system is read-only; choose a place that can be written to",
    errno.EACCES: "no permission to write; change the owner or the mode of its folder",
}


@contextmanager
def explained(path: Path | str) -> Iterator[None]:
    """A write of `path` that fails for want of space or permission becomes an `InputError` that says so."""
    try:
        yield
    except OSError as error:
        remedy = _REMEDIES.get(error.errno)
        about = Path(error.filename) if isinstance(error.filename, str) else Path(path)
        if remedy is None or (error.errno == errno.EACCES and Path(path).parent not in (about, *about.parents)):
            raise
        raise InputError(f"{path}: {remedy}") from error


@contextmanager
def atomic_path(path: Path | str) -> Iterator[Path]:
    """Yield a temporary path beside `path`; rename it onto `path` on success, delete it on failure.

    The temporary name keeps the suffix of `path`, so that writers which look at it work as usual.

    Raises:
        InputError: no space, or no permission to write.
    """
    path = Path(path)
    with explained(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.stem}.", suffix=path.suffix)
        os.close(handle)
        temporary = Path(name)
        try:
            yield temporary
            temporary.chmod(0o644)
            temporary.replace(path)
        finally:
            temporary.unlink(missing_ok=True)


@contextmanager
def atomic_folder(path: Path | str) -> Iterator[Path]:
    """Yield a temporary folder beside `path` that takes its place on success; on failure `path` stays as it was.

    Temporary folders that killed processes left for `path` are removed.

    Raises:
        InputError: no space, or no permission to write.
    """
    path = Path(path)
    with explained(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        for left in path.parent.glob(f".{path.name}.*"):
            with suppress(OSError), _locked_folder(left):
                shutil.rmtree(left)
        temporary = Path(tempfile.mkdtemp(dir=path.parent, prefix=f".{path.name}."))
        try:
            with _locked_folder(temporary):
                temporary.chmod(0o755)
                yield temporary
                if path.exists():
                    shutil.rmtree(path)
                temporary.rename(path)
        finally:
            shutil.rmtree(temporary, ignore_errors=True)


@contextmanager
def _locked_folder(path: Path) -> Iterator[None]:
    """Hold a folder, as long as the process lives.

    Raises:
        OSError: another process holds it, or it is no folder.
    """
    handle = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    finally:
        os.close(handle)


def write_text(path: Path | str, text: str) -> None:
    """Write UTF-8 text atomically."""
    with atomic_path(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def write_json(path: Path | str, content: Any) -> None:
    """Write JSON atomically; sorted keys, six decimals, NaN as null: equal content gives equal bytes."""
    write_text(path, json.dumps(rounded(content), indent=2, sort_keys=True, allow_nan=False) + "\n")


def read_json(path: Path | str) -> Any:
    """Read a JSON file."""
    return json.loads(Path(path).read_text(encoding="utf-8"))


def digest(path: Path | str, algorithm: str = "sha256") -> str:
    """Hex digest of a file's bytes, read in pieces."""
    hasher = hashlib.new(algorithm, usedforsecurity=False)
    with Path(path).open("rb") as stream:
        while chunk := stream.read(_CHUNK):
            hasher.update(chunk)
    return hasher.hexdigest()


def rounded(content: Any) -> Any:
    """What `read_json` gives back of what `write_json` wrote: lists, plain numbers, six decimals, None for NaN."""
    if isinstance(content, dict):
        return {str(key): rounded(value) for key, value in content.items()}
    if isinstance(content, list | tuple):
        return [rounded(value) for value in content]
    if isinstance(content, float):
        return None if math.isnan(content) else round(content, 6)
    if hasattr(content, "item"):
        return rounded(content.item())
    return content
