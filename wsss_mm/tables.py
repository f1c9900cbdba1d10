"""Tables that people write, as CSV of any spreadsheet: cells as text, under the product's names, with their lines."""

import codecs
import csv
import difflib
import io
import logging
import re
import unicodedata
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import pandas as pd

from wsss_mm.errors import InputError

logger = logging.getLogger(__name__)

_SEPARATORS = {",": "commas", ";": "semicolons", "\t": "tabs", "|": "bars"}
_NO_TEXT = {
    b"PK\x03\x04": "it is a workbook or an archive",
    b"\xd0\xcf\x11\xe0": "it is a workbook",
    b"\x1f\x8b": "it is compressed",
}
_MARKS = {"utf-8": codecs.BOM_UTF8, "utf-16-le": codecs.BOM_UTF16_LE, "utf-16-be": codecs.BOM_UTF16_BE}
_SAYS_SEPARATOR = re.compile(r'"?sep=([,;\t|])"?[,;\t|]*', re.IGNORECASE)  # a first line for Excel
AROUND = "".join(filter(str.isspace, map(chr, range(0x3001)))) + "\u200b\u200c\u200d\u200e\u200f\u2060\ufeff"
_LINE_END = re.compile(r"\r\n|\r|\n")
_FOREIGN = re.compile(r"[^\x00-\x7f]+")
_WESTERN = re.compile(r"[ÀÁÄ-ÖØ-öø-ÿ]{1,2}|[\xa0°²µ]")  # longer runs are of other alphabets, Â and Ã of broken UTF-8
_NUMBER = re.compile(r"[+-]?([0-9]+([.,][0-9]*)?|[.,][0-9]+)(e[+-]?[0-9]{1,3})?", re.IGNORECASE)
_NEAR = 0.7  # likeness of headings: mpp_x, rois, annotations
_BRACKETS = re.compile(r"[(\[].*[)\]]")
_ALL_QUOTED = "the whole line stands in quotation marks, as one cell"
_NOTE, _ANY_NOTE = re.compile(r"#([#\s]|$)"), re.compile("#")
_SHOWN = 80  # characters of a cell, or of all headings, in a message


def read_table(
    path: Path | str,
    columns: Sequence[str] = (),
    optional: Sequence[str] = (),
    *,
    absent: str,
    remedy: str,
    notes: bool = False,
) -> pd.DataFrame:
    """Read a CSV whose cells stay the text that is written there; it is never decompressed, whatever its name says.

    Cells are separated by commas, semicolons, tabs or bars, lines end as on any system, and the text is UTF-8, UTF-16
    or, with a warning, Windows-1252. White space around a cell is no part of it, lines without a text are passed over,
    and cells that are missing at the end of a line are empty.

    Args:
        path: the CSV.
        columns: those it must have, in any order and spelling (`Slide ID`); with none, all that have a name are read.
        optional: those it may have, empty where it has not. Further ones are passed over.
        absent: what a message says where there is no such file.
        remedy: what it says of a file that is no CSV.
        notes: whether lines that begin with `#` are notes, and no rows; see `Source.lines`.

    Returns:
        `columns` and `optional`, all text. The index, `line`, is the line of the file on which a row begins.

    Raises:
        InputError: names the line and the remedy.
    """
    known = {heading_key(name): name for name in (*columns, *optional)}
    source = TableText.read(Path(path), known, absent=absent, remedy=remedy, notes=notes)
    records = source.records()
    line, header = next(records, (1, []))
    if not header:
        raise source.refused(None, "it is empty")
    names = named_columns(header, known, optional)
    if len(names) == 1 < len(columns) and (why := source.misread(header[0], known)):
        raise source.refused(line, why)
    _check_names(f"{path}: line {line}", names, columns, known)
    _warn_of_near(f"{path}: line {line}", names, optional)
    rows = {line: source.fitted(line, cells, names) for line, cells in records}
    frame = pd.DataFrame.from_dict(rows, orient="index", columns=range(len(names)), dtype=str)
    frame = frame[[at for at, name in enumerate(names) if (name in known.values() if known else name)]]
    frame.columns = [names[at] for at in frame.columns]
    frame.index = pd.Index(frame.index, dtype=int, name="line")
    return frame.reindex(columns=[*columns, *optional], fill_value="") if known else frame


def number(text: str) -> float | None:
    """A number as people write it, with a point or a comma before decimals; None if the text is none."""
    return float(text.replace(",", ".")) if _NUMBER.fullmatch(text) else None


def nearest_name(name: str, known: Iterable[str]) -> str | None:
    """The known name that a name is most like, in capitals or not; None where none is like it."""
    folded = {}
    for item in known:
        folded.setdefault(fold(item), item)
    near = difflib.get_close_matches(fold(name), list(folded), n=1, cutoff=0.5)
    return folded[near[0]] if near else None


def fold(name: str) -> str:
    """A name as it looks: whatever its case, and whether accents are characters of their own."""
    return unicodedata.normalize("NFKC", name).casefold()


@dataclass(frozen=True)
class Line:
    """What a table holds between two line ends, or more of them where a cell has some.

    Attributes:
        number: of its first line in the file.
        text: as it stands there, with its line end.
        cells: without white space around them; none of a line without a text, and of a note.
    """

    number: int
    text: str
    cells: tuple[str, ...]


@dataclass(frozen=True)
class TableText:
    """The text of a table and how its cells are separated.

    Attributes:
        path: the file.
        text: what it holds, from the line on that is the number `first`.
        separator: between cells.
        first: number of that line.
        remedy: what messages say of a file that is no CSV.
        notes: whether lines may be notes.
        before: what stands before `text`: a line for Excel that names the separator, or nothing.
        codec: how text becomes bytes.
        mark: bytes before the text that tell the codec.
    """

    path: Path
    text: str
    separator: str
    first: int
    remedy: str
    notes: bool = False
    before: str = ""
    codec: str = "utf-8"
    mark: bytes = b""

    @classmethod
    def read(
        cls, path: Path, known: Mapping[str, str], *, absent: str, remedy: str, notes: bool = False
    ) -> "TableText":
        """Read the file; the columns that are known tell its separator, if it does not say so itself."""
        try:
            data = path.read_bytes()
        except FileNotFoundError:
            raise InputError(f"{path}: {absent}") from None
        except (OSError, ValueError) as error:
            raise InputError(f"{path}: not readable as CSV ({error}); {remedy}") from None
        source = cls(path, "", ",", 1, remedy, notes)._decoded(data)
        first, *rest = _LINE_END.split(source.text, maxsplit=1)
        if said := _SAYS_SEPARATOR.fullmatch(first):
            after = "".join(rest)
            before = source.text.removesuffix(after)
            return replace(source, text=after, separator=said[1], first=2, before=before)
        return max((replace(source, separator=mark) for mark in _SEPARATORS), key=lambda item: item._headings(known))

    def records(self) -> Iterator[tuple[int, list[str]]]:
        """The lines that hold a text and are no notes: each one's number in the file, and its cells."""
        return ((line.number, list(line.cells)) for line in self.lines() if line.cells)

    def lines(self) -> Iterator[Line]:
        """All lines in turn; their texts are the whole text.

        A note begins with `#` and white space or another `#`; or with `#` alone, below headings the first of which is
        slide_id: a row that somebody took out for a while. Other ids that begin so are refused where they are read.
        """
        text = _Lines(self.text)
        reader = csv.reader(text, delimiter=self.separator, skipinitialspace=True, strict=True)
        notes, headed = _NOTE if self.notes else None, False
        while True:
            number = self.first + text.count
            text.passes_over = notes
            try:
                cells = tuple(cell.strip(AROUND) for cell in next(reader))
            except StopIteration:
                return
            except csv.Error as error:
                why = "a quotation mark is opened and never closed" if "unexpected end" in str(error) else error
                raise self.refused(number, why) from None
            cells = cells if any(cells) else ()
            if cells and not headed:
                headed, notes = True, _ANY_NOTE if notes and heading_key(cells[0]) == "slideid" else notes
            yield Line(number, text.taken(), cells)

    def fitted(self, line: int, cells: list[str], names: Sequence[str]) -> list[str]:
        """A cell for each column; what stands in none is refused, but for numbers that a program put before a row."""
        if len(cells) == 1 < len(names):
            other = next((mark for mark in _SEPARATORS if cells[0].count(mark) >= len(names) - 1), None)
            if other == self.separator:
                raise self.refused(line, _ALL_QUOTED)
            if other:
                raise self.refused(
                    line,
                    f"its cells are separated by {_SEPARATORS[other]}, the headings by {_SEPARATORS[self.separator]}",
                )
        cells = cells + [""] * (len(names) - len(cells))
        for at, cell in enumerate(cells):
            if cell and at and (at >= len(names) or not names[at]):
                raise InputError(
                    f"{self.path}: line {line}: {cell[:_SHOWN]!r} stands in no column, of {_listed(names)}; put a cell"
                    f" that holds {_SEPARATORS[self.separator]} in quotation marks, or give the column a name"
                )
        return cells[: len(names)]

    def misread(self, heading: str, known: Mapping[str, str]) -> str | None:
        """Why a line of headings that looks like a single one may be several; None if it does not."""
        for mark, said in _SEPARATORS.items():
            if sum(heading_key(cell) in known for cell in heading.split(mark)) > 1:
                own = _SEPARATORS[self.separator]
                return _ALL_QUOTED if mark == self.separator else f"its cells are separated by {said}, it says {own}"
        return None

    def refused(self, line: int | None, why: object) -> InputError:
        """What to raise for a file that is no CSV."""
        where = "" if line is None else f"line {line}: "
        return InputError(f"{self.path}: {where}not readable as CSV ({why}); {self.remedy}")

    def _headings(self, known: Mapping[str, str]) -> int:
        """How many columns, of those that are known if any are, the headings name."""
        try:
            _, header = next(self.records())
        except (InputError, StopIteration):
            return 0
        return sum(heading_key(cell) in known for cell in header) if known else len(header)

    def _decoded(self, data: bytes) -> "TableText":
        for mark, why in _NO_TEXT.items():
            if data.startswith(mark):
                raise self.refused(None, why)
        codec, mark = "utf-8", b""
        for name, sign in _MARKS.items():
            if data.startswith(sign):
                codec, mark = name, sign
        if not mark and data[1:8:2] == bytes(4):  # Latin letters: every second byte is none
            codec = "utf-16-le"
        try:
            text = data[len(mark) :].decode(codec)
        except UnicodeDecodeError as error:
            if codec != "utf-8":
                raise self.refused(None, error) from None
            codec, text = "latin-1", self._western(data, error.start)
        if "\0" in text:
            raise self.refused(_line_at(text, text.index("\0")), "it holds NUL bytes, which no text has")
        return replace(self, text=text, codec=codec, mark=mark)

    def _western(self, data: bytes, start: int) -> str:
        """Text of a Western European Windows, if it looks like nothing else."""
        text = data.decode("latin-1")  # as Windows-1252, for the letters that are taken
        line = _line_at(text, start)
        if not all(map(_WESTERN.fullmatch, _FOREIGN.findall(text))):
            raise self.refused(line, "the text is not UTF-8")
        shown = _LINE_END.split(text)[line - 1][:_SHOWN]
        logger.warning("%s: not UTF-8, read as Windows-1252, as line %d shows: %r", self.path, line, shown)
        return text


class _Lines:
    """The lines of a text, as csv's reader takes them: of a row those that it needs."""

    def __init__(self, text: str) -> None:
        self._lines = io.StringIO(text, newline="")  # lines end with \n, \r or \r\n, which a cell keeps
        self._taken: list[str] = []
        self.count = 0
        self.passes_over: re.Pattern[str] | None = None

    def __iter__(self) -> Iterator[str]:
        return self

    def __next__(self) -> str:
        """The next line; a note, at the beginning of a row, is shown as an empty one."""
        line = next(self._lines)
        note = not self._taken and self.passes_over is not None and self.passes_over.match(line)
        self._taken.append(line)
        self.count += 1
        return "\n" if note else line

    def taken(self) -> str:
        """What was taken since this was asked last."""
        text, self._taken = "".join(self._taken), []
        return text


def _check_names(where: str, names: Sequence[str], columns: Sequence[str], known: Mapping[str, str]) -> None:
    repeated = next((name for name in known.values() or names if name and names.count(name) > 1), None)
    if repeated is not None:
        raise InputError(f"{where}: column {repeated[:_SHOWN]!r} is there twice; keep one of them")
    missing = [name for name in columns if name not in names]
    if missing:
        raise InputError(
            f"{where}: column {', '.join(missing)} is missing; the columns are {', '.join(columns)},"
            f" found was {_listed(names)}"
        )


def named_columns(header: Sequence[str], known: Mapping[str, str], optional: Sequence[str]) -> list[str]:
    """The product's names of columns, others as they are.

    What stands in brackets is no part of an optional one, as in mpp (um/px). Of the others it may change the meaning:
    x (um) is no x.
    """
    names = [known.get(heading_key(cell), cell) for cell in header]
    bare = [known.get(heading_key(_BRACKETS.sub("", cell)), "") for cell in header]
    return [
        other if other in optional and other not in names else name for name, other in zip(names, bare, strict=True)
    ]


def _warn_of_near(where: str, names: Sequence[str], optional: Sequence[str]) -> None:
    """Say which columns are passed over although they are probably meant for ones that may be there and are not."""
    absent = {heading_key(name): name for name in optional if name not in names}
    for name in names:
        near = difflib.get_close_matches(heading_key(name), absent, n=1, cutoff=_NEAR)
        if near:
            logger.warning("%s: column %r is passed over; if it is meant, call it %s", where, name, absent[near[0]])


def heading_key(heading: str) -> str:
    """What a heading is compared by: its letters and digits."""
    return re.sub(r"[\W_]+", "", heading.casefold())


def _listed(names: Sequence[str]) -> str:
    text = ", ".join(filter(None, names))
    return text if len(text) <= 2 * _SHOWN else f"{text[: 2 * _SHOWN]}..."


def _line_at(text: str, place: int) -> int:
    return len(_LINE_END.findall(text, 0, place)) + 1
