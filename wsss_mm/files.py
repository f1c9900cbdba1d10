"""Writes that are all or nothing, digests, and JSON that is the same for the same content."""

import errno
import fcntl
import hashlib
import json
import math
import os
import re
import shutil
from collections.abc import Callable, Collection, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import IO, Any
from uuid import uuid4

from filelock import FileLock, Timeout

from wsss_mm.errors import BusyError, InputError

_CHUNK = 1 << 20
_SAMPLES, _SAMPLE = 33, 1 << 16
_BEFORE = "before."
_POLL = 0.01  # seconds between two looks at a lock that another holds
_DVC_CACHED = re.compile(r"/files/md5/[0-9a-f]{2}/[0-9a-f]{30}$")
_UNFINISHED = re.compile(r"\..+\.[0-9a-f]{8}(\.[^.]+)?")
_MANY_DIGITS = re.compile(r"[0-9]{20}")
_NO_LOCKS = "the file system gives no locks; mount it with them (NFS takes lockd, or version 4), or choose another"
_REMEDIES = {
    errno.ENOSPC: "no space left on device; free some (`dvc gc --workspace`, old work_dirs) and run the same again",
    errno.EFBIG: "larger than the file system or a limit (ulimit -f) lets a file be; raise it, or choose another place",
    errno.EDQUOT: "the disk quota is used up; free some space and run the same again",
    errno.EROFS: "the file system is read-only; choose a place that can be written to",
    errno.EACCES: "no permission to write; change the owner or the mode of it and its folder",
    errno.ENOLCK: _NO_LOCKS,
    errno.EOPNOTSUPP: _NO_LOCKS,
}


@contextmanager
def explained(path: Path | str) -> Iterator[None]:
    """A write of `path` that fails for want of space, permission or locks becomes an `InputError` that says so."""
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
        temporary = path.with_name(f".{path.stem}.{uuid4().hex[:8]}{path.suffix}")  # as `remove_unfinished` knows it
        temporary.touch(exist_ok=False)  # with the mode that the umask gives, unlike tempfile's
        try:
            yield temporary
            temporary.replace(path)
        finally:
            temporary.unlink(missing_ok=True)


def remove_unfinished(folder: Path) -> None:
    """Remove the temporary files that writers of `atomic_path` left in a folder and below when they were killed.

    Args:
        folder: one in which nobody writes any more.
    """
    for place, _, names in os.walk(folder):
        for name in filter(_UNFINISHED.fullmatch, names):
            Path(place, name).unlink(missing_ok=True)


@contextmanager
def atomic_folder(path: Path | str) -> Iterator[Path]:
    """Yield a temporary folder beside `path` that takes its place on success; on failure `path` stays as it was.

    A link to a folder stays one: what it leads to is replaced. What killed processes left beside `path` is removed, and
    a folder that one of them had moved away is put back.

    Raises:
        InputError: no space, or no permission to write.
    """
    path = Path(path)
    path = path.resolve() if path.is_symlink() else path
    with explained(path), ExitStack() as stack:
        with locked(path):
            _mend(path)
            if path.is_dir() and not os.access(path, os.W_OK):  # now, and not after hours of work
                raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))
            temporary = _hidden(path)
            stack.enter_context(locked(temporary))  # others take it for what a killed process left, unless it is locked
            temporary.mkdir()
            stack.callback(shutil.rmtree, temporary, ignore_errors=True)
        yield temporary
        with locked(path):
            _swap(path, temporary)


def replace_folder(path: Path, new: Path) -> None:
    """Let a finished folder take the place of another, or of none; see `atomic_folder`."""
    with locked(path):
        _mend(path)
        _swap(path, new)


def _hidden(path: Path, kind: str = "") -> Path:
    return path.with_name(f".{path.name}.{kind}{uuid4().hex[:8]}")


def _swap(path: Path, new: Path) -> None:
    """The old folder is deleted only when the new one is in its place; if that fails, the old one is put back."""
    aside = _hidden(path, _BEFORE)
    if path.exists():
        path.rename(aside)
    try:
        new.rename(path)
    except BaseException:
        if aside.exists():
            aside.rename(path)
        raise
    with suppress(OSError):  # the new one is there, and the next write tidies up
        if aside.exists():  # under another name first: what is deleted in part must not be put back
            shutil.rmtree(aside.rename(_hidden(path)))


def _mend(path: Path) -> None:
    """Put back a folder that a process had moved away when it was killed; remove what killed processes left."""
    ours = re.compile(rf"\.{re.escape(path.name)}\.({_BEFORE})?[0-9a-f]{{8}}")
    for item in path.parent.glob(".*"):
        left = path.parent / item.name[1:-5] if item.suffix == ".lock" else item
        if not (found := ours.fullmatch(left.name)):
            continue
        with suppress(OSError, BusyError), locked(left, busy=f"{left}: is being written"):
            if found[1] and not path.exists():
                left.rename(path)
            else:
                shutil.rmtree(left)


@contextmanager
def locked(path: Path | str, *, busy: str = "") -> Iterator[None]:
    """Hold a file or folder for this block alone; what is read, changed and written within it is lost by nobody.

    The lock is a hidden file beside the path, there only while it is held or waited for, and stays in no out of the
    line. The system lets go of it when the process ends, however it ends.

    Args:
        path: The file or folder, which need not be there.
        busy: What to say where another holds it; by default, this waits.

    Raises:
        BusyError: another holds it, and `busy` is given.
        InputError: no space, no permission to write, or no locks in this file system.
    """
    path = Path(path)
    # Open to all, for files of others that a umask protects can be neither written nor waited for. It holds nothing.
    lock = FileLock(path.with_name(f".{path.name}.lock"), mode=0o666, poll_interval=_POLL)
    with explained(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            held = lock.acquire(blocking=not busy)
        except Timeout:
            raise BusyError(busy) from None
    with held:
        try:
            yield
        finally:
            with suppress(OSError):  # somebody else's, in a folder like /tmp
                Path(lock.lock_file).unlink()  # who waits for it sees that, and waits for the next one


def try_lock(stream: IO[str]) -> bool:
    """Whether this process has an open file for itself now, until it closes it or ends, however it ends."""
    try:
        fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def is_file_at(stream: IO[str], path: Path) -> bool:
    """Whether an open file is the one of this name now: who waited for its lock may hold one that was removed."""
    try:
        return os.path.samestat(os.fstat(stream.fileno()), path.stat())
    except FileNotFoundError:
        return False


def rename_for_removal(folder: Path) -> Path:
    """Give a folder a name of its own beside its place, which is free at once for another.

    A folder with a locked file in it goes in two steps, renamed while it is locked and removed when that file is
    closed: NFS keeps what is open, and then its folder too.
    """
    return folder.rename(folder.with_name(f"{folder.name}.{uuid4().hex}"))  # needs no space on a full disk


def sync_folder(folder: Path) -> None:
    """See a new name in a folder on the disk."""
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def write_text(path: Path | str, text: str) -> None:
    """Write UTF-8 text atomically; names of files that are no UTF-8 are spelled out."""
    with atomic_path(path) as temporary:
        temporary.write_text(text, encoding="utf-8", errors="backslashreplace")


def write_json(path: Path | str, content: Any, exact: Collection[str] = ()) -> None:
    """Write JSON atomically; sorted keys, numbers `rounded`, NaN as null: equal content gives equal bytes.

    Args:
        path: The file.
        content: What to write.
        exact: Keys of the outermost dict whose values are written to the last digit, such as parameters.
    """
    write_text(path, json.dumps(rounded(content, exact), indent=2, sort_keys=True, allow_nan=False) + "\n")


def read_json(path: Path | str) -> Any:
    """Read a JSON file: UTF-8, with or without a byte order mark, or UTF-16 or 32.

    Raises:
        ValueError: see `parse_json`.
    """
    return parse_json(Path(path).read_bytes())


def parse_json(text: str | bytes) -> Any:
    """The content of a JSON text that may come from anywhere, in an encoding of `read_json` where it is bytes.

    Raises:
        ValueError: it is no JSON, nested too deep, or holds text that is not Unicode or a whole number beyond 64 bits,
            with which any calculation would fail.
    """
    if isinstance(text, bytes):
        text = text.decode(json.detect_encoding(text))
    try:
        content = json.loads(text, parse_int=_whole if _MANY_DIGITS.search(text) else None)
        if "\\ud" in text.lower():  # half a surrogate pair is a text that cannot be written
            json.dumps(content, ensure_ascii=False).encode()
        return content
    except RecursionError:
        raise ValueError("nested too deep") from None


def _whole(digits: str) -> int:
    if not -(2**63) <= (number := int(digits)) < 2**64:
        raise ValueError(f"{digits[:20]}... is a whole number of more than 64 bits")
    return number


def is_file(path: Path) -> bool:
    """Whether there is such a file; a name from data may be none that a file can have."""
    try:
        return path.is_file()
    except (OSError, ValueError):  # too long, a NUL, half a surrogate pair
        return False


def is_folder(path: Path) -> bool:
    """Whether there is such a folder; likewise."""
    try:
        return path.is_dir()
    except (OSError, ValueError):
        return False


def leads_outside(path: Path, folder: Path) -> bool:
    """Whether a path, links followed, leaves a folder; files of DVC's cache, which DVC may link to, do not count."""
    real = path.resolve()
    return not real.is_relative_to(folder.resolve()) and _DVC_CACHED.search(real.as_posix()) is None


def digest(path: Path | str, algorithm: str = "sha256") -> str:
    """Hex digest of a file's bytes, read in pieces."""
    hasher = hashlib.new(algorithm, usedforsecurity=False)
    with Path(path).open("rb") as stream:
        while chunk := stream.read(_CHUNK):
            hasher.update(chunk)
    return hasher.hexdigest()


def sampled_digest(path: Path | str) -> str:
    """Hex digest of a file's size and of pieces from all over it, for files that are too large to be read for that."""
    with Path(path).open("rb") as stream:
        size = stream.seek(0, os.SEEK_END)
        hasher = hashlib.sha256(str(size).encode())
        for index in range(_SAMPLES):
            stream.seek(max(0, size - _SAMPLE) * index // (_SAMPLES - 1))
            hasher.update(stream.read(_SAMPLE))
    return hasher.hexdigest()


def rounded(content: Any, exact: Collection[str] = ()) -> Any:
    """What `read_json` gives back of what `write_json` wrote: lists, plain numbers, six decimals, None for NaN.

    Numbers of up to six digits stay as they are, however small: people write those (a learning rate of 5e-7), and
    what is measured has more of them.
    """
    if isinstance(content, dict) and exact:
        return {
            _writable(str(key)): _plain(value, float if key in exact else _six_decimals)
            for key, value in content.items()
        }
    return _plain(content, _six_decimals)


def _plain(content: Any, number: Callable[[float], float]) -> Any:
    if isinstance(content, dict):
        return {_writable(str(key)): _plain(value, number) for key, value in content.items()}
    if isinstance(content, list | tuple):
        return [_plain(value, number) for value in content]
    if isinstance(content, str):
        return _writable(content)
    if isinstance(content, float):
        return None if math.isnan(content) else number(content)
    if hasattr(content, "item"):
        return _plain(content.item(), number)
    return content


def _six_decimals(value: float) -> float:
    return value if float(f"{value:.6g}") == value else round(value, 6)


def _writable(text: str) -> str:
    """Text without halves of surrogate pairs, which Python makes of names that are no UTF-8: they are spelled out."""
    return text.encode("utf-8", "backslashreplace").decode()
