"""Work that takes seconds or more, beside the answers: one thing at a time in each lane."""

import logging
import threading
from collections import deque
from collections.abc import Callable, Hashable
from dataclasses import dataclass
from typing import Any

from wsss_mm.errors import InputError

logger = logging.getLogger(__name__)

_KEPT = 64  # results


@dataclass
class Job:
    """Something that is being made.

    Attributes:
        result: None until it is there.
        done: whether it ended, well or not.
        error: why there is no result, for people; empty if there is one, or will be.
    """

    result: Any = None
    done: bool = False
    error: str = ""


class Work:
    """Jobs by key: each is done once, whoever wants it, and its result is kept while it is asked for."""

    def __init__(self) -> None:
        self._jobs: dict[Hashable, Job] = {}
        self._waiting: dict[str, deque[tuple[Job, Callable[[], Any]]]] = {}
        self._threads: dict[str, threading.Thread] = {}
        self._lock = threading.Lock()
        self._closed = False

    def want(self, key: Hashable, make: Callable[[], Any], *, lane: str = "quick") -> Job:
        """The job of a key; begun now if nobody wanted it before.

        Args:
            key: names the result, and all that it is made of.
            make: makes it.
            lane: jobs of one lane are done one after another, those of others beside them.
        """
        with self._lock:
            job = self._jobs.pop(key, None)
            if job is None:
                job = Job()
                self._waiting.setdefault(lane, deque()).append((job, make))
                if lane not in self._threads and not self._closed:
                    self._threads[lane] = threading.Thread(target=self._run, args=(lane,), daemon=True, name=lane)
                    self._threads[lane].start()
            self._jobs[key] = job
            for old in [name for name, item in self._jobs.items() if item.done][: max(0, len(self._jobs) - _KEPT)]:
                del self._jobs[old]
            return job

    def peek(self, key: Hashable) -> Job | None:
        """The job of a key, if somebody wanted it."""
        with self._lock:
            return self._jobs.get(key)

    def close(self, patience: float = 30.0) -> None:
        """Begin nothing more, and wait for what was begun; a process that ends does not wait for it."""
        with self._lock:
            self._closed = True
            self._waiting.clear()
            threads = list(self._threads.values())
        for thread in threads:
            thread.join(patience)

    def _run(self, lane: str) -> None:
        while True:
            with self._lock:
                if not self._waiting.get(lane):
                    self._threads.pop(lane, None)
                    return
                job, make = self._waiting[lane].popleft()
            try:
                job.result = make()
            except InputError as error:
                job.error = str(error)
                logger.warning("%s", error)
            except Exception as error:
                job.error = "failed; what the server printed says why"
                logger.exception("a job of the labelling page failed: %s", error)
            job.done = True
