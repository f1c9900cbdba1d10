"""A page as PDF on A4: text that can be searched and copied, in a font that is in the file.

Matplotlib draws it, which is there in any case and embeds fonts; what programs for documents have besides (outlines,
forms) is not needed here.
"""

import logging
import re
from collections.abc import Sequence
from dataclasses import replace
from functools import cache
from itertools import zip_longest
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.backends.backend_pdf import PdfPages
from matplotlib.figure import Figure
from matplotlib.ft2font import FT2Font
from matplotlib.patches import Rectangle
from PIL import Image, ImageFont

from wsss_mm.findings.document import (
    Block,
    Bullets,
    Cell,
    Color,
    Document,
    Facts,
    Gallery,
    Heading,
    PageTable,
    Pixels,
    Shot,
    Signature,
    Text,
)

_WIDE, _HIGH = 595.28, 841.89  # pt, A4
_LEFT, _TOP, _BOTTOM = 51.0, 48.0, 56.0
_ROOM = _WIDE - 2 * _LEFT
_LINE = 1.36  # of a font's size
_INK, _FAINT, _RULE, _ACCENT, _ALARM = "#1f2328", "#5c6370", "#d9dce1", "#2f4f7f", "#a01818"
_PLAIN, _SMALL = 9.0, 7.4  # pt
_GAP, _SIGNED = 9.0, 122.0  # between pictures; a signature, with the small print below
_PER_INCH = 150  # px of a picture
_COLOURS = 255  # of a picture: more would be stored at three times the size
_SETTINGS: Any = {"pdf.fonttype": 42, "pdf.compression": 9, "font.family": "DejaVu Sans", "text.parse_math": False}


def write_pdf(document: Document, path: Path) -> None:
    """Write a document; equal documents give equal bytes."""
    logging.getLogger("fontTools").setLevel(logging.WARNING)  # not ten lines for each letter
    with mpl.rc_context(_SETTINGS):
        sheets = _Sheets(document)
        for block, following in zip_longest(document.blocks, document.blocks[1:]):
            sheets.add(block, following)
        about = {"Title": document.title, "Subject": document.below, "Creator": "wsss_mm", "CreationDate": None}
        with PdfPages(path, metadata=about) as pages:
            for number, sheet in enumerate(sheets.sheets, start=1):
                sheets.foot(sheet, number)
                pages.savefig(sheet)


class _Sheets:
    """Sheets of paper that are filled from top to bottom."""

    def __init__(self, document: Document) -> None:
        self.document = document
        self.sheets: list[Figure] = []
        self.at = 0.0
        self._new()
        self._write(document.title, _LEFT, _ROOM, 16, bold=True)
        self._write(document.below, _LEFT, _ROOM, _PLAIN, color=_FAINT)
        self.at += 10

    def add(self, block: Block, following: Block | None = None) -> None:
        """Draw a block below what is there; a heading where the beginning of what follows has room, too."""
        if isinstance(block, Heading):
            self._need(38 + self._begins(following))
        getattr(self, f"_{type(block).__name__.lower()}")(block)

    def foot(self, sheet: Figure, number: int) -> None:
        """Say at the foot of a sheet what it belongs to."""
        self._rectangle(_LEFT, _HIGH - _BOTTOM + 14, _ROOM, 0.5, _RULE, sheet=sheet)
        where = f"{number} of {len(self.sheets)}"
        room = _ROOM - _length(where, _SMALL) - 20
        title = _wrapped(f"{self.document.title}. {self.document.below}", room, _SMALL)[0]
        self._put(title, _LEFT, _HIGH - _BOTTOM + 28, _SMALL, color=_FAINT, sheet=sheet)
        self._put(where, _LEFT + _ROOM, _HIGH - _BOTTOM + 28, _SMALL, color=_FAINT, right=True, sheet=sheet)

    # -- blocks --------------------------------------------------------------------------------------------------------

    def _begins(self, block: Block | None) -> float:
        """How high the part of a block is that is not to stand apart from its heading."""
        if isinstance(block, Gallery):
            return self._gallery_row(block, 0)[-1]
        return _SIGNED if isinstance(block, Signature) else 45.0

    def _heading(self, block: Heading) -> None:
        self.at += 12 if self.at > _TOP else 0
        self._write(block.text, _LEFT, _ROOM, 11.5, bold=True, color=_ACCENT)
        self._rectangle(_LEFT, self.at + 1, _ROOM, 1.2, _ACCENT)
        self.at += 8

    def _text(self, block: Text) -> None:
        if block.kind == "alarm":
            self._alarm(block.text)
            return
        small = block.kind == "small"
        self._paragraph(block.text, _LEFT, _ROOM, _SMALL if small else _PLAIN, color=_FAINT if small else _INK)
        self.at += 5

    def _paragraph(self, text: str, left: float, room: float, size: float, **how: Any) -> None:
        """Lines that go on over the page's end."""
        for line in _wrapped(text, room, size, bold=how.get("bold", False)):
            self._need(size * _LINE)
            self._write(line, left, _WIDE, size, **how)

    def _write(self, text: str, left: float, room: float, size: float, **how: Any) -> None:
        for line in _wrapped(text, room, size, bold=how.get("bold", False)):
            self.at += size * _LINE
            self._put(line, left, self.at - 0.32 * size, size, **how)

    def _alarm(self, text: str) -> None:
        lines = _wrapped(text, _ROOM - 20, _PLAIN, bold=True)
        high = len(lines) * _PLAIN * _LINE + 10
        self._need(high + 6)
        self._rectangle(_LEFT, self.at, _ROOM, high, "#fdf1f0")
        self._rectangle(_LEFT, self.at, 3, high, _ALARM)
        self.at += 4
        self._write(text, _LEFT + 12, _ROOM - 20, _PLAIN, bold=True, color=_ALARM)
        self.at += 12

    def _bullets(self, block: Bullets) -> None:
        for item in block.items:
            self._need(_PLAIN * _LINE * 2)
            self._put("\u2022", _LEFT + 3, self.at + _PLAIN * (_LINE - 0.32), _PLAIN)
            self._paragraph(item, _LEFT + 14, _ROOM - 14, _PLAIN)
            self.at += 2

    def _facts(self, block: Facts) -> None:
        for name, value in block.rows:
            lines = _wrapped(value, _ROOM - 130, _PLAIN, bold=True)
            self._need(len(lines) * _PLAIN * _LINE + 2)
            self._put(name, _LEFT, self.at + _PLAIN * (_LINE - 0.32), _PLAIN, color=_FAINT)
            self._write(value, _LEFT + 130, _ROOM - 130, _PLAIN, bold=True)
            self.at += 2
        self.at += 8

    def _pagetable(self, block: PageTable) -> None:
        widths = [share * _ROOM for share in block.widths]
        size = 8.2
        head = _Row([Cell(text) for text in block.head], widths, size, numbers=block.numbers, bold=True)
        first = True
        for row in (_Row(cells, widths, size, numbers=block.numbers) for cells in block.rows):
            if first or not self._fits(row.high):
                self._need(head.high + row.high)
                self._row(head, _INK, bottom=True)
                first = False
            self._row(row, _RULE)
        self.at += 10

    def _row(self, row: "_Row", rule: str, *, bottom: bool = False) -> None:
        for left, lines, cell, right in row.cells:
            lower = (row.high - 7 - len(lines) * row.size * _LINE) if bottom else 0
            for number, line in enumerate(lines, start=1):
                y = self.at + 3 + lower + row.size * (_LINE * number - 0.32)
                how = {"color": _FAINT if row.bold else _INK, "bold": row.bold}
                self._put(line, _LEFT + left, y, row.size, right=right, **how)
            if cell.color is not None:
                self._swatch(cell.color, _LEFT + left - 13, self.at + 5)
        self.at += row.high
        self._rectangle(_LEFT, self.at - 0.7, _ROOM, 0.7, rule)

    def _gallery(self, block: Gallery) -> None:
        for first in range(0, len(block.shots), block.columns):
            part = block.shots[first : first + block.columns]
            wide, sizes, high = self._gallery_row(block, first)
            self._need(high)
            top = self.at
            for number, (shot, (width, height)) in enumerate(zip(part, sizes, strict=True)):
                left = _LEFT + number * (wide + _GAP) + ((wide - width) / 2 if block.columns == 1 else 0)
                self._picture(shot, left, top, width, height)
                self.at = top + height + 3
                indent = 13 if shot.color else 0
                if shot.color is not None:
                    self._swatch(shot.color, left, self.at + 2)
                self._write(shot.caption, left + indent, wide - indent, _SMALL)
            self.at = top + high

    def _gallery_row(self, block: Gallery, first: int) -> tuple[float, list[tuple[float, float]], float]:
        """Room for a picture, how large those of a row are, and how high all of it is."""
        part = block.shots[first : first + block.columns]
        wide = (_ROOM - _GAP * (block.columns - 1)) / block.columns
        most = 300.0 if block.columns == 1 else 1.25 * wide
        sizes = [_fitted(shot.picture, wide, most) for shot in part]
        under = [_wrapped(shot.caption, wide - (13 if shot.color else 0), _SMALL) for shot in part]
        return wide, sizes, max(size[1] for size in sizes) + max(map(len, under)) * _SMALL * _LINE + 12

    def _signature(self, block: Signature) -> None:
        self._need(_SIGNED)
        self._rectangle(_LEFT, self.at + 2, _ROOM, 46, "white", edge=_RULE)
        self._put("Remarks", _LEFT + 6, self.at + 13, _SMALL, color=_FAINT)
        self.at += 88
        shares = (0.4, 0.2, 0.4)
        left, room = _LEFT, _ROOM - 2 * _GAP * (len(block.fields) - 1)
        for name, share in zip(block.fields, shares, strict=False):
            self._rectangle(left, self.at, share * room, 0.7, _INK)
            self._put(name, left, self.at + 11, _SMALL, color=_FAINT)
            left += share * room + 2 * _GAP
        self.at += 20

    # -- marks on paper ------------------------------------------------------------------------------------------------

    def _new(self) -> None:
        self.sheets.append(Figure(figsize=(_WIDE / 72, _HIGH / 72)))
        self.at = _TOP

    def _fits(self, high: float) -> bool:
        return self.at + high <= _HIGH - _BOTTOM

    def _need(self, high: float) -> None:
        """Go on with a new sheet where so much does not fit."""
        if not self._fits(high) and self.at > _TOP:
            self._new()

    def _put(self, text: str, x: float, y: float, size: float, **how: Any) -> None:
        sheet = how.get("sheet") or self.sheets[-1]
        weight, align = "bold" if how.get("bold") else "normal", "right" if how.get("right") else "left"
        sheet.text(
            *(x / _WIDE, 1 - y / _HIGH),
            _drawable(text),
            fontsize=size,
            color=how.get("color", _INK),
            weight=weight,
            ha=align,
            va="baseline",
        )

    def _rectangle(
        self,
        x: float,
        y: float,
        wide: float,
        high: float,
        color: Any,
        *,
        sheet: Figure | None = None,
        edge: str = "none",
    ) -> None:
        sheet = sheet or self.sheets[-1]
        corner = (x / _WIDE, 1 - (y + high) / _HIGH)
        how: dict[str, Any] = {"facecolor": color, "edgecolor": edge, "linewidth": 0.6, "transform": sheet.transFigure}
        sheet.add_artist(Rectangle(corner, wide / _WIDE, high / _HIGH, **how))

    def _swatch(self, color: Color, x: float, y: float) -> None:
        self._rectangle(x, y, 8, 8, tuple(channel / 255 for channel in color), edge="#555555")

    def _picture(self, shot: Shot, x: float, y: float, wide: float, high: float) -> None:
        sheet = self.sheets[-1]
        axes = sheet.add_axes((x / _WIDE, 1 - (y + high) / _HIGH, wide / _WIDE, high / _HIGH))
        axes.set_axis_off()
        size = max(1, round(wide / 72 * _PER_INCH)), max(1, round(high / 72 * _PER_INCH))
        axes.imshow(_flat(shot.picture, size), interpolation="none", aspect="auto")


class _Row:
    """A row of a table, its cells in lines."""

    def __init__(
        self, cells: Sequence[Cell], widths: Sequence[float], size: float, *, numbers: bool, bold: bool = False
    ) -> None:
        self.size, self.bold = size, bold
        self.cells: list[tuple[float, list[str], Cell, bool]] = []
        left = 0.0
        for index, (cell, width) in enumerate(zip(cells, widths, strict=True)):
            right = numbers and index > 0
            indent = 14.0 if cell.color is not None else 0.0
            lines = _wrapped(cell.text, width - 8 - indent, size, bold=bold)
            self.cells.append((left + width - 2 if right else left + 2 + indent, lines, replace(cell), right))
            left += width
        self.high = max(len(lines) for _, lines, _, _ in self.cells) * size * _LINE + 7


def _fitted(picture: Pixels, wide: float, high: float) -> tuple[float, float]:
    factor = min(wide / picture.shape[1], high / picture.shape[0])
    return picture.shape[1] * factor, picture.shape[0] * factor


def _flat(picture: Pixels, size: tuple[int, int]) -> Pixels:
    """A picture in few colours, at most as large as can be seen."""
    image = Image.fromarray(picture)
    if size[0] < image.width:
        image = image.resize(size, Image.Resampling.LANCZOS)
    return np.asarray(image.quantize(_COLOURS).convert("RGB"))


def _wrapped(text: str, room: float, size: float, *, bold: bool = False) -> list[str]:
    """A text in lines that fit into a room, pt; words that do not are cut, behind a hyphen if there is one."""

    def fits(part: str) -> bool:
        return _length(part, size, bold=bold) <= room

    lines = [""]
    for word in filter(None, re.split(r"[ \t\r\n]+", _drawable(text))):  # not at spaces that hold together
        longer = f"{lines[-1]} {word}".strip(" ")
        if fits(longer):
            lines[-1] = longer
            continue
        rest = word
        if lines[-1]:
            lines.append("")
        while not fits(rest) and len(rest) > 1:
            cut = next((end for end in range(len(rest) - 1, 0, -1) if fits(rest[:end])), 1)
            cut = rest.rfind("-", 1, cut) + 1 or cut
            lines[-1] = rest[:cut]
            lines.append("")
            rest = rest[cut:]
        lines[-1] = rest
    return lines


def _length(text: str, size: float, *, bold: bool = False) -> float:
    """How long a text is, pt."""
    return _measure(bold).getlength(text) * size / 100


@cache
def _measure(bold: bool) -> ImageFont.FreeTypeFont:
    return ImageFont.truetype(str(_font_file(bold)), 100)


def _font_file(bold: bool) -> Path:
    return Path(mpl.get_data_path()) / "fonts/ttf" / ("DejaVuSans-Bold.ttf" if bold else "DejaVuSans.ttf")


@cache
def _known() -> frozenset[int]:
    return frozenset(FT2Font(str(_font_file(bold=True))).get_charmap()) & frozenset(
        FT2Font(str(_font_file(bold=False))).get_charmap()
    )


def _drawable(text: str) -> str:
    """A text whose letters the font has; others show that there is one."""
    return "".join(letter if ord(letter) in _known() or letter.isspace() else "\ufffd" for letter in text)
