"""What stands on a page, before it is HTML or PDF: the same for both."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
import numpy.typing as npt

Pixels = npt.NDArray[np.uint8]
Color = tuple[int, int, int]


@dataclass(frozen=True)
class Heading:
    """Begins a section."""

    text: str


@dataclass(frozen=True)
class Text:
    """A paragraph; `alarm` is to be seen before all else, `small` is small print."""

    text: str
    kind: Literal["plain", "small", "alarm"] = "plain"


@dataclass(frozen=True)
class Bullets:
    """A list of sentences."""

    items: Sequence[str]


@dataclass(frozen=True)
class Facts:
    """Names and values, in two columns."""

    rows: Sequence[tuple[str, str]]


@dataclass(frozen=True)
class Cell:
    """Of a table: its text, with a patch of colour before it, or leading to another page."""

    text: str
    color: Color | None = None
    link: str | None = None


@dataclass(frozen=True)
class PageTable:
    """A table, whose head is said again on each page; the first column is text, the others are as `numbers` says.

    Attributes:
        head: what is above the columns.
        rows: a cell for each.
        widths: shares of the page's width.
        numbers: whether columns other than the first are set to the right.
    """

    head: Sequence[str]
    rows: Sequence[Sequence[Cell]]
    widths: Sequence[float]
    numbers: bool = True


@dataclass(frozen=True)
class Shot:
    """A picture (H, W, 3) with what is below it; `color` marks its class."""

    picture: Pixels
    caption: str
    color: Color | None = None


@dataclass(frozen=True)
class Gallery:
    """Pictures side by side, `columns` a row."""

    shots: Sequence[Shot]
    columns: int


@dataclass(frozen=True)
class Signature:
    """Room for a judgement, a name, a date and a signature."""

    fields: Sequence[str] = ("Name", "Date", "Signature")


Block = Heading | Text | Bullets | Facts | PageTable | Gallery | Signature


@dataclass(frozen=True)
class Document:
    """A page, or as many as it takes.

    Attributes:
        title: at its top, and at the foot of each page.
        below: a line beneath.
        blocks: in their order.
    """

    title: str
    below: str
    blocks: Sequence[Block] = field(default_factory=tuple)
