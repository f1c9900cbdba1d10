"""The file of a reader's journal: labels/<reader>.jsonl, a line for each thing said, added to and never changed.

Two machines' work of one reader, and the work of several, merges in git without a conflict: `.gitattributes` has git
keep the lines of both sides, and what counts is decided by the entries' times and ids, never by where they stand.
"""

import json
import logging
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any
from uuid import uuid4

from wsss_mm.errors import InputError
from wsss_mm.files import explained, locked, sync_folder
from wsss_mm.formats import KEY, DamagedError, check_format
from wsss_mm.labelling.entries import KINDS, STEPS, fault, fault_of_name, moment, parsed
from wsss_mm.names import is_plain_name, likeness
from wsss_mm.places import JOURNAL_SUFFIX, LABEL_JOURNAL, LABELS_FOLDER

logger = logging.getLogger(__name__)

_READER = "reader"
STEP = "step"
"""Key of what is undone together."""
_TAIL = 1 << 16  # bytes, read at once from the end
_MARKS = (b"<<<<<<<", b"=======", b">>>>>>>", b"|||||||")  # of a merge that git left to its user


def journal_path(reader: str, folder: Path | str = LABELS_FOLDER) -> Path:
    """Where a reader's journal lies.

    Raises:
        InputError: the name cannot be that of a file on every system.
    """
    if not is_plain_name(reader):
        raise InputError(f"{folder}: reader {str(reader)[:80]!r} cannot name a file; use letters, digits, dot, dash, _")
    return Path(folder) / f"{reader}{JOURNAL_SUFFIX}"


class EntryError(InputError):
    """An entry that no journal keeps, whatever the state of its file: what it says is not sound.

    Attributes:
        wrong: what is wrong with it, without the name of the file.
    """

    def __init__(self, path: Path, wrong: str) -> None:
        super().__init__(f"{path}: an entry for it cannot be kept: {wrong}; correct it")
        self.wrong = wrong


class Journal:
    """What one reader said, as it was said."""

    def __init__(self, path: Path | str, reader: str) -> None:
        """Take a file for the journal of a reader; it is made by the first entry.

        Raises:
            InputError: the reader's name is not that of the file, or cannot be that of any.
        """
        self.path, self.reader = Path(path), reader
        wanted = journal_path(reader, self.path.parent)
        if self.path != wanted:
            raise InputError(f"{path}: the journal of {reader} is {wanted}; give that, or the reader's name")

    def append(self, entries: Sequence[Mapping[str, Any]]) -> list[str]:
        """Add entries, and return when they are on the disk.

        What was cut off by a loss of power is removed first. Several answers, skips or settlements of one call are one
        step to undo (see `history`). No entry gets a time before the one that stands above it, even if the clock of
        the machine was set back: a later answer replaces an earlier one.

        Args:
            entries: As `new_entry` makes them.

        Returns:
            Their ids.

        Raises:
            EntryError: an entry is not sound.
            InputError: the file is no journal of this reader, or there is no space or right to write. Nothing is added
                in either case.
        """
        if not entries:
            return []
        entries = _as_step([dict(entry) for entry in entries])
        for entry in entries:
            wrong = "kind is none that is known" if entry.get("kind") not in KINDS else fault(entry)
            if wrong := wrong or _unwritable(entry):
                raise EntryError(self.path, wrong)
        new_folder = not self.path.parent.exists()
        with locked(self.path), explained(self.path):
            new = not self._is_there()
            if new:
                self._check_others()
            handle = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o666)
            try:
                self._write(handle, entries)
            finally:
                os.close(handle)
            if new:
                sync_folder(self.path.parent)
            if new_folder:
                sync_folder(self.path.parent.parent)
        return [entry["id"] for entry in entries]

    def entries(self) -> list[dict[str, Any]]:
        """All entries of known kinds, as they stand in the file.

        A last line that was cut off is passed over with a warning, and so are kinds that are not known.

        Raises:
            InputError: a line is damaged, names no format or a newer one, or is of another reader.
        """
        if not self._is_there():
            return []
        with explained(self.path):
            data = self.path.read_bytes()
            if data and not data.endswith(b"\n"):  # somebody may be writing
                try:
                    with locked(self.path):
                        data = self.path.read_bytes()
                except InputError:  # no right to write here: nor has anybody else of this account
                    pass
        return self.parse(data)

    def parse(self, data: bytes) -> list[dict[str, Any]]:
        """All entries of known kinds in the content of such a file, see `entries`."""
        data = data.removeprefix(b"\xef\xbb\xbf")
        *lines, tail = data.split(b"\n")
        if tail.strip():
            try:
                parsed(tail)
                lines.append(tail)
            except ValueError:
                logger.warning(
                    "%s: line %d was cut off, %d bytes of it are passed over; what came before is whole",
                    *(self.path, len(lines) + 1, len(tail)),
                )
        found, seen, numbered, unknown = [], {}, False, {}
        for number, entry in self._objects(lines):
            if KEY in entry and "kind" not in entry:
                self._check_header(entry, number)
                numbered = True
                continue
            kind = entry.get("kind")
            if kind not in KINDS:
                unknown.setdefault(str(kind)[:40], number)
                continue
            if wrong := fault(entry):
                raise self._damaged(number, wrong)
            earlier = seen.setdefault(entry["id"], entry)
            if earlier is entry:
                found.append(entry)
            elif earlier != entry:
                raise self._damaged(number, f"entry {entry['id']} stands there twice, and says two things")
        if found and not numbered:
            check_format(0, LABEL_JOURNAL, self.path)
        for kind, number in unknown.items():
            logger.warning("%s: line %d: entries of kind %r are passed over", self.path, number, kind)
        return found

    def _objects(self, lines: Sequence[bytes]) -> Iterator[tuple[int, dict[str, Any]]]:
        """The objects of all lines that hold a text, with the lines' numbers."""
        for number, line in enumerate(lines, 1):
            if line.strip():
                try:
                    yield number, parsed(line)
                except ValueError as error:
                    if line.startswith(_MARKS):
                        raise DamagedError(
                            f"{self.path}: line {number}: a merge left its marks; remove the lines that begin with "
                            f"{line[:7].decode()!r} and their like, and let .gitattributes say: "
                            f"{LABELS_FOLDER}/*{JOURNAL_SUFFIX} merge=union"
                        ) from None
                    raise self._damaged(number, f"not a line of JSON ({' '.join(str(error).split())[:80]})") from None

    def _check_header(self, header: Mapping[str, Any], number: int) -> None:
        check_format(header[KEY], LABEL_JOURNAL, self.path)
        if header.get(_READER) != self.reader:
            said = str(header.get(_READER))[:80]
            raise InputError(
                f"{self.path}: line {number}: it is the journal of reader {said!r}; give the file that reader's name"
            )

    def _damaged(self, number: int, why: str) -> DamagedError:
        return DamagedError(f"{self.path}: line {number}: damaged: {why}; {LABEL_JOURNAL.again}, or remove the line")

    def _is_there(self) -> bool:
        if self.path.is_symlink() or (self.path.exists() and not self.path.is_file()):
            raise InputError(f"{self.path}: a link or no file, and journals are files; put the file itself there")
        return self.path.exists()

    def _check_others(self) -> None:
        """No new reader whose name is probably meant to be another's, or is the same file on another system."""
        for path in journals_in(self.path.parent):
            if path.stem != self.reader and likeness(path.stem) == likeness(self.reader):
                raise InputError(f"{self.path}: there is a reader {path.stem!r} already; use that name, or another")

    def _write(self, handle: int, entries: Sequence[dict[str, Any]]) -> None:
        """Put lines at the end of an open journal, and see them on the disk; a failure leaves it as it was."""
        end, lines, last = self._sound_end(handle)
        for entry in entries:
            if last is not None and moment(entry) < moment(last):
                entry["time"] = last["time"]
            last = entry
            lines.append(_line(entry))
        data = b"".join(lines)
        try:
            os.lseek(handle, end, os.SEEK_SET)
            while data:
                data = data[os.write(handle, data) :]
            os.fsync(handle)
        except BaseException:
            os.ftruncate(handle, end)
            raise

    def _sound_end(self, handle: int) -> tuple[int, list[bytes], dict[str, Any] | None]:
        """Where the next line begins; what has to stand before it; and the last entry there is."""
        size = os.lseek(handle, 0, os.SEEK_END)
        tail, at = b"", size
        while at > 0 and b"\n" not in tail.rstrip():  # to the beginning of the last whole line, or of all
            step = min(_TAIL, at)
            at -= step
            tail = os.pread(handle, step, at) + tail
        *whole, rest = tail.split(b"\n")
        before: list[bytes] = []
        if rest.strip():
            try:
                parsed(rest)
                whole, before = [*whole, rest], [b"\n"]
            except ValueError:
                logger.warning("%s: its last line was cut off, and %d bytes of it are removed", self.path, len(rest))
                size -= len(rest)
                os.ftruncate(handle, size)
                return self._sound_end(handle)
        last = next((line for line in reversed(whole) if line.strip()), None)
        if last is None:
            return size, [*before, _line({KEY: LABEL_JOURNAL.format, _READER: self.reader})], None
        return size, before, self._entry_of(last)

    def _entry_of(self, line: bytes) -> dict[str, Any] | None:
        """The entry in the last line; None if that is the one which says the format."""
        try:
            entry = parsed(line.removeprefix(b"\xef\xbb\xbf"))
        except ValueError:
            raise DamagedError(f"{self.path}: its last line is damaged; {LABEL_JOURNAL.again}") from None
        if KEY in entry and "kind" not in entry:
            self._check_header(entry, 1)
            return None
        return None if fault_of_name(entry) else entry


def ordered(entries: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    """Entries in the order of their time; those of one moment stay as they stand."""
    return sorted(entries, key=moment)


def _as_step(entries: list[dict[str, Any]]) -> list[dict[str, Any]]:
    said = [entry for entry in entries if entry.get("kind") not in STEPS]
    if len(said) > 1:
        step = uuid4().hex
        for entry in said:
            entry.setdefault(STEP, step)
    return entries


def journals_in(folder: Path) -> list[Path]:
    """The journals of a folder, by name; none where there is no such folder."""
    if not folder.is_dir():
        return []
    return sorted(path for path in folder.glob(f"*{JOURNAL_SUFFIX}") if not path.name.startswith("."))


def _unwritable(entry: Mapping[str, Any]) -> str | None:
    """Why an entry cannot be written; None if it can."""
    try:
        _line(entry)
    except (TypeError, ValueError) as error:
        return f"it cannot be written as JSON ({error})"
    return None


def _line(content: Mapping[str, Any]) -> bytes:
    return json.dumps(content, ensure_ascii=False, allow_nan=False, separators=(", ", ": ")).encode() + b"\n"
