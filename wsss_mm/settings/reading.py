"""Reads params.yaml and gates.yaml, and says of what is wrong where it stands."""

import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from wsss_mm import places
from wsss_mm.errors import InputError
from wsss_mm.settings.params import Params
from wsss_mm.settings.sections import DISAGREEMENT
from wsss_mm.yaml_places import Place, YamlDocument, read, suggestion

PARAMS_FILE, GATES_FILE = places.PARAMS_FILE, places.GATES_FILE
"""The two files, in the project's root."""

_SECTION = "gates"  # of `Params`, that stands in a file of its own
_TAG = re.compile(r"\[key\]|constrained-\w+|literal\[.*\]")  # pydantic's, of a choice or a key, and no place
_NUMBER = re.compile(r"[-+]?[0-9.]+([eE][-+]?[0-9]+)?")
_MOST_WRONG = 10  # values that a message names
_ANEW = "write both anew with `wsss-mm profile phantom`"


def load_params(path: Path | str = PARAMS_FILE) -> Params:
    """Read params.yaml, and gates.yaml beside it, and check them as a whole.

    Raises:
        InputError: a file is missing, is no YAML, or values are wrong; the message gives the line of each and, for
            a misspelt key or choice, the one that is near.
    """
    path = Path(path)
    documents = {path: _read(path)}
    if _SECTION in documents[path].content:
        raise documents[path].fault(
            (_SECTION,),
            f"{_SECTION}: thresholds of gates stand in {GATES_FILE}; move what is below this line there, two columns "
            f"to the left, or {_ANEW}",
        )
    documents[path.with_name(GATES_FILE)] = _read(path.with_name(GATES_FILE))
    params, gates = (document.content for document in documents.values())
    try:
        return Params.model_validate(params | {_SECTION: gates})
    except ValidationError as error:
        faults = sorted(error.errors(), key=lambda item: item["type"] == "missing")  # these last: there may be many
        wrong = [fault for item in faults for fault in _explained(item)]
        raise InputError(_message(documents, wrong)) from None


def checked(content: Mapping[str, Any], where: str) -> Params:
    """Settings of what both files hold, gates.yaml below `gates`, when it is no file's.

    Args:
        content: As `Params.model_dump(mode="json", by_alias=True)` gives it.
        where: What the message names as the place of a fault.

    Raises:
        InputError: values are wrong.
    """
    try:
        return Params.model_validate(content)
    except ValidationError as error:
        wrong = [fault for item in error.errors() for fault in _explained(item)]
        says = "; ".join(f"{'.'.join(map(str, place))}: {why}" for place, why in wrong[:_MOST_WRONG])
        raise InputError(f"{where}: {says}") from None


def refuse(faults: Iterable[tuple[str, str]], path: Path | str = PARAMS_FILE) -> None:
    """Raise if there are faults in params.yaml and gates.yaml that the files alone do not show.

    Args:
        faults: The place of each, such as `classifier.weights`, and what is wrong.
        path: Of params.yaml.

    Raises:
        InputError: there are; the message gives the line of each.
    """
    path, wrong = Path(path), [(_place(key), why) for key, why in faults]
    if wrong:
        raise InputError(_message({name: _read(name) for name in (path, path.with_name(GATES_FILE))}, wrong))


def _read(path: Path) -> YamlDocument:
    document = read(path, absent=f"run from the project's root, restore it with git checkout, or {_ANEW}")
    if not isinstance(document.content, dict):
        raise InputError(f"{path}: holds no sections; {_ANEW}")
    return document


def _message(documents: Mapping[Path, YamlDocument], wrong: Sequence[tuple[Place, str]]) -> str:
    """`params.yaml: line 12: classifier.epoch: not a parameter; did you mean epochs?`, and so on."""
    params, gates = documents
    of_file: dict[Path, list[str]] = {}
    for whole, says in wrong[:_MOST_WRONG]:
        path, place = (gates, whole[1:]) if whole[:1] == (_SECTION,) else (params, whole)
        name = ".".join(str(part)[:80] for part in place)
        text = f"line {documents[path].line(place)}: " + (f"{name}: {says}" if name else says)
        of_file.setdefault(path, []).append(text)
    more = f"; and {len(wrong) - _MOST_WRONG} more" if len(wrong) > _MOST_WRONG else ""
    return "; ".join(f"{path}: {'; '.join(texts)}" for path, texts in of_file.items()) + more


def _explained(item: Any) -> list[tuple[Place, str]]:
    """Places and words of one of pydantic's errors."""
    place = tuple(part for part in item["loc"] if item["type"] == "extra_forbidden" or not _TAG.fullmatch(str(part)))
    says = item["msg"].removeprefix("Value error, ")
    if item["type"] == DISAGREEMENT:
        return [((*place, *_place(key)), why) for key, why in item["ctx"]["faults"]]
    if item["type"] == "extra_forbidden":
        says = "not a parameter" + suggestion(str(place[-1]), _known_keys(place[:-1]))
    elif item["type"] == "missing":
        says = "is missing"
    elif item["type"] == "literal_error":
        choices = re.findall(r"'([^']*)'", str(item["ctx"]["expected"]))
        says = f"{_short(item['input'])} is not one of {', '.join(choices)}" + suggestion(str(item["input"]), choices)
    elif item["type"] == "tuple_type":
        says = f"Input should be a list, but it is {_short(item['input'])}"
    elif item["type"] != "value_error":
        text = "text: leave out the quotation marks of " if _is_number(item["input"]) else ""
        says = f"{says}, but it is {text}{_short(item['input'])}"
    return [(place, says)]


def _is_number(value: Any) -> bool:
    """Whether a value is text that YAML would read as a number, were it not in quotation marks."""
    return isinstance(value, str) and _NUMBER.fullmatch(value) is not None


def _place(key: str) -> Place:
    return tuple(int(part) if part.isdigit() else part for part in key.split("."))


def _known_keys(place: Place) -> list[str]:
    """Keys of the section at a place."""
    section: Any = Params
    for part in place:
        fields = getattr(section, "model_fields", {})
        found = [field for key, field in fields.items() if part in (key, field.alias)]
        section = found[0].annotation if found else None
    return [field.alias or key for key, field in getattr(section, "model_fields", {}).items()]


def _short(value: Any) -> str:
    text = "null" if value is None else str(value)
    return " ".join(text.split())[:40] or "empty"
