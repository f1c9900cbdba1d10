"""Runs as they are written first, on this machine: a journal of all that is logged, and files beside it.

    work_dirs/unsent/<id>/run.jsonl     which run of which store it is, then what was logged, a line each, in order
    work_dirs/unsent/<id>/files/        its artifacts

A journal is locked by the process that logs, as long as that lives, or by the one that copies it to the store
(`wsss_mm.tracking.copier`). So one that nobody holds and that has no end is of a process that was killed.
"""

import errno
import fcntl
import hashlib
import json
import logging
import os
import re
import shutil
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field
from functools import cache
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, cast
from uuid import uuid4

from wsss_mm import places
from wsss_mm.errors import InputError
from wsss_mm.files import is_file_at, rename_for_removal, try_lock
from wsss_mm.formats import KEY, check_format, numbered
from wsss_mm.outage import no_place
from wsss_mm.places import LOCAL_RUN
from wsss_mm.tracking.store import project_root, tracking_uri

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt
    from matplotlib.figure import Figure

logger = logging.getLogger(__name__)

Entry = dict[str, Any]
_ID_LENGTH = 32
_HALF_REMOVED = re.compile(rf"[0-9a-f]{{{_ID_LENGTH}}}\.[0-9a-f]{{32}}")  # by a process that was killed meanwhile
_RACES = 5  # with others who remove the empty folder


def unsent_folder() -> Path:
    """Where runs are that the store has not, or not all of."""
    return project_root() / places.UNSENT


def store_digest() -> str:
    """Which store is the current one."""
    return hashlib.sha256(tracking_uri().encode()).hexdigest()


def now() -> int:
    """Milliseconds since 1970."""
    return time.time_ns() // 1_000_000


@dataclass(frozen=True)
class Head:
    """Which run of the store this one is or adds to.

    Attributes:
        id: Of this run, here.
        experiment: MLflow's.
        name: Of the run.
        tags: It begins with.
        begun: ms since 1970.
        store: The store it is meant for, as the digest of its URI: that may hold a password.
        dvc: The DVC experiment at work, if any.
        adds: What it adds to a run that the store has or gets before: see `wsss_mm.tracking.copier`. Empty for a run of
            its own.
        md5: Of the weights it tells of, if it adds.
        tag: Which of the tags of the run added to holds that.
        of: The id here of the evaluation that it shows.
    """

    id: str = field(default_factory=lambda: uuid4().hex)
    experiment: str = ""
    name: str = ""
    tags: Mapping[str, str] = field(default_factory=dict)
    begun: int = field(default_factory=now)
    store: str = field(default_factory=store_digest)
    dvc: str = field(default_factory=lambda: os.environ.get("DVC_EXP_NAME", ""))
    adds: str = ""
    md5: str = ""
    tag: str = ""
    of: str = ""


class LocalRun:
    """A run that is logged or copied by this process.

    Attributes:
        folder: Of its journal.
        head: Which run it is.
        entries: What was logged so far.
    """

    def __init__(self, folder: Path, head: Head, entries: list[Entry], stream: IO[Any] | None) -> None:
        self.folder, self.head, self.entries = folder, head, entries
        self._stream = stream
        self._guard = threading.RLock()
        self._closed = False
        self._cut = bool(entries)  # the last line may not be whole
        self._told: set[str | None] = set()

    @property
    def files(self) -> Path:
        """The folder of its artifacts."""
        return self.folder / places.LOCAL_FILES

    def metrics(self, values: Mapping[str, float], step: int = 0) -> None:
        """Log numbers of a step."""
        self.record(metrics={key: float(value) for key, value in values.items()}, step=int(step), time=now())

    def params(self, values: Mapping[str, Any]) -> None:
        """Log parameters, as text."""
        self.record(params={key: str(value) for key, value in values.items()})

    def tags(self, values: Mapping[str, str]) -> None:
        """Log tags; a later value replaces an earlier one."""
        self.record(tags={key: str(value) for key, value in values.items()})

    def inputs(self, digests: Mapping[str, str]) -> None:
        """Log DVC's inputs: md5 by path."""
        self.record(inputs=dict(digests))

    def end(self, status: str) -> None:
        """Say how it ended: FINISHED, FAILED or KILLED."""
        self.record(end=status, time=now())

    def text(self, text: str, name: str) -> None:
        """Keep a text as artifact `name`."""
        with self._if_there_is_room():  # for what MLflow writes into the system's folder for such
            _writer()(self).log_text(self.head.id, text, name)

    def content(self, content: bytes, name: str) -> None:
        """Keep what would be a file as artifact `name`."""
        with self._if_there_is_room(), tempfile.TemporaryDirectory() as scratch:
            path = Path(scratch) / Path(name).name
            path.write_bytes(content)
            self.file(path, Path(name).parent.as_posix())

    def figure(self, figure: "Figure", name: str) -> None:
        """Keep a figure as artifact `name`."""
        with self._if_there_is_room():
            _writer()(self).log_figure(self.head.id, figure, name)

    def image(self, image: "npt.NDArray[np.uint8]", key: str, step: int) -> None:
        """Keep an image (H, W, 3) RGB under its key and step, where MLflow looks for it."""
        with self._if_there_is_room():
            _writer()(self).log_image(self.head.id, image, key=key, step=step, synchronous=True)

    def file(self, path: Path, folder: str = "") -> None:
        """Keep a copy of a file; a disk that is full ends no training: one line says that the file lacks.

        Raises:
            OSError: there is no such file.
        """
        target = self.files / folder / path.name
        with self._if_there_is_room():
            self.folder.mkdir(parents=True, exist_ok=True)  # it is not there if the disk was full at the beginning
            with tempfile.TemporaryDirectory(dir=self.folder) as scratch:
                copy = Path(shutil.copyfile(path, Path(scratch) / path.name))
                target.parent.mkdir(parents=True, exist_ok=True)
                copy.replace(target)  # whole, or not there, for who copies meanwhile

    @contextmanager
    def _if_there_is_room(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            self._pass_over(error, "files of the run are not kept, while that is so; its figures are")

    def record(self, **entry: Any) -> None:
        """Add an entry."""
        with self._guard:
            self.entries.append(entry)
            self._write(entry)

    def _write(self, content: Mapping[str, Any]) -> None:
        if self._stream is None or self._closed:
            return
        line = f"{json.dumps(content)}\n".encode()
        line = b"\n" + line if self._cut else line
        self._cut = True
        try:
            if self._stream.write(line) < len(line):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            self._cut = False
        except OSError as error:
            self._pass_over(error, "what is logged waits in memory, and is lost if the store does not take it")

    def _pass_over(self, error: OSError, what: str) -> None:
        """Say once what is missing for want of room; raise anything else."""
        if not no_place(error):
            raise error
        if error.strerror not in self._told:
            self._told.add(error.strerror)
            logger.warning("%s: %s; %s", self.folder, error.strerror, what)

    @property
    def ended(self) -> bool:
        """Whether it says how it ended."""
        return any("end" in entry for entry in self.entries)

    def folded(self, kind: str) -> dict[str, str]:
        """All `params`, `tags` or `inputs`, the last value of each."""
        found: dict[str, str] = {}
        for entry in list(self.entries):
            found |= entry.get(kind, {})
        return found

    def close(self) -> None:
        """Let others have it, even while processes that were forked from this one live: they have the lock, too.

        What a thread that nobody waits for still does to it then stays in memory.
        """
        with self._guard:
            self._closed = True
            if self._stream is not None and not self._stream.closed:
                fcntl.flock(self._stream, fcntl.LOCK_UN)
                self._stream.close()

    def remove(self) -> None:
        """The store has all of it; one that was closed is not this process's any more, and stays."""
        with self._guard, suppress(FileNotFoundError):  # on a full disk there may be none
            if self._closed:
                return
            gone = rename_for_removal(self.folder)  # while it is locked: nobody takes it for one that waits
            self.close()  # NFS keeps what is open, and then its folder
            shutil.rmtree(gone, ignore_errors=True)
        with suppress(OSError):  # others are there
            self.folder.parent.rmdir()


def begin(head: Head) -> LocalRun:
    """Begin a run; where the disk takes none, it is in memory alone, and one line says so."""
    folder = unsent_folder() / head.id
    run, fresh = LocalRun(folder, head, [], None), folder / f"{places.JOURNAL_OF_RUN}.new"
    try:
        for _ in range(_RACES):
            with suppress(FileNotFoundError):
                run.files.mkdir(parents=True)
                run._stream = fresh.open("ab", buffering=0)
                break
        if run._stream is not None:
            fcntl.flock(run._stream, fcntl.LOCK_EX)
            run._write(numbered(asdict(head), LOCAL_RUN))
            fresh.rename(folder / places.JOURNAL_OF_RUN)  # nobody sees it without its lock and its head
    except OSError as error:
        run._pass_over(error, "this run is kept nowhere but in the store")
    return run


@contextmanager
def waiting() -> Iterator[list[LocalRun]]:
    """Runs that nobody else holds, oldest first; held within the block, those that it does not remove."""
    for left in unsent_folder().glob("*.*"):
        if _HALF_REMOVED.fullmatch(left.name) and left.is_dir():
            shutil.rmtree(left, ignore_errors=True)
    found = []
    for path in _journals():
        run = _open(path)
        if run is not None:
            found.append(run)
    try:
        yield sorted(found, key=lambda run: run.head.begun)
    finally:
        for run in found:
            run.close()


def at_work() -> int:
    """How many runs somebody logs or copies at this moment."""
    count = 0
    for path in _journals():
        with suppress(FileNotFoundError), path.open() as stream:
            count += not try_lock(stream)
    return count


def unsent_weights(tag: str) -> set[str]:
    """The md5 that runs which are not in the store yet have as a tag."""
    found = set()
    for path in _journals():
        with suppress(FileNotFoundError, InputError), path.open("rb") as stream:
            _, entries = _read(stream, path)
            found |= {entry["tags"][tag] for entry in entries if tag in entry.get("tags", {})}
    return found


def _journals() -> list[Path]:
    folder = unsent_folder()
    return [path for path in folder.glob(f"*/{places.JOURNAL_OF_RUN}") if len(path.parent.name) == _ID_LENGTH]


def _open(path: Path) -> LocalRun | None:
    """A run of which nobody is at work; None if somebody is, or if it cannot be read, which one line says."""
    try:
        stream = cast("IO[Any]", path.open("r+b", buffering=0))
    except FileNotFoundError:  # it was sent meanwhile
        return None
    try:
        if try_lock(stream) and is_file_at(stream, path):
            head, entries = _read(stream, path)
            return LocalRun(path.parent, head, entries, stream)
    except InputError as error:
        logger.warning("%s", error)
    stream.close()
    return None


def _read(stream: IO[Any], path: Path) -> tuple[Head, list[Entry]]:
    """What a journal says; a line that was cut off, by a kill or a full disk, is left out.

    Raises:
        InputError: a later version of wsss_mm wrote it, or it does not say which run it is.
    """
    entries: list[Any] = []
    for line in stream.read().splitlines():
        with suppress(ValueError):
            entries.append(json.loads(line))
    try:
        said = entries.pop(0)
        check_format(said.pop(KEY, 0), LOCAL_RUN, path)
        head = Head(**said)
        if head.id != path.parent.name:
            raise ValueError
        return head, entries
    except (IndexError, TypeError, AttributeError, ValueError):
        raise InputError(f"{path}: damaged: it does not say which run it is; {LOCAL_RUN.again}") from None


@cache
def _writer() -> Any:
    """A client of MLflow that writes into the folder of a local run: files are called as MLflow calls them."""
    from mlflow import MlflowClient

    class Writer(MlflowClient):
        def __init__(self, run: LocalRun) -> None:
            super().__init__("http://127.0.0.1")  # never asked
            self._run = run

        def log_artifact(self, run_id: str, local_path: str, artifact_path: str | None = None) -> None:
            self._run.file(Path(local_path), artifact_path or "")

        def set_tag(self, run_id: str, key: str, value: Any, synchronous: bool | None = None) -> None:
            self._run.tags({key: value})

    return Writer
