"""Features and all that is made of them, in a process of its own: answers wait for none of it.

The process begins with the first question, has a low priority, and ends with the server, however that ends.
"""

import logging
import multiprocessing
import os
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from wsss_mm.errors import InputError

if TYPE_CHECKING:
    import pandas as pd

    from wsss_mm.cohort import Cohort
    from wsss_mm.features.store import Features

logger = logging.getLogger(__name__)

_NICE = 10
_GONE = "the process that computes features has ended, for want of memory perhaps; start the page anew"

States = npt.NDArray[np.int8]


@dataclass(frozen=True)
class Seen:
    """What is known of the features.

    Attributes:
        kind: of what they are: a classifier's, or statistics.
        scores: (N, C) probabilities of a trained classifier, or None.
    """

    kind: str
    scores: npt.NDArray[np.float32] | None


class Thinker:
    """Thinks about the candidates. One of these lives in the process; names of its methods are what can be asked."""

    def __init__(
        self,
        candidates: "pd.DataFrame",
        cohort: "Cohort",
        codes: Sequence[str],
        root: Path = Path(),
        tell: Callable[[int, int], None] = lambda done, total: None,
    ) -> None:
        self._root, self._tell = root, tell
        self._candidates, self._cohort, self._codes = candidates, cohort, tuple(codes)
        self._slides = candidates["slide_id"].astype(str).to_numpy()
        self._features: Features | None = None

    def features(self) -> Seen:
        """Compute the features, or find them where they are kept."""
        found = self._known()
        scores = found.scores
        if scores is not None and np.shape(scores) != (len(self._candidates), len(self._codes)):
            scores = None  # of a classifier of other classes
        return Seen(found.kind, None if scores is None else np.asarray(scores, np.float32))

    def picks(
        self, order: str, seen: npt.NDArray[np.bool_], states: States, n: int, seed: int
    ) -> list[tuple[int, str]]:
        """The next patches of an order, and what drew each."""
        from wsss_mm.sampling.order import clusters_order, useful_order

        found = self._known()
        if order == "clusters":
            picks = clusters_order(found.values, self._candidates, seen, n, seed)
        else:
            scores = self.features().scores
            picks = useful_order(found.values, scores, self._candidates, seen, n, seed, states=states)
        return [(int(pick.row), pick.drawn) for pick in picks]

    def points(self) -> npt.NDArray[np.float32]:
        """The map: (N, 2), 0..1."""
        from wsss_mm.sampling.embedding import embed

        return np.ascontiguousarray(embed(self._known().values, 0), "<f4")

    def similar(self, row: int, n: int) -> list[int]:
        """The rows that look most like one."""
        from wsss_mm.sampling.embedding import similar

        return [int(other) for other in similar(self._known().values, row, n)]

    def doubts(self, states: States) -> list[int]:
        """Rows whose labels are doubtful, worst first."""
        from wsss_mm.sampling.doubtful import doubtful

        rows = np.flatnonzero((states != -1).any(axis=1))
        if not len(rows):
            return []
        found = doubtful(np.asarray(self._known().values)[rows], states[rows], self._slides[rows])
        return list(dict.fromkeys(rows[found["row"]].tolist()))

    def curve(self, states: States) -> dict[str, Any]:
        """The learning curve."""
        from wsss_mm.sampling.curve import learning_curve

        rows = np.flatnonzero((states != -1).any(axis=1))
        if not len(rows):
            return {"labels": []}
        values = np.asarray(self._known().values)[rows]
        found = learning_curve(values, states[rows], self._slides[rows], codes=self._codes)
        columns = {name: _finite(found.table[name]) for name in ("labels", "mean_ap", "low", "high")}
        return {**columns, "slope": found.slope, "advice": found.advice}

    def _known(self) -> "Features":
        if self._features is None:
            from wsss_mm.features.store import features_of

            self._features = features_of(
                self._candidates, self._cohort, root=self._root, progress=self._tell, codes=self._codes
            )
        return self._features


class Thinking:
    """Asks a `Thinker` in another process; questions are answered one after another."""

    def __init__(self, candidates: "pd.DataFrame", cohort: "Cohort", codes: Sequence[str], root: Path) -> None:
        self._about = (candidates, cohort, tuple(codes), root)
        self._asking, self._lock = threading.Lock(), threading.Lock()
        self._process: Any = None
        self._line: Connection | None = None
        self._closed = False
        self._share = multiprocessing.get_context("spawn").RawValue("d", 0.0)

    @property
    def progress(self) -> float:
        """How much of the features is computed, 0..1."""
        return float(self._share.value)

    def ask(self, name: str, *arguments: Any) -> Any:
        """What a method of `Thinker` gives.

        Raises:
            InputError: as the method raises it, or the process has ended.
        """
        with self._asking:
            try:
                line = self._begun()
                line.send((name, arguments))
                fault, result = line.recv()
            except (EOFError, OSError):
                raise InputError("the page is closing" if self._closed else _GONE) from None
        if fault is not None:
            raise InputError(fault)
        return result

    def close(self) -> None:
        """End the process, whatever it does."""
        with self._lock:
            self._closed = True
            if self._process is not None:
                self._process.kill()
                self._process.join()
                self._process.close()
                self._process = None
        with self._asking:
            if self._line is not None:
                self._line.close()

    def _begun(self) -> Connection:
        with self._lock:
            if self._closed:
                raise EOFError
            if self._line is None:
                context = multiprocessing.get_context("spawn")
                self._line, theirs = context.Pipe()
                self._process = context.Process(target=_think, args=(theirs, self._share, self._about), daemon=True)
                self._process.start()
                theirs.close()
            return self._line


def _think(line: Connection, share: Any, about: tuple["pd.DataFrame", "Cohort", tuple[str, ...], Path]) -> None:
    """Answer questions until nobody asks any more."""
    import signal

    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the server's, which ends this one
    threading.Thread(target=_end_with_parent, daemon=True).start()
    os.nice(_NICE)

    def tell(done: int, total: int) -> None:
        share.value = done / max(1, total)

    thinker = Thinker(*about, tell)
    while True:
        try:
            name, arguments = line.recv()
        except EOFError:
            return
        line.send(_answer(thinker, name, arguments))


def _answer(thinker: Thinker, name: str, arguments: Sequence[Any]) -> tuple[str | None, Any]:
    try:
        return None, getattr(thinker, name)(*arguments)
    except InputError as error:
        return str(error), None
    except Exception:
        logger.exception("%s failed", name)
        return f"{name} failed; what the server printed says why", None


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        wait([parent.sentinel])
        os._exit(1)


def _finite(values: "pd.Series") -> list[float | None]:
    return [float(value) if np.isfinite(value) else None for value in values]
