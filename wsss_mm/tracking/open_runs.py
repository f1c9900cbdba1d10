"""Runs that a process has open: a locked file each, so that a run whose process was killed is found and closed.

    work_dirs/open_runs/<run id>.json     the store, and how the run ends if its process does not end it itself

The lock ends with the process, whatever ends that, on the machine it ran on.
"""

import fcntl
import hashlib
import json
import logging
import os
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO

from wsss_mm import places
from wsss_mm.errors import InputError
from wsss_mm.files import still_named, try_lock
from wsss_mm.formats import KEY, NewerError, check_format, numbered
from wsss_mm.places import OPEN_RUN
from wsss_mm.tracking.store import connect, project_root, tracking_uri

logger = logging.getLogger(__name__)

REASON = "its process ended without closing it (SIGKILL, no memory left, or the machine went down)"

_GONE = (
    "RESOURCE_DOES_NOT_EXIST",
    "INVALID_PARAMETER_VALUE",
)  # a run MLflow never had, or that is deleted


@dataclass(frozen=True)
class Ending:
    """What is written into a run that was left open.

    Attributes:
        store: The store the run is in, as the digest of its URI: that may hold a password.
        status: MLflow's.
        end_time: ms; None for now.
        error: Tag `error`; none if empty.
    """

    store: str
    status: str = "KILLED"
    end_time: int | None = None
    error: str = REASON


class Mark:
    """The file of a run that is open; held until `remove` or the end of the process."""

    def __init__(self, run_id: str, ending: Ending) -> None:
        self._path = _folder() / f"{run_id}.json"
        self._path.parent.mkdir(parents=True, exist_ok=True)
        written = self._path.with_suffix(f".{os.getpid()}")
        self._stream = written.open("w", encoding="utf-8")
        fcntl.flock(self._stream, fcntl.LOCK_EX)  # before the file has its name: it is never seen without
        json.dump(numbered(asdict(ending), OPEN_RUN), self._stream)
        self._stream.flush()
        written.replace(self._path)

    def remove(self) -> None:
        """The run is closed."""
        self._path.unlink(missing_ok=True)
        self._stream.close()


def mark(run_id: str, *, status: str = "KILLED", end_time: int | None = None, error: str = REASON) -> Mark:
    """Say that this process has a run of the current store open, and how it ends if it is left so."""
    return Mark(run_id, Ending(_store(), status, end_time, error))


def close_abandoned() -> list[str]:
    """Close the runs of the current store whose process is gone; gives their ids."""
    connect()
    closed = []
    for path in sorted(_folder().glob("*.json")):
        try:
            stream = path.open("r+", encoding="utf-8")
        except FileNotFoundError:  # its process has closed the run meanwhile
            continue
        with stream:
            if not (try_lock(stream) and still_named(stream, path)):
                continue
            try:
                ending = _read(stream, path)
            except NewerError as error:
                logger.warning("%s", error)
                continue
            if ending is not None and ending.store != _store():
                continue
            if ending is not None and _close(path.stem, ending):
                closed.append(path.stem)
            path.unlink()
    return closed


def _read(stream: IO[str], path: Path) -> Ending | None:
    """What a mark says; None if it cannot be read, as after a power cut.

    Raises:
        NewerError: a later version of wsss_mm wrote it.
    """
    try:
        content = json.load(stream)
        check_format(content.pop(KEY, 0), OPEN_RUN, path)
        return Ending(**content)
    except NewerError:
        raise
    except (InputError, ValueError, TypeError, AttributeError) as error:
        logger.warning("%s: damaged (%s), and removed; its run may be left open", path, error)
        return None


def _close(run_id: str, ending: Ending) -> bool:
    """Whether there was such a run to close."""
    mlflow = connect()
    client = mlflow.MlflowClient()
    try:
        client.set_terminated(run_id, ending.status, ending.end_time)
    except mlflow.exceptions.MlflowException as error:
        if error.error_code not in _GONE:
            raise
        return False
    if ending.error:
        client.set_tag(run_id, "error", ending.error)
        logger.warning("run %s is %s now: %s", run_id, ending.status, ending.error)
    return True


def _store() -> str:
    return hashlib.sha256(tracking_uri().encode()).hexdigest()


def _folder() -> Path:
    return project_root() / places.OPEN_RUNS
