"""Work that takes seconds or more, beside the answers, one thing at a time."""

import logging
import threading
from collections import deque
from collections.abc import Callable, Hashable
from dataclasses import dataclass, field
from typing import Any

from wsss_mm.errors import InputError

logger = logging.getLogger(__name__)

_KEPT = 64  # results


@dataclass
class Job:
    """Something that is being made.

    Attributes:
        result: None until it is there.
        ended: set when it ended, well or not.
        error: why there is no result, for people; empty if there is one, or will be.
    """

    result: Any = None
    error: str = ""
    ended: threading.Event = field(default_factory=threading.Event)

    @property
    def done(self) -> bool:
        """Whether it ended."""
        return self.ended.is_set()


class Work:
    """Jobs by key: each is done once, whoever wants it, and its result is kept while it is asked for."""

    def __init__(self) -> None:
        self._jobs: dict[Hashable, Job] = {}
        self._waiting: deque[tuple[Job, Callable[[], Any]]] = deque()
        self._thread: threading.Thread | None = None
        self._lock = threading.Lock()
        self._closed = False

    def want(self, key: Hashable, make: Callable[[], Any]) -> Job:
        """The job of a key, which names the result and all that it is made of; begun if nobody wanted it before."""
        with self._lock:
            job = self._jobs.pop(key, None)
            if job is None:
                job = Job()
                self._waiting.append((job, make))
                if self._thread is None and not self._closed:
                    self._thread = threading.Thread(target=self._run, daemon=True, name="work")
                    self._thread.start()
            self._jobs[key] = job
            for old in [name for name, item in self._jobs.items() if item.done][: max(0, len(self._jobs) - _KEPT)]:
                del self._jobs[old]
            return job

    def close(self, patience: float = 30.0) -> None:
        """Begin nothing more, and wait for what was begun; a process that ends does not wait for it."""
        with self._lock:
            self._closed = True
            self._waiting.clear()
            thread = self._thread
        if thread is not None:
            thread.join(patience)

    def _run(self) -> None:
        while True:
            with self._lock:
                if not self._waiting:
                    self._thread = None
                    return
                job, make = self._waiting.popleft()
            try:
                job.result = make()
            except InputError as error:
                job.error = str(error)
                logger.warning("%s", error)
            except Exception as error:
                job.error = "failed; what the server printed says why"
                logger.exception("a job of the labelling page failed: %s", error)
            job.ended.set()
