"""`sources.yaml`: which data sets there are. The project's own file adds to the shipped ones, or overrules them."""

import json
from collections.abc import Iterator, Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

from wsss_mm.errors import InputError
from wsss_mm.names import is_plain_name
from wsss_mm.places import SOURCES_FILE
from wsss_mm.sources.source import Source
from wsss_mm.yaml_places import Place, YamlDocument, read, suggestion

_AGAIN = "restore it with git checkout"
_SHIPPED = Path(__file__).with_name("sources.yaml")  # in a checkout a link to the project's
_TAKEN = ("phantom", "slides")  # other cohorts


class _Sources(Mapping[str, Source]):
    """All that there are, read when asked for: a user may write one more at any time."""

    def _all(self) -> dict[str, Source]:
        own = Path(SOURCES_FILE)
        shared = not own.is_file() or own.samefile(_SHIPPED)
        return read_sources(_SHIPPED) if shared else read_sources(_SHIPPED, own)

    def __getitem__(self, name: str) -> Source:
        return self._all()[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._all())

    def __len__(self) -> int:
        return len(self._all())


SOURCES: Mapping[str, Source] = _Sources()
"""By name: those that are shipped, and the project's own, which overrule those key by key."""


def unknown_source(name: str) -> str:
    """What to say where there is no data set called `name`."""
    near = suggestion(str(name), SOURCES) or f"; choose from {', '.join(SOURCES)}"
    return f"no data set of patches {str(name)[:40]!r}{near}, or describe it in {SOURCES_FILE}"


def read_sources(*paths: Path) -> dict[str, Source]:
    """Read and check the data sets that YAML files describe, each of which adds to those before it.

    Raises:
        InputError: one is missing or no YAML, a data set lacks something, or has it of the wrong kind; the message
            gives the line.
    """
    return dict(_read(*((path, *_state(path)) for path in paths)))


def _state(path: Path) -> tuple[int, int, int]:
    """What tells that a file has changed."""
    try:
        state = path.stat()
    except OSError as error:
        raise InputError(f"{path}: not readable: {error.strerror}; {_AGAIN}") from None
    return state.st_mtime_ns, state.st_size, state.st_ino


@lru_cache(maxsize=8)
def _read(*files: tuple[Path, int, int, int]) -> dict[str, Source]:
    rows: dict[str, dict[str, Any]] = {}
    found: dict[str, Source] = {}
    for path, *_ in files:
        document = read(path, absent=_AGAIN)
        content = {} if document.content is None else document.content
        if not isinstance(content, dict):
            raise InputError(f"{path}: describes no data sets; give each a name, and below it how it is laid out")
        for name, row in content.items():
            if not (isinstance(name, str) and is_plain_name(name)) or name in _TAKEN:
                raise _fault(document, name, (), "is no data set's name; use letters, digits, - and _")
            if not isinstance(row, dict) or "name" in row:
                raise _fault(document, name, (), "give about, layout, vocabulary and mpp below it, and no name")
            rows[name] = {**rows.get(name, {}), **row}
            found[name] = _source(document, name, rows[name])
    return found


def _source(document: YamlDocument, name: str, row: dict[str, Any]) -> Source:
    from pydantic import ValidationError

    try:
        source = _adapter().validate_json(json.dumps({**row, "name": name}, default=str), strict=True)
    except ValidationError as error:
        first = sorted(error.errors(), key=lambda item: item["type"] == "missing")[0]
        raise _fault(document, name, tuple(first["loc"]), _explained(first)) from None
    for key, says in source.disagreements():
        raise _fault(document, name, tuple(key.split(".", 1)), says)
    return source


@lru_cache(maxsize=1)
def _adapter() -> Any:
    from pydantic import TypeAdapter

    return TypeAdapter(Source)


def _fault(document: YamlDocument, name: Any, place: Place, says: str) -> InputError:
    whole = (name, *place)
    named = ".".join(str(part)[:80] for part in whole)
    return document.fault(whole, f"{named}: {says}")


def _explained(item: Any) -> str:
    """Words for one of pydantic's errors."""
    if item["type"] in ("unexpected_keyword_argument", "extra_forbidden"):
        return f"is nothing of a data set{suggestion(str(item['loc'][-1]), list(Source.__dataclass_fields__))}"
    if item["type"] in ("missing", "missing_argument"):
        return "is missing"
    value = "null" if item["input"] is None else " ".join(str(item["input"]).split())[:40] or "empty"
    return f"{item['msg']}, but it is {value}"
