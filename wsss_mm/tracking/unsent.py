"""What MLflow's store did not take: runs in one of their own, work_dirs/unsent, until `wsss-mm sync` sends them.

work_dirs/unsent/mlflow.db          runs; tag `unsent.run_id` names the run on the server that one continues
work_dirs/unsent/artifacts/<id>/    their files
work_dirs/unsent/stores.txt         the stores they were meant for
work_dirs/unsent/lock               held by who logs there; who has it alone may remove the folder
"""

import fcntl
import logging
import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import uuid4

from wsss_mm import places
from wsss_mm.errors import InputError
from wsss_mm.files import still_named, try_lock
from wsss_mm.formats import number_line, read_lines
from wsss_mm.outage import falling_back, is_outage, lost, no_place, reason, server_uri
from wsss_mm.places import UNSENT_STORES
from wsss_mm.tracking.moved import settle
from wsss_mm.tracking.open_runs import mark
from wsss_mm.tracking.store import (
    connect,
    experiment_in,
    make_tables,
    project_root,
    run_tags,
    sqlite_uri,
    tracking_uri,
)
from wsss_mm.uris import shown

if TYPE_CHECKING:
    from mlflow.entities import RunInfo

logger = logging.getLogger(__name__)

CONTINUES, ADDS, SERVER = "unsent.run_id", "unsent.adds", "unsent.server"
"""Tags of unsent runs: the run on the server they continue; that they only add to a finished one; which server."""

_SOON = 1.0  # s that a thread gets to end
_ROOM = 16 << 20  # bytes: a store, and the pictures of some epochs


def unsent_folder() -> Path:
    """Where unsent runs are."""
    return project_root() / places.UNSENT


def unsent_uri() -> str:
    """MLflow's name of the store of unsent runs."""
    return sqlite_uri(unsent_folder() / "mlflow.db")


def anything_unsent() -> bool:
    """Whether there is such a store."""
    return (unsent_folder() / "mlflow.db").is_file()


def all_for_this_store() -> bool:
    """Whether all of them were meant for the current store."""
    try:
        return set(read_lines(_stores(), UNSENT_STORES)) == {shown(tracking_uri())}
    except FileNotFoundError:
        return False


class Refuge:
    """Takes a block's logging over when the store is lost; see `surviving`."""

    def __init__(self, experiment: str, server: str, *, adds: bool) -> None:
        self.experiment, self.server, self.adds = experiment, server, adds
        self.entered = False
        self._stack = ExitStack()
        self._experiment_id = ""

    def fall_back(self, error: Exception) -> bool:
        """If the store is lost, or takes no more files, log to the one of unsent runs from now on."""
        if self.entered or not (is_outage(error) or (no_place(error) and _has_room())):
            return False
        logger.warning("%s; from here on this is logged to %s (%s)", lost(error), unsent_folder(), reason(error))
        self.enter()
        return True

    def enter(self) -> None:
        """Make the local store the current one; an active run goes on in a run there."""
        mlflow = connect()
        active = mlflow.active_run()
        self._stack.enter_context(_store_lock())
        self.entered = True
        self._stack.callback(mlflow.set_tracking_uri, self.server)
        with _stores().open("a", encoding="utf-8") as stores:
            stores.write(f"{number_line(UNSENT_STORES)}{shown(self.server)}\n")
        mlflow.set_tracking_uri(unsent_uri())
        make_tables(unsent_folder() / "mlflow.db")
        settle(unsent_folder() / "mlflow.db", project_root(), backup=False)  # the project may have moved meanwhile
        self._experiment_id = experiment_in(mlflow, self.experiment, (unsent_folder() / "artifacts").as_uri())
        if active is None:
            return
        with suppress(mlflow.exceptions.MlflowException):  # no such run in this store; it is no longer active, though
            mlflow.end_run()
        continued = self.start_run({CONTINUES: active.info.run_id}, measured=False)
        if not self.adds:
            _go_on_measuring(active.info.run_id, continued.run_id)

    def start_run(self, tags: dict[str, str], *, measured: bool = True) -> "RunInfo":
        """Start a run in the local store; `measured` with metrics of this machine, unless it only adds to another."""
        mlflow = connect()
        tags = run_tags({SERVER: shown(self.server), **tags, **({ADDS: "true"} if self.adds else {})})
        run = mlflow.start_run(
            experiment_id=self._experiment_id, tags=tags, log_system_metrics=measured and not self.adds
        )
        ending: dict[str, Any] = {"status": "FINISHED", "error": ""} if self.adds else {}
        self._stack.callback(mark(run.info.run_id, **ending).remove)
        return run.info

    def leave(self) -> None:
        """Back to the store."""
        self._stack.close()
        if (self.entered or server_uri()) and anything_unsent():
            logger.warning(
                "%s holds what the MLflow store %s lacks; when that answers again: wsss-mm sync",
                unsent_folder(),
                shown(self.server),
            )


def _has_room() -> bool:
    """Whether the folder of unsent runs takes files, where that of the store does not."""
    probe = unsent_folder() / f".room.{uuid4().hex[:8]}"
    try:
        probe.parent.mkdir(parents=True, exist_ok=True)
        with probe.open("wb") as stream:
            stream.write(os.urandom(_ROOM))  # which no file system packs
    except OSError:
        return False
    finally:
        with suppress(OSError):
            probe.unlink()
    return True


def _stores() -> Path:
    return unsent_folder() / places.STORES


@contextmanager
def surviving(experiment: str, *, offline: bool = True, adds: bool = False) -> Iterator[Refuge]:
    """Within the block, what `send` cannot deliver to the store goes to work_dirs/unsent, to the block's end.

    Args:
        experiment: Of the runs that begin there.
        offline: False raises the errors of the store.
        adds: Whether the block only adds to a run that has ended.
    """
    refuge = Refuge(experiment, tracking_uri() if offline else "", adds=adds)
    if not refuge.server:
        yield refuge
        return
    try:
        with falling_back(refuge.fall_back):
            yield refuge
    finally:
        refuge.leave()


def _go_on_measuring(run_id: str, continued: str) -> None:
    """System metrics go on in another run, from the step where they were; MLflow has no public way to say so."""
    from mlflow.system_metrics.system_metrics_monitor import SystemMetricsMonitor
    from mlflow.tracking.fluent import run_id_to_system_metrics_monitor as monitors

    now, before = SystemMetricsMonitor(continued), monitors.pop(run_id, None)
    if before is not None:
        before._shutdown_event.set()  # its `finish` would wait for the lost server
        at_work = before._process
        if at_work is not None:
            at_work.join(_SOON)
        # One that still waits for the server may have sent the step that it counts next.
        now._logging_step = before._logging_step + bool(at_work is not None and at_work.is_alive())
    monitors[continued] = now
    now.start()


@contextmanager
def _store_lock() -> Iterator[None]:
    """Hold the store, together with others who log there."""
    path = unsent_folder() / "lock"
    while True:
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("w") as stream:
            fcntl.flock(stream, fcntl.LOCK_SH)
            if still_named(stream, path):  # else a sync has removed the folder meanwhile
                yield
                return


@contextmanager
def alone() -> Iterator[None]:
    """Hold the store alone; who wants to log there waits.

    Raises:
        InputError: another process holds it.
    """
    path = unsent_folder() / "lock"
    with path.open("w") as stream:
        if not (try_lock(stream) and still_named(stream, path)):
            raise InputError(
                f"{unsent_folder()}: a training logs there, or another sync is at work; sync again when it has ended"
            )
        yield
