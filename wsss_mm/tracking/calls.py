"""Calls to a store by a thread that somebody waits for: when the last was answered, and whether to go on with more."""

import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from concurrent.futures import thread as pools
from typing import TYPE_CHECKING, Any, TypeVar, cast

from wsss_mm.tracking.store import connect

if TYPE_CHECKING:
    from mlflow import MlflowClient

T = TypeVar("T")

STANDSTILL = 5.0
"""Seconds without an answer of the store after which work that was broken off waits for it no longer."""


class GivenUpError(Exception):
    """Nobody waits for these calls any more."""


class Calls:
    """Calls to the current store.

    Args:
        over: Set when there are to be no more of them.
    """

    def __init__(self, over: threading.Event) -> None:
        self.over, self._answered = over, 0.0

    def client(self) -> "MlflowClient":
        """MLflow's client, each call of which is seen here.

        Raises:
            GivenUpError: by a call, made or answered when there are to be no more.
        """
        return cast("MlflowClient", _Watched(connect().MlflowClient(), self))

    def answered(self) -> None:
        """The store stands not still."""
        self._answered = time.monotonic()
        if self.over.is_set():
            raise GivenUpError

    def wait(self, thread: threading.Thread) -> None:
        """Wait for a thread that makes the calls, until it ends or the store has stood still for `STANDSTILL`."""
        self._answered = time.monotonic()
        while thread.is_alive() and (left := self._answered + STANDSTILL - time.monotonic()) > 0:
            thread.join(left)

    def result_of(self, work: Callable[[], T]) -> T:
        """What work returns or raises, done by a thread that nobody waits for once this one is broken off."""
        done: Future[T] = Future()

        def do() -> None:
            try:
                done.set_result(work())
            except BaseException as error:
                done.set_exception(error)

        threading.Thread(target=do, daemon=True).start()
        try:
            return done.result()
        finally:
            if not done.done():
                self.give_up()

    def give_up(self) -> None:
        """Make no more calls, and let the process end while one is at work.

        MLflow downloads in pools of threads, which Python waits for in the end: not for those that a daemon began,
        which are daemons too. They are told apart when the process ends, since a pool may begin one until then.
        """
        self.over.set()
        threading._register_atexit(_wait_for_no_daemons)  # ty: ignore[missing-attribute]


def _wait_for_no_daemons() -> None:
    """Take the daemons from the threads of pools that Python waits for, and let pools begin no more."""
    with pools._global_shutdown_lock:  # in which a pool begins a thread and takes note of it
        pools._shutdown = True
        waited_for = cast("dict[threading.Thread, Any]", pools._threads_queues)
        for worker in [worker for worker in waited_for if worker.daemon]:
            waited_for.pop(worker, None)


class _Watched:
    def __init__(self, client: "MlflowClient", calls: Calls) -> None:
        self._client, self._calls = client, calls

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._client, name)
        if not callable(found):
            return found

        def call(*args: Any, **kwargs: Any) -> Any:
            self._calls.answered()
            result = found(*args, **kwargs)
            self._calls.answered()
            return result

        return call
