"""One labelling session: the candidates, the slides, and the desks of its readers."""

import logging
import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
import numpy.typing as npt
import pandas as pd

from wsss_mm import places
from wsss_mm.errors import InputError
from wsss_mm.labelling.journal import Journals, journal_path, read_journals
from wsss_mm.vocabulary import Vocabulary
from wsss_mm.web.label.desk import Desk
from wsss_mm.web.label.pictures import Pictures
from wsss_mm.web.label.table import Table
from wsss_mm.web.label.thinking import Seen, Thinking
from wsss_mm.web.label.work import Job, Work

if TYPE_CHECKING:
    from wsss_mm.cohort import Cohort
    from wsss_mm.settings import PatchSettings

logger = logging.getLogger(__name__)

_CACHED, _LATEST = 8, 32
_T = TypeVar("_T")


@dataclass(frozen=True)
class Options:
    """What a session is started with.

    Attributes:
        suggestions: whether a trained classifier's opinion may be shown.
        memory: for pictures, MiB.
        features: whether features are computed, which orders and maps are made from.
        root: the project's folder, where features are kept.
    """

    suggestions: bool = True
    memory: int = 256
    features: bool = True
    root: Path = Path()


def check_fresh(candidates: pd.DataFrame, cohort: "Cohort", patches: "PatchSettings") -> None:
    """Refuse candidates of other slides or settings than the line has by now; new slides are named.

    Raises:
        InputError: there are none, or they are old.
    """
    again = "run: dvc repro candidates"
    if candidates.empty:
        raise InputError(
            f"{places.CANDIDATES}: no slide has patches to label; add slides (wsss-mm cohort add SLIDE), then {again}"
        )
    known = {slide.slide_id for slide in cohort.with_files()}
    if gone := sorted(set(candidates["slide_id"]) - known):
        raise InputError(f"{places.CANDIDATES}: slide {gone[0]} is not in {cohort.table} with a file; {again}")
    for name in ("mpp", "size"):
        if not np.allclose(candidates[name].to_numpy(np.float64), wanted := float(getattr(patches, name)), rtol=1e-6):
            raise InputError(
                f"{places.CANDIDATES}: patches.{name} is {wanted:g} in {places.PARAMS_FILE} by now; {again}"
            )
    new = [slide for slide in cohort.with_files() if slide.slide_id not in set(candidates["slide_id"])]
    if unknown := [slide.slide_id for slide in new if not slide.known_whole]:
        logger.warning("slide %s%s: no patches to label; if new, %s", unknown[0], _more(unknown), again)


def _more(names: Sequence[str]) -> str:
    return f" and {len(names) - 1} more" if len(names) > 1 else ""


class Session:
    """Everything the page shows, in one process; its methods may be called from several threads at once."""

    def __init__(
        self,
        candidates: pd.DataFrame,
        cohort: "Cohort",
        vocabulary: Vocabulary,
        readers: Sequence[str],
        *,
        journals: Path = places.LABELS_FOLDER,
        options: Options | None = None,
    ) -> None:
        """Read the readers' journals.

        Raises:
            InputError: a journal is damaged.
        """
        self.options = options or Options()
        self.table = Table(candidates)
        self.cohort, self.vocabulary = cohort, vocabulary
        self.pictures = Pictures(self.table, cohort, limit=self.options.memory)
        self.work = Work()
        self.thinking = Thinking(candidates, cohort, vocabulary.codes, self.options.root)
        self.folder = self._journals = journals
        self.desks = {name: Desk(name, journal_path(name, journals), self.table) for name in readers}
        self._lock = threading.Lock()
        self._all: tuple[tuple[Any, ...], Journals] | None = None
        self._cached: OrderedDict[Hashable, Any] = OrderedDict()
        self._latest: OrderedDict[Hashable, Job] = OrderedDict()

    def close(self) -> None:
        """End the threads of the session."""
        self.thinking.close()
        self.work.close()
        self.pictures.close()

    @property
    def codes(self) -> tuple[str, ...]:
        """Of the classes."""
        return self.vocabulary.codes

    def features_job(self) -> Job | None:
        """The features of all candidates, begun when they are first wanted; None if there will be none."""
        return self.think(("features",), "features") if self.options.features else None

    def think(self, key: Hashable, name: str, *arguments: Any) -> Job:
        """A job that is a question to a `Thinker`."""
        return self.work.want(key, partial(self.thinking.ask, name, *arguments))

    @property
    def features(self) -> Seen | None:
        """The features, if they are there."""
        job = self.features_job()
        return job.result if job else None

    def suggestion(self, row: int) -> dict[str, float] | None:
        """What a trained classifier thinks of a patch, by class; None if there is none, or nobody wants to know."""
        found = self.features if self.options.suggestions else None
        if found is None or found.scores is None:
            return None
        values = np.asarray(found.scores[row], dtype=np.float64)
        shown = {code: round(float(p), 4) for code, p in zip(self.codes, values, strict=True) if np.isfinite(p)}
        return shown or None

    def states(self, desk: Desk) -> npt.NDArray[np.int8]:
        """(N, C) of what a reader said: present 1, absent 0, and -1 where that is not known."""
        found = np.full((len(self.table), len(self.codes)), -1, np.int8)
        column = {code: index for index, code in enumerate(self.codes)}
        with desk.lock:
            mine = list(desk.mine.items())
        for row, entry in mine:
            for code, state in entry.get("classes", {}).items():
                if code in column and state != "unsure":
                    found[row, column[code]] = state == "present"
        return found

    def journals(self) -> Journals:
        """The journals of everybody, read anew when one has changed."""
        paths = sorted(self._journals.glob(f"*{places.JOURNAL_SUFFIX}"))
        stamp = tuple((path.name, (state := path.stat()).st_size, state.st_mtime_ns) for path in paths)
        with self._lock:
            if self._all is None or self._all[0] != stamp:
                self._all = stamp, read_journals(self._journals)
            return self._all[1]

    def cached(self, key: Hashable, make: Callable[[], _T]) -> _T:
        """What a key names; made now if nobody asked before, or long ago."""
        with self._lock:
            if key in self._cached:
                self._cached.move_to_end(key)
                return self._cached[key]
        made = make()  # twice, if two ask at once; others do not wait meanwhile
        with self._lock:
            self._cached[key] = made
            while len(self._cached) > _CACHED:
                self._cached.popitem(last=False)
        return made

    def renewed(self, key: Hashable, epoch: int, make: Callable[[], Any]) -> Job:
        """A job that is done anew with each epoch; the last one's, as long as that takes."""
        job = self.work.want((key, epoch), make)
        with self._lock:
            if job.done and not job.error:
                self._latest[key] = job
                self._latest.move_to_end(key)
                while len(self._latest) > _LATEST:
                    self._latest.popitem(last=False)
            return job if job.done else self._latest.get(key, job)

    def of_labels(self, name: str, desk: Desk, every: int) -> Job:
        """A question to a `Thinker` about what a reader said, asked anew after every so many answers."""
        key, epoch = (name, desk.reader), desk.count // every
        return self.renewed(key, epoch, lambda: self.thinking.ask(name, self.states(desk)))
