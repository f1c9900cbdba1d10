"""What is asked of every parser: a valid object, or one line that names the file; and of every page: no harm."""

import re
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from html.parser import HTMLParser
from pathlib import Path
from random import Random

from wsss_mm.errors import InputError

SAFE_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]*")


@dataclass(frozen=True)
class Target:
    """A parser.

    Attributes:
        name: for the table of findings.
        make: an input from a generator of random numbers.
        check: parses the input; works in an empty folder of its own.
        weight: share of the inputs, against the other targets': fast parsers get many.
    """

    name: str
    make: Callable[[Random], bytes]
    check: Callable[[bytes, Path], None]
    weight: int


def empty(folder: Path) -> None:
    """Remove what an input left in its folder; links, not what they lead to."""
    for entry in folder.iterdir():
        shutil.rmtree(entry) if entry.is_dir() and not entry.is_symlink() else entry.unlink()


@contextmanager
def one_line(*names: str) -> Iterator[None]:
    """An `InputError` inside is fine if it is one line that says one of the names."""
    try:
        yield
    except InputError as error:
        text = str(error)
        assert "\n" not in text and "\r" not in text and "\x00" not in text, f"more than a line: {text!r}"
        assert any(name in text for name in names), f"names no file: {text!r}"
        assert len(text) < 4000, f"{len(text)} characters"
        text.encode("utf-8", "strict")


def written(folder: Path, name: str, data: bytes) -> Path:
    """The data as a file."""
    path = folder / name
    path.write_bytes(data)
    return path


class _Tags(HTMLParser):
    """Collects elements and attributes that could run or fetch something."""

    def __init__(self, allowed: frozenset[str]) -> None:
        super().__init__()
        self.allowed, self.bad = allowed, []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.bad += [tag] if tag not in self.allowed else []
        for name, value in attrs:
            outside = re.match(r"\s*(javascript|https?|//|data:(?!image/(png|webp);base64,|,$|$))", value or "", re.I)
            if name.startswith("on") or (name in ("href", "src") and outside):
                self.bad.append(f"{tag} {name}={value}")


_PAGE = frozenset(
    [
        "html",
        "head",
        "meta",
        "title",
        "style",
        "body",
        "h1",
        "h2",
        "h3",
        "p",
        "nav",
        "a",
        "b",
        "span",
        "br",
        "small",
        "div",
        "img",
        "figure",
        "figcaption",
    ]
)
_PAGE |= frozenset(
    [
        "details",
        "summary",
        "ul",
        "li",
        "table",
        "thead",
        "tbody",
        "tfoot",
        "tr",
        "th",
        "td",
        "code",
        "dl",
        "dt",
        "dd",
        "header",
        "main",
        "section",
        "link",
    ]
)
_VIEWER = _PAGE | frozenset(["script", "label", "select", "option", "input", "output", "aside", "button", "dialog"])


def harmless(page: str, viewer: bool = False) -> None:
    """No element, handler or address that the templates do not have themselves."""
    tags = _Tags(_VIEWER if viewer else _PAGE)
    tags.feed(page)
    tags.close()
    assert not tags.bad, tags.bad[:3]
