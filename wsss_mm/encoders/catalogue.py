"""`encoders.yaml`: which encoders there are. The project's own file adds to the shipped ones, or overrules them."""

import json
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

from wsss_mm.encoders.encoder import Encoder
from wsss_mm.errors import InputError
from wsss_mm.names import is_plain_name
from wsss_mm.places import ENCODERS_FILE
from wsss_mm.yaml_places import Place, YamlDocument, read, suggestion

DEFAULT = "resnet38"

_AGAIN = "restore it with git checkout"
_SHIPPED = Path(__file__).with_name(ENCODERS_FILE)  # in a checkout a link to the project's


def get_encoder(name: str) -> Encoder:
    """The encoder called `name`.

    Raises:
        InputError: there is none of that name, or see `read_encoders`.
    """
    found = encoders()
    if name not in found:
        raise InputError(unknown_encoder(name))
    return found[name]


def encoders() -> dict[str, Encoder]:
    """All that there are, by name: those that are shipped, and the project's own, which overrule those key by key.

    Raises:
        InputError: see `read_encoders`.
    """
    own = Path(ENCODERS_FILE)
    return read_encoders(_SHIPPED, own) if own.is_file() and not own.samefile(_SHIPPED) else read_encoders(_SHIPPED)


def unknown_encoder(name: str) -> str:
    """What to say where there is no encoder called `name`."""
    names = sorted(encoders())
    near = suggestion(str(name), names) or f"; choose from {', '.join(names)}"
    return f"no encoder {str(name)[:40]!r}{near}, or describe it in {ENCODERS_FILE}"


def read_encoders(*paths: Path) -> dict[str, Encoder]:
    """Read and check the encoders that YAML files describe, each of which adds to those before it.

    Raises:
        InputError: one is missing or no YAML, an encoder lacks something, or has it of the wrong kind; the message
            gives the line.
    """
    return dict(_read(*((path, *_state(path)) for path in paths)))


def _state(path: Path) -> tuple[int, int, int]:
    """What tells that a file has changed."""
    try:
        state = path.stat()
    except FileNotFoundError:
        raise InputError(f"{path}: not found; {_AGAIN}") from None
    except OSError as error:
        raise InputError(f"{path}: not readable: {error.strerror}") from None
    return state.st_mtime_ns, state.st_size, state.st_ino


@lru_cache(maxsize=8)
def _read(*files: tuple[Path, int, int, int]) -> dict[str, Encoder]:
    """The encoders of files that are in a state: they are parsed once for as long as they stay as they are."""
    rows: dict[Any, dict[str, Any]] = {}
    found: dict[str, Encoder] = {}
    for path, *_ in files:
        document = _parsed(path)
        for name, row in document.content.items():
            says = _Fault(document, name)
            rows[name] = {**rows.get(name, {}), **_checked_row(says, name, row)}
            found[name] = _encoder(says, {**rows[name], "name": name})
    return found


def _parsed(path: Path) -> YamlDocument:
    document = read(path, absent=_AGAIN)
    if document.content is None:  # a file of comments
        return replace(document, content={})
    if not isinstance(document.content, dict):
        raise InputError(f"{path}: describes no encoders; give each a name, and below it what it is")
    return document


@dataclass(frozen=True)
class _Fault:
    """Says what is wrong with an encoder, and where that stands."""

    document: YamlDocument
    name: Any

    def __call__(self, place: Place, says: str) -> InputError:
        whole = (self.name, *place)
        named = ".".join(str(part)[:80] for part in whole)
        return self.document.fault(whole, f"{named}: {says}")


def _checked_row(fault: _Fault, name: Any, row: Any) -> dict[str, Any]:
    if not (isinstance(name, str) and is_plain_name(name)):
        raise fault((), "is no encoder's name; use letters, digits, - and _")
    if not isinstance(row, dict):
        raise fault((), "says nothing of the encoder; give loader, architecture, stages and licence")
    if "name" in row:
        raise fault(("name",), "stands above the row already; leave this out")
    return row


def _encoder(fault: _Fault, row: dict[str, Any]) -> Encoder:
    from pydantic import TypeAdapter, ValidationError

    try:
        encoder = _adapter(TypeAdapter).validate_json(json.dumps(row, default=str), strict=True)
    except ValidationError as error:
        first = sorted(error.errors(), key=lambda item: item["type"] == "missing")[0]
        raise fault(tuple(first["loc"]), _explained(first)) from None
    for key, says in encoder.disagreements():
        raise fault(tuple(key.split(".", 1)), says)
    return encoder


@lru_cache(maxsize=1)
def _adapter(kind: Any) -> Any:
    return kind(Encoder)


def _explained(item: Any) -> str:
    """Words for one of pydantic's errors."""
    if item["type"] in ("unexpected_keyword_argument", "extra_forbidden"):
        known = list(Encoder.__dataclass_fields__)
        return f"is nothing of an encoder{suggestion(str(item['loc'][-1]), known)}"
    if item["type"] in ("missing", "missing_argument"):
        return "is missing"
    value = "null" if item["input"] is None else " ".join(str(item["input"]).split())[:40] or "empty"
    return f"{item['msg']}, but it is {value}"
