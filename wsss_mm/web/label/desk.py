"""What one reader has said so far: the journal, kept in memory by rows, and steps to undo."""

import threading
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from wsss_mm.labelling.journal import EntryError, Journal, new_entry, ordered
from wsss_mm.web.label.table import Table

UNSEEN, ANSWERED, SKIPPED, ARTEFACT = range(4)
"""States of a row, for its reader."""
_ACTS = ("answer", "skip", "settle")


@dataclass(frozen=True)
class Done:
    """What a request came to, the same however often it is sent.

    Attributes:
        ids: of the entries.
        rows: that it was about; places which are no candidates any more are left out.
    """

    ids: list[str]
    rows: list[int]


class Desk:
    """A reader's own answers. All methods may be called from several threads at once.

    The page names each of its requests, by 32 hexadecimal digits. The name becomes the entry's `id`, or the `step` of
    several entries: a request that comes twice is carried out once, also if the server was started anew in between.

    Attributes:
        state: (N,) uint8, of each row: `UNSEEN`, `ANSWERED`, `SKIPPED` or `ARTEFACT`.
        mine: by row, the entry that counts.
    """

    def __init__(self, reader: str, path: Path, table: Table) -> None:
        self.reader = reader
        self.lock = threading.RLock()
        self._path, self._table = path, table
        self._journal = Journal(path, reader)
        self._stamp: tuple[int, ...] | None = None
        with self.lock:
            self._read()

    def answer(
        self,
        places: Sequence[Mapping[str, Any]],
        content: Mapping[str, Any],
        request: str,
        *,
        kind: str = "answer",
        each: Sequence[Mapping[str, Any]] | None = None,
    ) -> Done:
        """Write down answers, settlements or skipped patches: one step.

        Args:
            places: the patches, as journals say where they are; some may be no candidates any more.
            content: what the entries say besides where.
            request: the page's name of it. A second reading takes the place of one that the row has already.
            kind: answer, settle or skip.
            each: what each entry says besides, in the order of `places`.

        Raises:
            EntryError: the journal keeps no such entry, or has another of that name.
            InputError: it cannot be written.
        """
        with self.lock:
            self.refresh()
            if (done := self._done(request)) is not None:
                return done
            own = each or [{}] * len(places)
            named = {"id": request} if len(places) == 1 else {"step": request}
            whole = ({**place, **content, **more} for place, more in zip(places, own, strict=True))
            entries = [new_entry(kind, **one, **named) for one in whole]
            rows = [row for place in places if (row := self._table.row_of(place)) is not None]
            corrected = [name for row in rows for name in self._second_readings_of(row)]
            if corrected and any(entry.get("repeat") for entry in entries):
                entries.insert(0, new_entry("undo", of=corrected))
            return self._append(entries, request)

    def undo(self, request: str) -> Done:
        """Take back the last step that is not taken back yet; none, where there is none."""
        return self._turn("undo", request)

    def redo(self, request: str) -> Done:
        """Put forward again what was taken back last; none, where there is none."""
        return self._turn("redo", request)

    def refresh(self) -> None:
        """Read the journal again if another program wrote to it."""
        with self.lock:
            if self._stamp != self._stamp_now():
                self._read()

    @property
    def can_undo(self) -> bool:
        """Whether there is a step to take back."""
        return bool(self._steps)

    @property
    def can_redo(self) -> bool:
        """Whether there is a step that was taken back."""
        return bool(self._taken_back)

    @property
    def count(self) -> int:
        """Answers given, second readings too; without those that were taken back."""
        return len(self._sequence)

    def second_readings(self, least_ago: int) -> list[int]:
        """Rows that could be shown a second time: answered `least_ago` answers ago or earlier, and once."""
        with self.lock:
            old = list(dict.fromkeys(self._sequence[: max(0, len(self._sequence) - least_ago)]))
            recent = set(self._sequence[len(self._sequence) - least_ago :])
            return [row for row in old if row not in self._twice and row not in recent and row in self.mine]

    def was_random(self, row: int) -> bool:
        """Whether a row was drawn at random when it was answered before, taken back or not."""
        with self.lock:
            told = (self._entries[name] for name in self._of_row.get(row, ()))
            return any(entry.get("drawn") == "random" and not entry.get("repeat") for entry in told)

    def doubts_answered(self) -> set[int]:
        """Rows that were looked at again because their labels were doubtful."""
        with self.lock:
            return {row for row, entry in self.mine.items() if entry.get("drawn") == "doubtful"}

    def counts(self, codes: Iterable[str]) -> dict[str, dict[str, int]]:
        """How many patches have each state of each class."""
        with self.lock:
            return {
                code: {state: self._per_class[code, state] for state in ("present", "absent", "unsure")}
                for code in codes
            }

    def per_slide(self) -> list[int]:
        """How many patches of each slide are answered."""
        with self.lock:
            return [self._per_slide[index] for index in range(len(self._table.slides))]

    def _second_readings_of(self, row: int) -> list[str]:
        live = (name for name in self._of_row.get(row, ()) if name not in self._undone)
        return [name for name in live if self._entries[name].get("repeat")]

    def _turn(self, kind: str, request: str) -> Done:
        with self.lock:
            self.refresh()
            if (done := self._done(request)) is not None:
                return done
            stack = self._steps if kind == "undo" else self._taken_back
            if not stack:
                return Done([], [])
            return self._append([new_entry(kind, of=list(stack[-1]), id=request)], request)

    def _done(self, request: str) -> Done | None:
        """What a request came to; None if it is new. One of many entries of a step is no request."""
        if request not in self._requests and request in self._entries:
            raise EntryError(self._path, "its id is that of another entry")
        return self._requests.get(request)

    def _append(self, entries: list[dict[str, Any]], request: str) -> Done:
        self._journal.append(entries)
        touched: set[int] = set()
        for entry in entries:
            touched |= self._take(entry)
        self._recount(touched)
        self._stamp = self._stamp_now()
        return self._requests[request]

    def _read(self) -> None:
        self._stamp = self._stamp_now()
        self._entries: dict[str, dict[str, Any]] = {}
        self._rows: dict[str, int | None] = {}
        self._undone: set[str] = set()
        self._of_row: dict[int, list[str]] = {}
        self._steps: list[list[str]] = []
        self._taken_back: list[list[str]] = []
        self._requests: dict[str, Done] = {}
        self._sequence: list[int] = []
        self._twice: Counter[int] = Counter()
        self.state = np.zeros(len(self._table), np.uint8)
        self.mine: dict[int, dict[str, Any]] = {}
        self._per_class: Counter[tuple[str, str]] = Counter()
        self._per_slide: Counter[int] = Counter()
        touched: set[int] = set()
        for entry in ordered(self._journal.entries()):
            touched |= self._take(entry)
        self._recount(touched)

    def _take(self, entry: dict[str, Any]) -> set[int]:
        """Add an entry; gives the rows whose state may have changed."""
        kind, request = entry["kind"], entry.get("step") or entry["id"]
        if kind in _ACTS:
            return self._take_act(entry, request)
        if kind in ("undo", "redo"):
            ids = [name for name in entry["of"] if name in self._entries]
            taken, given = (self._steps, self._taken_back) if kind == "undo" else (self._taken_back, self._steps)
            for name in ids:
                self._count(name, back=kind == "undo")
            (self._undone.update if kind == "undo" else self._undone.difference_update)(ids)
            for step in [step for step in reversed(taken) if set(step) & set(ids)]:
                taken.remove(step)
                given.append(step)
            rows = [row for name in ids if (row := self._rows[name]) is not None]
            self._requests[request] = Done([entry["id"]], rows)
            return set(rows)
        return set()

    def _take_act(self, entry: dict[str, Any], request: str) -> set[int]:
        name = entry["id"]
        if name in self._entries:  # a union merge may repeat lines
            return set()
        row = self._table.row_of(entry)
        self._entries[name], self._rows[name] = entry, row
        done = self._requests.setdefault(request, Done([], []))
        if not done.ids:
            self._steps.append(done.ids)
            self._taken_back.clear()
        done.ids.append(name)
        if row is None:
            return set()
        done.rows.append(row)
        self._of_row.setdefault(row, []).append(name)
        self._count(name, back=False)
        return {row}

    def _count(self, name: str, *, back: bool) -> None:
        """Note, or forget, in which order patches were answered."""
        entry, row = self._entries[name], self._rows[name]
        if row is None or entry["kind"] != "answer":
            return
        if back:
            if name in self._undone:
                return
            at = len(self._sequence) - 1 - self._sequence[::-1].index(row)
            del self._sequence[at]
        else:
            self._sequence.append(row)
        self._twice[row] += bool(entry.get("repeat")) * (-1 if back else 1)
        if not self._twice[row]:
            del self._twice[row]

    def _recount(self, rows: Iterable[int]) -> None:
        """Find what counts of rows."""
        for row in rows:
            if row in self.mine:
                self._add(row, self.mine.pop(row), -1)
            live = [self._entries[name] for name in self._of_row.get(row, ()) if name not in self._undone]
            answers = [entry for entry in live if entry["kind"] == "answer" and not entry.get("repeat")]
            if answers:
                self.mine[row] = answers[-1]
                self._add(row, answers[-1], 1)
                self.state[row] = ARTEFACT if answers[-1].get("artefact") else ANSWERED
            else:
                self.state[row] = SKIPPED if any(entry["kind"] == "skip" for entry in live) else UNSEEN

    def _add(self, row: int, entry: Mapping[str, Any], by: int) -> None:
        self._per_slide[int(self._table.slide[row])] += by
        for code, state in entry.get("classes", {}).items():
            self._per_class[code, state] += by

    def _stamp_now(self) -> tuple[int, ...] | None:
        try:
            found = self._path.stat()
        except FileNotFoundError:
            return None
        return found.st_ino, found.st_size, found.st_mtime_ns
