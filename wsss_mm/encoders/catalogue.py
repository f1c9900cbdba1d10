"""`encoders.yaml`: which encoders there are. The project's own file adds to the shipped ones, or overrules them."""

import json
from functools import lru_cache
from pathlib import Path
from typing import Any

from wsss_mm.encoders.encoder import Encoder
from wsss_mm.errors import InputError
from wsss_mm.names import is_plain_name
from wsss_mm.places import ENCODERS_FILE
from wsss_mm.yaml_places import Document, Place, parse, suggestion

DEFAULT = "resnet38"

_SHIPPED = Path(__file__).with_name(ENCODERS_FILE)  # in a checkout a link to the project's


def get_encoder(name: str) -> Encoder:
    """The encoder called `name`.

    Raises:
        InputError: there is none of that name, or see `read_encoders`.
    """
    found = encoders()
    if name not in found:
        raise InputError(absent(name))
    return found[name]


def encoders() -> dict[str, Encoder]:
    """All that there are, by name: those that are shipped, and the project's own, which overrule those.

    Raises:
        InputError: see `read_encoders`.
    """
    own = Path(ENCODERS_FILE)
    return read_encoders(_SHIPPED) | (read_encoders(own) if own.is_file() else {})


def absent(name: str) -> str:
    """What to say where there is no encoder called `name`."""
    names = sorted(encoders())
    near = suggestion(str(name), names) or f"; choose from {', '.join(names)}"
    return f"no encoder {str(name)[:40]!r}{near}, or describe it in {ENCODERS_FILE}"


def read_encoders(path: Path) -> dict[str, Encoder]:
    """Read and check the encoders that a YAML file describes.

    Raises:
        InputError: it is missing or no YAML, an encoder lacks something, or has it of the wrong kind; the message gives
            the line.
    """
    try:
        state = path.stat()
        return dict(_read(path, state.st_mtime_ns, state.st_size, state.st_ino))
    except FileNotFoundError:
        raise InputError(f"{path}: not found; restore it with git checkout") from None
    except OSError as error:
        raise InputError(f"{path}: not readable: {error.strerror}") from None


@lru_cache(maxsize=8)
def _read(path: Path, *_state: int) -> dict[str, Encoder]:
    """The encoders of a file that is in a state: it is parsed once for as long as it stays as it is."""
    import yaml

    try:
        document = parse(path.read_text(encoding="utf-8-sig"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: not valid YAML: {' '.join(str(error).split())}") from None
    if document.content is None:  # a file of comments
        return {}
    if not isinstance(document.content, dict):
        raise InputError(f"{path}: describes no encoders; give each a name, and below it what it is")
    return {name: _encoder(path, document, name, row) for name, row in document.content.items()}


def _encoder(path: Path, document: Document, name: Any, row: Any) -> Encoder:
    from pydantic import TypeAdapter, ValidationError

    def fault(place: Place, says: str) -> InputError:
        named = ".".join(str(part)[:80] for part in (name, *place))
        return InputError(f"{path}: line {document.line((name, *place))}: {named}: {says}")

    if not (isinstance(name, str) and is_plain_name(name)):
        raise fault((), "is no encoder's name; use letters, digits, - and _")
    if not isinstance(row, dict):
        raise fault((), "says nothing of the encoder; give loader, architecture, stages and licence")
    if "name" in row:
        raise fault(("name",), "stands above the row already; leave this out")
    try:
        encoder = _adapter(TypeAdapter).validate_json(json.dumps({**row, "name": name}, default=str), strict=True)
    except ValidationError as error:
        first = sorted(error.errors(), key=lambda item: item["type"] == "missing")[0]
        place = tuple(first["loc"])
        raise fault(place, _explained(first)) from None
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
