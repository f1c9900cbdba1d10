"""What the page sends, checked: nothing of it is taken for what it says before that."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from wsss_mm.errors import InputError
from wsss_mm.labelling.entries import fault_of_place
from wsss_mm.labelling.journal import ARTEFACT_KINDS, STATES
from wsss_mm.labelling.posted import request_id, seconds_of
from wsss_mm.vocabulary import Vocabulary
from wsss_mm.web.label.doors import DRAWN

MOST_ROWS = 5000
_PLACE = ("slide", "x", "y", "mpp", "size")


@dataclass(frozen=True)
class Said:
    """An answer, a settlement or a skip.

    Attributes:
        request: the page's name of it.
        rows: the patches.
        content: what entries of a journal say of all of them.
        each: what they say of each, in the order of `rows`.
        drawn: how the page says they came, or None.
        ticket: what the queue said of them, as the page has it.
        shown: whether a suggestion was shown.
        confirmed: whether the reader took it as it was.
    """

    request: str
    rows: list[int]
    content: dict[str, Any]
    each: list[dict[str, Any]]
    drawn: str | None
    ticket: object
    shown: bool
    confirmed: bool


def rows_of(body: Mapping[str, Any], count: int) -> list[int]:
    """Rows of candidates, each once.

    Raises:
        InputError: they are none.
    """
    rows: Any = body["rows"] if "rows" in body else [body.get("row")]
    if not (isinstance(rows, list) and 0 < len(rows) <= MOST_ROWS):
        raise InputError(f"rows is no list of 1 to {MOST_ROWS} patches; choose fewer")
    if not all(type(row) is int and 0 <= row < count for row in rows) or len(set(rows)) != len(rows):
        raise InputError("rows holds what is no patch, or one twice; reload the page")
    return rows


def read_answer(body: Mapping[str, Any], count: int, vocabulary: Vocabulary) -> Said:
    """An answer or a settlement.

    Raises:
        InputError: it is none.
    """
    skip = read_skip(body, count)
    artefact = body.get("artefact") or None
    if artefact is not None and artefact not in ARTEFACT_KINDS:
        raise InputError(f"artefact is none of {', '.join(ARTEFACT_KINDS)}; reload the page")
    classes = _classes(body.get("classes") or {}, vocabulary)
    own = body.get("each") or {}
    if not isinstance(own, dict) or not set(own) <= {str(row) for row in skip.rows}:
        raise InputError("each names what is none of the rows; reload the page")
    of_rows = [_classes(own[str(row)], vocabulary) if str(row) in own else classes for row in skip.rows]
    if artefact is None and not all(of_rows):
        raise InputError("an answer says neither of a class nor of an artefact; choose one")
    return Said(
        skip.request,
        skip.rows,
        {**skip.content, "artefact": artefact},
        [{"classes": states} for states in of_rows],
        skip.drawn,
        skip.ticket,
        shown=bool(body.get("suggested")),
        confirmed=body.get("how") == "confirmed",
    )


def read_skip(body: Mapping[str, Any], count: int) -> Said:
    """Patches that a reader passes over.

    Raises:
        InputError: they are none.
    """
    rows = rows_of(body, count)
    seconds = seconds_of(body)
    drawn = body.get("drawn")
    if drawn is not None and drawn not in DRAWN:
        raise InputError(f"drawn is none of {', '.join(DRAWN)}; reload the page")
    content = {"seconds": seconds}
    each: list[dict[str, Any]] = [{} for _ in rows]
    return Said(request_id(body), rows, content, each, drawn, body.get("ticket"), shown=False, confirmed=False)


def read_places(body: Mapping[str, Any], count: int, slides: Collection[str]) -> list[dict[str, Any]]:
    """Where so many patches are, of a page whose list of them is an older one.

    Raises:
        InputError: they are none, or on no slide of the cohort.
    """
    given = body.get("places")
    if not (isinstance(given, list) and len(given) == count and all(isinstance(item, dict) for item in given)):
        raise InputError("places are not those of the rows; reload the page")
    found = [{name: item.get(name) for name in _PLACE} for item in given]
    for place in found:
        if wrong := fault_of_place(place):
            raise InputError(f"places: {wrong}; reload the page")
        if place["slide"] not in slides:
            raise InputError(f"slide {place['slide']} is not in the cohort any more; add it again")
    return found


def _classes(given: object, vocabulary: Vocabulary) -> dict[str, str]:
    if not isinstance(given, dict):
        raise InputError("classes is no table of classes; reload the page")
    for code, state in given.items():
        if code not in vocabulary.codes:
            raise InputError(f"{str(code)[:40]!r} is no class; choose of {', '.join(vocabulary.codes)}")
        if state not in STATES:
            raise InputError(f"{code} is none of {', '.join(STATES)}; reload the page")
    return {code: given[code] for code in vocabulary.codes if code in given}


def read_number(arguments: Mapping[str, str], name: str, default: int, most: int) -> int:
    """A whole number of an address, no more than `most`.

    Raises:
        InputError: it is none.
    """
    text = arguments.get(name) or str(default)
    if not (text.isascii() and text.isdigit() and len(text) < 12):
        raise InputError(f"{name} is no number; reload the page")
    return min(int(text), most)


def read_rows(text: str) -> list[int]:
    """Rows of candidates as an address lists them.

    Raises:
        InputError: they are no numbers.
    """
    parts = [part for part in text.split(",") if part]
    if not all(part.isascii() and part.isdigit() and len(part) < 12 for part in parts):
        raise InputError("rows are numbers with commas between them; reload the page")
    return [int(part) for part in parts]


def read_polygon(given: object) -> npt.NDArray[np.float64]:
    """Corners (N, 2) of what was drawn around points of the map.

    Raises:
        InputError: they are none.
    """
    corners: Any
    try:
        corners = np.asarray(given, dtype=np.float64)
    except (ValueError, TypeError, OverflowError):
        corners = np.zeros((0, 2))
    if corners.ndim != 2 or corners.shape[1] != 2 or not 3 <= len(corners) <= 10_000 or not np.isfinite(corners).all():
        raise InputError("polygon is no list of three or more places; draw it anew")
    return corners
