"""What may name a file, a folder or a patient on every system, and how names from outside are shown to people.

Names are ASCII where other things are made from them: file systems differ in which forms of a letter they take for the
same one, and what is written on Linux is read on macOS and Windows, by git and by DVC.
"""

import hashlib
import re
import unicodedata
from collections.abc import Iterable

from wsss_mm.errors import spelled_out
from wsss_mm.places import NOTE, OVERVIEW, SLIDES_TABLE

_MAX_NAME = 200  # bytes; a suffix, and the prefix of a temporary file, fit into the 255 that file systems have
_MAX_SAFE = 120  # what is added, such as a place on a slide, fits too
_DIGEST = 12  # hexadecimal digits: among a million names two have the same once in 500 times
_PLAIN = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]*")
_UNSAFE = re.compile(r"[^A-Za-z0-9.-]+")
_OURS = "|".join(map(re.escape, (SLIDES_TABLE, OVERVIEW, NOTE)))
_TAKEN = re.compile(rf"(con|prn|aux|nul|(com|lpt)[\d\xb9\xb2\xb3])(\..*)?|{_OURS}", re.I)
_NOT_IN_FOLDERS = re.compile(r'[<>:"/\\|?*]')
_FORMULA = tuple("=+-@\t\r\uff1d\uff0b\uff0d\uff20")  # the last four are full-width forms of the first
_ZEROS = re.compile(r"(?<!\d)0+(?=\d)")


def is_plain_name(name: object) -> bool:
    """Whether a name from data can name a file on every system, and no other place than the folder it is put into."""
    if not isinstance(name, str) or len(name) > _MAX_NAME or _PLAIN.fullmatch(name) is None:
        return False
    return not name.endswith(".") and _TAKEN.fullmatch(name) is None  # Windows drops the dot, and keeps some names


def composed(name: str) -> str:
    """A name whose letters and accents are single characters, as Linux has them and macOS has not."""
    return unicodedata.normalize("NFC", name)


def safe_name(*parts: str) -> str:
    """A plain name from parts that may hold anything, joined by dashes.

    What is plain stays as it is. Anything else becomes what ASCII can show of it and a digest of the whole, so that
    different names stay different; a name has one result however its letters are composed.
    """
    name = composed("-".join(parts))
    if is_plain_name(name) and len(name) <= _MAX_SAFE:
        return name
    ascii_name = unicodedata.normalize("NFKD", name).encode("ascii", "ignore").decode()
    readable = _UNSAFE.sub("_", ascii_name).strip("._-")[: _MAX_SAFE - _DIGEST - 1]
    digest = hashlib.sha256(name.encode("utf-8", "surrogatepass")).hexdigest()
    return f"{readable or '_'}-{digest[:_DIGEST]}"


def folder_name(name: str) -> str:
    """Name of the folder for what is called `name`.

    It stays as it is where every system can have such a folder, and where a spreadsheet takes it for text; otherwise it
    becomes its `safe_name`.
    """
    name = composed(name)
    shown = name.isprintable() and not _NOT_IN_FOLDERS.search(name) and not name.startswith((".", " ", *_FORMULA))
    kept = bool(name) and not name.endswith((".", " ")) and _TAKEN.fullmatch(name) is None
    return name if shown and kept and len(name.encode()) <= _MAX_NAME else safe_name(name)


def shown_name(name: str) -> str:
    """A file's name as text that can be written and shown anywhere, the same however its letters are composed."""
    return spelled_out(composed(name))


def text_cell(text: str) -> str:
    """Text for a CSV that people open in a spreadsheet: what that would take for a formula gets an apostrophe."""
    return f"'{text}" if text.lstrip("'").startswith(_FORMULA) else text


def cell_text(cell: str) -> str:
    """The text that `text_cell` was given."""
    return cell[1:] if cell.startswith("'") and cell.lstrip("'").startswith(_FORMULA) else cell


def look_alikes(names: Iterable[str]) -> list[list[str]]:
    """Different names that are probably meant to be one.

    They differ only in case, white space, characters that cannot be seen, the form or width of letters, or zeros before
    a number: `P1`, `p1`, `P 1 ` and `P01`.

    Returns:
        Groups of two or more, each sorted.
    """
    groups: dict[str, set[str]] = {}
    for name in names:
        groups.setdefault(likeness(name), set()).add(name)
    return sorted(sorted(group) for group in groups.values() if len(group) > 1)


def likeness(name: str) -> str:
    """What `look_alikes` have in common."""
    folded = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", name).casefold())
    seen = "".join(c for c in folded if not c.isspace() and unicodedata.category(c) not in ("Cc", "Cf"))
    return _ZEROS.sub("", unicodedata.normalize("NFKC", seen))
