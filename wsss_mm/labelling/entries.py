"""Lines of a journal: what may stand in one, and how it is read."""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timezone
from functools import lru_cache
from typing import Any, Literal, NamedTuple, get_args
from uuid import uuid4

from wsss_mm.names import is_plain_name

State = Literal["present", "absent", "unsure"]
STATES: tuple[State, ...] = get_args(State)
"""What a reader says of a class; what was never asked has none of them."""
ARTEFACT_KINDS = ("pen", "fold", "blur", "air", "other")
"""Why nothing can be said of a patch."""
ANSWERS, SKIP, MARK, STEPS = ("answer", "settle"), "skip", "mark", ("undo", "redo")
"""Kinds of entries. A mark wants its patch to be seen again."""
KINDS = (*ANSWERS, SKIP, MARK, *STEPS)
CORRECTION = "correction"
"""How a patch came that somebody found wrongly segmented."""

_HOW = ("created", "confirmed")
_ID = re.compile(r"[0-9a-f]{32}")
_TIME = re.compile(r"[0-9]{4}-[01][0-9]-[0-3][0-9]T[0-2][0-9]:[0-5][0-9]:[0-6][0-9](\.[0-9]{1,6})?Z")
_MOST = 10**9  # level-0 px
_LARGEST = 1e12  # of any number
_LONGEST = 200  # characters of a class's code


class Place(NamedTuple):
    """Where a patch lies: level-0 px of its corner, um/px, and px of its side."""

    slide: str
    x: int
    y: int
    mpp: float
    size: int


@dataclass(frozen=True)
class Answer:
    """What a reader said of a patch.

    Attributes:
        id: Of the entry.
        time: UTC, as the journal has it.
        reader: Who said it.
        place: Of which patch.
        states: Of the classes that were asked, by code.
        artefact: Why nothing can be said of the patch, one of `ARTEFACT_KINDS`; None where something can.
        suggested: Probability of each class that was shown beforehand; None if nothing was.
        how: `confirmed` where the reader took the suggestion as it was.
        seconds: That it took; None where that is not known.
        drawn: What brought the patch before the reader; None where that is not known.
        repeat: It is a second reading of the patch, for the reader's agreement with himself alone.
        settled: It decides a disagreement.
    """

    id: str
    time: str
    reader: str
    place: Place
    states: dict[str, State]
    artefact: str | None = None
    suggested: dict[str, float] | None = None
    how: Literal["created", "confirmed"] = "created"
    seconds: float | None = None
    drawn: str | None = None
    repeat: bool = False
    settled: bool = False


def new_entry(kind: str, **fields: Any) -> dict[str, Any]:
    """An entry with a new id, made now; fields that are None are left out.

    Args:
        kind: One of `KINDS`.
        **fields: The others, as docs/own-labels.md lists them.
    """
    now = datetime.now(timezone.utc).strftime("%Y-%m-%dT%H:%M:%S.%f")[:-3]
    given = {name: value for name, value in fields.items() if value is not None}
    return {"id": uuid4().hex, "time": f"{now}Z", "kind": kind, **given}


def moment(entry: Mapping[str, Any]) -> str:
    """What entries are put into order by."""
    return entry["time"][:-1]  # without Z, or 12:00:00Z came after 12:00:00.5Z


def parsed(line: bytes) -> dict[str, Any]:
    """The object that a line holds.

    Raises:
        ValueError: it holds none.
    """
    text = line.decode("utf-8")
    try:
        content = _DECODER.decode(text)
    except RecursionError:
        raise ValueError("nested too deep") from None
    if not isinstance(content, dict):
        raise ValueError("not a JSON object")
    if "\\u" in text and "\\ud" in text.lower():  # half a surrogate pair is a text that cannot be written
        json.dumps(content, ensure_ascii=False).encode()
    return content


def fault(entry: Mapping[str, Any]) -> str | None:
    """What is wrong with an entry of a known kind; None if nothing is."""
    found = fault_of_name(entry)
    if found is None and entry["kind"] in STEPS:
        of = entry.get("of")
        whole = isinstance(of, list) and of and all(map(is_id, of))
        return None if whole else "of names no entries by their id"
    return found or fault_of_place(entry) or (_fault_of_answer(entry) if entry["kind"] in ANSWERS else None)


def answer_of(entry: Mapping[str, Any], reader: str) -> Answer:
    """The answer that a sound entry holds."""
    return Answer(
        entry["id"],
        entry["time"],
        reader,
        place_of(entry),
        entry.get("classes", {}),
        entry.get("artefact"),
        entry.get("suggested"),
        entry.get("how", "created"),
        entry.get("seconds"),
        entry.get("drawn"),
        entry.get("repeat", False),
        entry["kind"] == "settle",
    )


def place_of(entry: Mapping[str, Any]) -> Place:
    """The patch that a sound answer, settlement, skip or mark is about."""
    return Place(entry["slide"], entry["x"], entry["y"], float(entry["mpp"]), entry["size"])


def is_id(name: object) -> bool:
    """Whether something is the id of an entry, a request or an area: 32 hexadecimal digits."""
    return isinstance(name, str) and _ID.fullmatch(name) is not None


def fault_of_name(entry: Mapping[str, Any]) -> str | None:
    """What is wrong with the id or the time of an entry of any kind; None if nothing is."""
    if not is_id(entry.get("id")):
        return "id is not 32 hexadecimal digits"
    if not (isinstance(entry.get("time"), str) and _TIME.fullmatch(entry["time"])):
        return "time is none, such as 2026-11-26T12:00:00.123Z"
    return None


def fault_of_place(entry: Mapping[str, Any]) -> str | None:
    """What is wrong with the place of an answer, settlement, skip or mark; None if nothing is."""
    if not (isinstance(slide := entry.get("slide"), str) and _is_slide(slide)):
        return "slide is no slide_id"
    for name in ("x", "y"):
        if type(value := entry.get(name)) is not int or not 0 <= value <= _MOST:
            return f"{name} is no position in level-0 px"
    if not _is_number(entry.get("mpp")) or entry["mpp"] <= 0:
        return "mpp is no size of a pixel in um"
    if type(size := entry.get("size")) is not int or not 0 < size <= _MOST:
        return "size is none in px"
    return None


def _fault_of_answer(entry: Mapping[str, Any]) -> str | None:
    states, artefact = entry.get("classes", {}), entry.get("artefact")
    if not isinstance(states, dict) or not all(0 < len(code) <= _LONGEST for code in states):
        return "classes is no table of classes"
    for code, state in states.items():
        if state not in STATES:
            return f"{code} is {str(state)[:20]!r}, none of {', '.join(STATES)}"
    if artefact is not None and artefact not in ARTEFACT_KINDS:
        return f"artefact is none of {', '.join(ARTEFACT_KINDS)}"
    if not states and artefact is None:
        return "it says neither of a class nor of an artefact"
    return _fault_of_circumstances(entry)


def _fault_of_circumstances(entry: Mapping[str, Any]) -> str | None:
    shown, seconds, drawn = entry.get("suggested"), entry.get("seconds"), entry.get("drawn")
    if shown is not None and not isinstance(shown, dict):
        return "suggested is no table of probabilities"
    if shown and not all(_is_number(value) and 0 <= value <= 1 for value in shown.values()):
        return "suggested holds what is no probability"
    if entry.get("how", "created") not in _HOW:
        return f"how is none of {', '.join(_HOW)}"
    if seconds is not None and not (_is_number(seconds) and seconds >= 0):
        return "seconds is no time"
    if drawn is not None and not isinstance(drawn, str):
        return "drawn is no text"
    return None if isinstance(entry.get("repeat", False), bool) else "repeat is neither true nor false"


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) <= _LARGEST  # NaN is not


def _no_number(text: str) -> None:
    raise ValueError(f"{text} is no number of JSON")


_DECODER = json.JSONDecoder(parse_constant=_no_number)  # made once: a journal may have a million lines
_is_slide = lru_cache(maxsize=1024)(is_plain_name)
