"""What somebody says of a slide as a whole: notes, each at a place of it, and that it is a bad one.

Notes are a table, one row each. A bad slide goes into the project's quarantine, which `wsss-mm quarantine` lists: the
line then leaves it out, and nothing is deleted.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import date, datetime, timezone
from pathlib import Path
from typing import Any

import pandas as pd

from wsss_mm import places
from wsss_mm.errors import InputError
from wsss_mm.files import atomic_path, locked
from wsss_mm.labelling.entries import is_id
from wsss_mm.names import cell_text, text_cell
from wsss_mm.patches.quarantine import Entry, add_entries, read_quarantine, remove_entries
from wsss_mm.tables import number, read_table
from wsss_mm.wsi.viewer.project import Project
from wsss_mm.wsi.viewer.results import Result

COLUMNS = places.SLIDE_NOTES_COLUMNS
_LONGEST, _LONGEST_REASON = 2000, 300  # characters


@dataclass(frozen=True)
class SlideNote:
    """A row of the table.

    Attributes:
        id: 32 hexadecimal digits.
        slide_id: of the cohort's slide; outside of a cohort the name of the folder of its results.
        x: level-0 px from where the scan begins, as
        y: is.
        note: what is said, on one line.
        reader: who says it.
        time: when, UTC, as 2026-11-26T12:00:00Z.
    """

    id: str
    slide_id: str
    x: int
    y: int
    note: str
    reader: str
    time: str


def read_notes(path: Path) -> list[SlideNote]:
    """The notes of a table, in its order; without one there are none.

    Raises:
        InputError: names the line and the remedy.
    """
    if not path.is_file():
        return []
    table = read_table(path, COLUMNS, absent="not found", remedy="take it as it was from git or from a backup")
    notes = []
    for line, *cells in table.itertuples():
        name, slide, across, down, note, reader, time = map(cell_text, cells)
        x, y = number(across), number(down)
        if not is_id(name) or x is None or y is None:
            raise InputError(f"{path}: line {line}: id or place is none; correct the row, or remove it")
        notes.append(SlideNote(name, slide, int(x), int(y), note, reader, time))
    return notes


class Remarks:
    """A reader's remarks. All methods may be called from several threads and processes at once."""

    def __init__(
        self, notes: Path, reader: str, project: Project | None = None, quarantine: Path = places.QUARANTINE
    ) -> None:
        """Take the table of notes, who reads, and the project whose quarantine takes bad slides, if there is one.

        Raises:
            InputError: the table of notes, or the quarantine, is damaged.
        """
        self.reader, self._project = reader, project
        self.path, self._quarantine = notes, quarantine
        read_notes(notes)  # what is damaged is said before anybody looks at slides
        if project is not None:
            read_quarantine(quarantine)

    def told(self, result: Result) -> dict[str, Any]:
        """What the page of a slide is told: its notes, and whether it is set aside, or why it cannot be."""
        slide_id, refusal = self._name(result), self._refusal(result)
        aside = None if refusal else self.aside().get(slide_id)
        return {
            "reader": self.reader,
            "notes": [asdict(note) for note in read_notes(self.path) if note.slide_id == slide_id],
            "aside": None if aside is None else asdict(aside) | {"own": aside.reviewer == self.reader},
            "refusal": refusal,
        }

    def aside(self) -> Mapping[str, Entry]:
        """Rows of the quarantine on slides, by slide_id."""
        if self._project is None:
            return {}
        return {entry.id: entry for entry in read_quarantine(self._quarantine) if entry.kind == "slide"}

    def reason(self, result: Result, aside: Mapping[str, Entry]) -> str:
        """Why a slide is set aside; empty where it is not."""
        entry = aside.get(self._name(result))
        return "" if entry is None else entry.reason

    def add_note(self, result: Result, text: object, place: tuple[float, float], request: str) -> None:
        """Write a note down; the same request again writes nothing.

        Raises:
            InputError: nothing is said, or it cannot be written.
        """
        said = _line(text, _LONGEST, "the note")
        now = datetime.now(timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")
        new = SlideNote(request, self._name(result), round(place[0]), round(place[1]), said, self.reader, now)
        with locked(self.path):
            notes = read_notes(self.path)
            if request not in {note.id for note in notes}:
                self._write([*notes, new])

    def remove_note(self, result: Result, name: object) -> None:
        """Take a note back, of its own reader; what is gone already stays gone.

        Raises:
            InputError: somebody else wrote it, or it cannot be written.
        """
        slide_id = self._name(result)
        with locked(self.path):
            notes = read_notes(self.path)
            mine = next((note for note in notes if note.id == name and note.slide_id == slide_id), None)
            if mine is None:
                return
            if mine.reader != self.reader:
                raise InputError(f"{mine.reader} wrote that note, and takes it back")
            self._write([note for note in notes if note is not mine])

    def set_aside(self, result: Result, reason: object) -> None:
        """Put a slide into the quarantine; one that is in it stays there as it is.

        Raises:
            InputError: it is none of the cohort, no reason is given, or it cannot be written.
        """
        if refusal := self._refusal(result):
            raise InputError(refusal)
        why = _line(reason, _LONGEST_REASON, "why the slide is a bad one")
        entry = Entry("slide", self._name(result), "", "", why, self.reader, date.today().isoformat())
        add_entries([entry], self._quarantine)

    def take_back(self, result: Result) -> None:
        """Take a slide off the quarantine that this reader put there.

        Raises:
            InputError: it is not there, or somebody else put it there.
        """
        slide_id = self._name(result)
        entry = self.aside().get(slide_id)
        if entry is None or entry.reviewer != self.reader:
            who = "nobody" if entry is None else entry.reviewer
            raise InputError(f"{self._quarantine}: {who} set this slide aside; see: wsss-mm quarantine list")
        remove_entries([slide_id], self._quarantine)

    def _name(self, result: Result) -> str:
        slide = None if self._project is None else self._project.slide_of(result)
        return result.name if slide is None else slide.slide_id

    def _refusal(self, result: Result) -> str:
        if self._project is None:
            return "There is no quarantine here; start the viewer in the folder of a project."
        if self._project.slide_of(result) is None:
            return "This slide is not in the cohort, so there is nothing to set aside."
        return ""

    def _write(self, notes: list[SlideNote]) -> None:
        cells = pd.DataFrame([asdict(note) for note in notes], columns=list(COLUMNS))
        cells[["slide_id", "note", "reader"]] = cells[["slide_id", "note", "reader"]].map(text_cell)
        with atomic_path(self.path) as temporary:
            cells.to_csv(temporary, index=False, lineterminator="\n")


def _line(text: object, longest: int, what: str) -> str:
    """What somebody wrote, on one line.

    Raises:
        InputError: it is nothing, or too much.
    """
    said = " ".join("".join(c if c.isprintable() else " " for c in text).split()) if isinstance(text, str) else ""
    if not said or len(said) > longest:
        raise InputError(f"say {what}, in at most {longest} letters")
    return said
