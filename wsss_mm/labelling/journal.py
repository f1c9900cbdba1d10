"""What the journals of all readers say together: which answers count, and what can be undone."""

import logging
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from wsss_mm.errors import InputError
from wsss_mm.labelling.entries import (
    ANSWERS,
    ARTEFACT_KINDS,
    MARK,
    SKIP,
    STATES,
    STEPS,
    Answer,
    Place,
    State,
    answer_of,
    moment,
    new_entry,
    place_of,
)
from wsss_mm.labelling.journal_file import STEP, EntryError, Journal, journal_path, journals_in, ordered
from wsss_mm.names import is_plain_name, likeness
from wsss_mm.places import JOURNAL_SUFFIX, LABELS_FOLDER

__all__ = [
    "ARTEFACT_KINDS",
    "STATES",
    "Answer",
    "EntryError",
    "Journal",
    "Journals",
    "Place",
    "State",
    "history",
    "journal_path",
    "new_entry",
    "ordered",
    "read_journals",
]

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Journals:
    """What all readers said; what counts of it.

    Attributes:
        entries: Of each reader, in the order of time.
    """

    entries: Mapping[str, Sequence[Mapping[str, Any]]] = field(default_factory=dict)

    @property
    def readers(self) -> list[str]:
        """Their names, in order."""
        return sorted(self.entries)

    def answers(self, reader: str | None = None) -> list[Answer]:
        """The answers that count, of a reader or of all: the last one to each place, in the order of time."""
        return [answer for name in self._chosen(reader) for answer in sorted(self._current[name].values(), key=_when)]

    def repeats(self, reader: str) -> list[Answer]:
        """Second readings of a reader that are not undone, in the order of time."""
        return [answer for answer in self._said.get(reader, ()) if answer.repeat]

    def second_readings(self, reader: str) -> list[tuple[Answer, Answer]]:
        """What a reader said of a patch, and what he said when it came again unannounced."""
        first: dict[Place, Answer] = {}
        pairs = []
        for answer in self._said.get(reader, ()):
            if not answer.repeat:
                first[answer.place] = answer
            elif answer.place in first:
                pairs.append((first[answer.place], answer))
        return pairs

    @cached_property
    def settlements(self) -> list[Answer]:
        """What decides disagreements: the last one of each place, whoever made it, in the order of time."""
        found = [answer for name in self.readers for answer in self._settled[name]]
        by_place = {answer.place: answer for answer in sorted(found, key=_when)}
        return sorted(by_place.values(), key=_when)

    def by_place(self) -> dict[Place, dict[str, Answer]]:
        """The answers that count, by place and reader."""
        found: dict[Place, dict[str, Answer]] = {}
        for name in self.readers:
            for place, answer in self._current[name].items():
                found.setdefault(place, {})[name] = answer
        return found

    def skipped(self, reader: str) -> set[Place]:
        """Patches that a reader passed over and did not answer."""
        gone = _undone(self.entries.get(reader, ()))
        skips = (entry for entry in self.entries.get(reader, ()) if entry["kind"] == "skip")
        places = {place_of(entry) for entry in skips if entry["id"] not in gone}
        return places - self._current.get(reader, {}).keys()

    def marks(self, reader: str | None = None) -> list[Place]:
        """Patches that somebody wants to be seen again, in the order of time.

        Who answers or settles such a patch afterwards has done it for all; who passes over it, for himself.

        Args:
            reader: For whom.
        """
        last: dict[Place, str] = {}
        done: dict[Place, str] = {}
        for name, entries in self.entries.items():
            gone = _undone(entries)
            for entry in entries:
                if entry["kind"] in STEPS or entry["id"] in gone:
                    continue
                for_all = entry["kind"] in ANSWERS or (entry["kind"] == SKIP and name == reader)
                which = last if entry["kind"] == MARK else done if for_all else None
                if which is not None:
                    place = place_of(entry)
                    which[place] = max(moment(entry), which.get(place, ""))
        return sorted((place for place in last if last[place] >= done.get(place, "")), key=lambda at: (last[at], at))

    def of_slides(self, slides: Collection[str]) -> "Journals":
        """What was said of some slides alone."""
        kept = set(slides)
        return Journals(
            {
                name: [entry for entry in entries if entry["kind"] in STEPS or entry["slide"] in kept]
                for name, entries in self.entries.items()
            }
        )

    def _chosen(self, reader: str | None) -> list[str]:
        return self.readers if reader is None else [name for name in self.readers if name == reader]

    @cached_property
    def _counting(self) -> dict[str, list[Answer]]:
        counting = {}
        for name, entries in self.entries.items():
            gone = _undone(entries)
            counting[name] = [
                answer_of(entry, name) for entry in entries if entry["kind"] in ANSWERS and entry["id"] not in gone
            ]
        return counting

    @cached_property
    def _said(self) -> dict[str, list[Answer]]:
        return {name: [answer for answer in found if not answer.settled] for name, found in self._counting.items()}

    @cached_property
    def _settled(self) -> dict[str, list[Answer]]:
        return {name: [answer for answer in found if answer.settled] for name, found in self._counting.items()}

    @cached_property
    def _current(self) -> dict[str, dict[Place, Answer]]:
        return {
            name: {answer.place: answer for answer in found if not answer.repeat} for name, found in self._said.items()
        }


def read_journals(folder: Path | str = LABELS_FOLDER) -> Journals:
    """Read the journals of all readers; none where there is no such folder.

    Raises:
        InputError: see `Journal.entries`.
    """
    entries: dict[str, list[dict[str, Any]]] = {}
    alike: dict[str, str] = {}
    for path in journals_in(Path(folder)):
        reader = path.name.removesuffix(JOURNAL_SUFFIX)
        if not is_plain_name(reader):
            raise InputError(f"{path}: its name is none of a reader; use letters, digits, dot, dash, _")
        if (other := alike.setdefault(likeness(reader), reader)) != reader:
            logger.warning("%s: readers %r and %r are two; if they are one, say so in one file", folder, other, reader)
        entries[reader] = ordered(Journal(path, reader).entries())
    return Journals(entries)


def history(entries: Iterable[Mapping[str, Any]]) -> tuple[list[list[str]], list[list[str]]]:
    """The steps of a reader that can be undone, and those that can be redone.

    Entries that one call of `Journal.append` wrote are one step. Something new after an undo ends what could be redone.

    Args:
        entries: All of one journal.

    Returns:
        Two lists of steps, each the ids of its entries; the last of a list is the next to be undone or redone.
    """
    done: list[list[str]] = []
    undone: list[list[str]] = []
    step = None
    for entry in sorted(entries, key=moment):
        if entry["kind"] in STEPS:
            source, target = (done, undone) if entry["kind"] == "undo" else (undone, done)
            for moved in [ids for ids in reversed(source) if set(ids) & set(entry["of"])]:
                source.remove(moved)
                target.append(moved)
            step = None
            continue
        if step is None or entry.get(STEP) != step:
            done.append([])
        done[-1].append(entry["id"])
        step = entry.get(STEP)
        undone.clear()
    return done, undone


def _when(answer: Answer) -> str:
    return moment({"time": answer.time})


def _undone(entries: Iterable[Mapping[str, Any]]) -> set[str]:
    """Ids of the entries that do not count."""
    gone: set[str] = set()
    for entry in entries:
        if entry["kind"] == "undo":
            gone.update(entry["of"])
        elif entry["kind"] == "redo":
            gone.difference_update(entry["of"])
    return gone
