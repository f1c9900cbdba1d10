"""Tables of people, changed where they lie: what is not changed stays as it was written, byte by byte.

Their separator, line ends, encoding, notes, empty lines, columns of their own and headings in their own words stay.
"""

import csv
import io
import logging
import os
import shutil
import stat
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Literal

from wsss_mm.errors import InputError
from wsss_mm.files import atomic_path, locked
from wsss_mm.tables import AROUND, Line, TableText, heading_key, named_columns, read_table

logger = logging.getLogger(__name__)

_FORMULA = ("=", "+", "-", "@", "\uff1d", "\uff0b", "\uff0d", "\uff20")


class EditedTable:
    """A table that is read, changed and written back; see `edited`.

    Attributes:
        path: the file.
        columns: its headings, under the product's names where it knows them.
    """

    def __init__(self, source: TableText, known: Mapping[str, str], optional: Sequence[str]) -> None:
        self.path, self._source = source.path, source
        self._known, self._optional = known, optional
        self._lines = list(source.lines())
        self._head = next((at for at, line in enumerate(self._lines) if line.cells), None)
        if self._head is None:
            raise source.refused(None, "it is empty")
        self._before = [line.text for line in self._lines]
        head = self._lines[self._head]
        self.columns = named_columns(head.cells, known, optional)
        self._quotes: Literal[0, 1] = csv.QUOTE_ALL if head.text.lstrip(AROUND).startswith('"') else csv.QUOTE_MINIMAL
        self._end = next((end for end in ("\r\n", "\n", "\r") if head.text.endswith(end)), "\n")

    @property
    def rows(self) -> dict[int, dict[str, str]]:
        """Cells of each row by column, by the number of its line in the file as it was read."""
        return {line.number: self._cells(line) for line in self._rows()}

    @property
    def separator(self) -> str:
        """What stands between cells."""
        return self._source.separator

    def add_column(self, name: str) -> None:
        """Give the table a column, empty in each row, if it has none of that name."""
        if name in self.columns:
            return
        width = len(self.columns)
        self.columns.append(name)
        for at, line in enumerate(self._lines):
            if 0 < len(line.cells) <= width:
                cells = (*line.cells, *[""] * (width - len(line.cells)), name if at == self._head else "")
                body = line.text.rstrip("\r\n")
                more = self.separator * (width - len(line.cells) + 1)
                written = '"' + name + '"' if at == self._head and self._quotes == csv.QUOTE_ALL else cells[-1]
                self._lines[at] = Line(line.number, body + more + written + line.text[len(body) :], cells)

    def change(self, number: int, cells: Mapping[str, str]) -> bool:
        """Give cells of the row on a line other texts, and say whether that changes it."""
        at = next(at for at, line in enumerate(self._lines) if line.number == number)
        now = self._cells(self._lines[at])
        if all(now.get(name) == cell for name, cell in cells.items()):
            return False
        own = [*self._lines[at].cells, *[""] * (len(self.columns) - len(self._lines[at].cells))]
        for name, cell in cells.items():
            own[self.columns.index(name)] = self._checked(name, cell)
        self._lines[at] = self._written(number, own)
        return True

    def append(self, cells: Mapping[str, str]) -> None:
        """Add a row below the last one."""
        at = max(at for at, line in enumerate(self._lines) if line.cells)
        last = self._lines[at]
        if not last.text.endswith(("\r", "\n")):
            self._lines[at] = replace(last, text=last.text + self._end)
        row = [self._checked(name, cells.get(name, "")) for name in self.columns]
        self._lines.insert(at + 1, self._written(0, row))

    def remove(self, number: int) -> None:
        """Remove the row on a line."""
        self._lines = [line for line in self._lines if line.number != number]

    def write(self) -> bool:
        """Write the table, atomically, if something changed, and say whether it did.

        Raises:
            InputError: it cannot be written, or could not be read again as it is meant.
        """
        if [line.text for line in self._lines] == self._before:
            return False
        text = self._source.before + "".join(line.text for line in self._lines)
        source = self._source
        try:
            data = source.mark + text.encode(source.codec)
        except UnicodeEncodeError:
            text.encode()  # what is no text in UTF-8 either is told of by who catches that
            logger.warning("%s: was %s, which lacks letters of the new rows; it is UTF-8 now", self.path, source.codec)
            data = text.encode()
        real = self.path.resolve()  # a link stays one
        with atomic_path(real) as temporary:
            temporary.write_bytes(data)
            self._compare(temporary)
            if real.exists():
                shutil.copymode(real, temporary)
        return True

    def _rows(self) -> Iterator[Line]:
        return (line for at, line in enumerate(self._lines) if line.cells and at != self._head)

    def _cells(self, line: Line) -> dict[str, str]:
        cells = [*line.cells, *[""] * (len(self.columns) - len(line.cells))]
        return dict(zip(self.columns, cells, strict=False))

    def _written(self, number: int, cells: Sequence[str]) -> Line:
        stream = io.StringIO()
        writer = csv.writer(stream, delimiter=self.separator, quoting=self._quotes, lineterminator=self._end)
        writer.writerow(cells)
        return Line(number, stream.getvalue(), tuple(cells))

    def _checked(self, column: str, cell: str) -> str:
        """A cell as it is given, if it is read as the same text, and is no formula to a spreadsheet."""
        if cell != cell.strip(AROUND) or "\0" in cell:
            raise InputError(f"{self.path}: {column} {cell!r} begins or ends in white space, which no table keeps")
        if cell.startswith(_FORMULA):
            raise InputError(f"{self.path}: {column} {cell!r} would be a formula to a spreadsheet; call it otherwise")
        return cell

    def _compare(self, written: Path) -> None:
        """See that what was written is read as it is meant: headings, separators and quotes can mislead."""
        known = list(self._known.values())
        required = [name for name in known if name not in self._optional]
        found = read_table(written, required, self._optional, absent="", remedy="", notes=self._source.notes)
        meant = [[self._cells(line).get(name, "") for name in found.columns] for line in self._rows()]
        if found.to_numpy().tolist() != meant:
            raise InputError(f"{self.path}: would not be read as it is meant; save it as CSV, with commas, in UTF-8")


@contextmanager
def edited(
    path: Path,
    columns: Sequence[str],
    optional: Sequence[str],
    *,
    absent: str,
    create: Sequence[str] = (),
    dry: bool = False,
) -> Iterator[EditedTable]:
    """A table to change, held for this block alone; it is written at its end, unless an error ends it.

    Args:
        path: the CSV.
        columns: those it must have.
        optional: those it may have.
        absent: what a message says where there is no such file.
        create: headings of a new table, where there is none.
        dry: whether it is not to be written after all.

    Raises:
        InputError: it is no table, or may not be written to.
    """
    if not dry:
        _check_writable(path)
    with nullcontext() if dry else locked(path.resolve()):
        if create and not path.exists():
            known = {heading_key(name): name for name in (*columns, *optional)}
            head = TableText(path, ",".join(create) + "\n", ",", 1, "", notes=True)
            table = EditedTable(head, known, optional)
        else:
            table = edit_of(path, columns, optional, absent=absent)
        yield table
        if not dry:
            table.write()


def edit_of(path: Path, columns: Sequence[str], optional: Sequence[str], *, absent: str) -> EditedTable:
    """A table to look at and to change; who means to write it holds it, as `edited` does."""
    remedy = "save it as CSV, in UTF-8"
    read_table(path, columns, optional, absent=absent, remedy=remedy, notes=True)  # refuses what could mean two things
    known = {heading_key(name): name for name in (*columns, *optional)}
    return EditedTable(TableText.read(path, known, absent=absent, remedy=remedy, notes=True), known, optional)


def _check_writable(path: Path) -> None:
    """Refuse a file that somebody protects, which a rename would pass over."""
    try:
        mode = path.stat().st_mode
    except FileNotFoundError:
        return
    if not mode & (stat.S_IWUSR | stat.S_IWGRP | stat.S_IWOTH) or not os.access(path, os.W_OK):
        raise InputError(f"{path}: is read-only; chmod u+w it (dvc unprotect, if DVC tracks it), or name another table")
    if (lock := path.with_name(f".~lock.{path.name}#")).exists():
        logger.warning("%s: is open in LibreOffice (%s); load it again there, and do not save over it", path, lock)
