"""A YAML document with the line of each key, so that what is wrong in it can be pointed at."""

import difflib
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from wsss_mm.errors import InputError

Place = tuple[str | int, ...]
"""Keys and indices from the document's root."""

_MOST_PLACES = 10_000
_NUMBERS = ("tag:yaml.org,2002:int", "tag:yaml.org,2002:float")
_EXPONENT = re.compile(r"[-+]?[0-9][0-9_]*(\.[0-9_]*)?[eE][-+]?[0-9]+$")
_OCTAL = re.compile(r"[-+]?0o?[0-9_]+")  # 010 in YAML 1.1, 0o10 in 1.2


class _Loader(yaml.SafeLoader):
    """Reads YAML 1.1, as PyYAML does, but 1e-3 as a number, as all others read it."""


_Loader.add_implicit_resolver(_NUMBERS[1], _EXPONENT, list("-+0123456789"))


@dataclass(frozen=True)
class Document:
    """Plain values of a YAML document, where each stands (1-based lines), and the file, if it is of one."""

    content: Any
    lines: dict[Place, int]
    path: Path | None = None

    def line(self, place: Sequence[str | int]) -> int:
        """Line of a key, or of the nearest section around it where the key is not written."""
        place = tuple(place)
        while place and place not in self.lines:
            place = place[:-1]
        return self.lines.get(place, 1)

    def fault(self, place: Sequence[str | int], says: str) -> InputError:
        """What to raise where the file is wrong at a place."""
        return InputError(f"{self.path}: line {self.line(place)}: {says}")


def read(path: Path, *, absent: str) -> Document:
    """The document of a file, see `parse`.

    Args:
        path: The file.
        absent: What to do where there is none, for the message.

    Raises:
        InputError: it is missing, not readable or no valid YAML.
    """
    try:
        document = parse(path.read_text(encoding="utf-8-sig"))
    except FileNotFoundError:
        raise InputError(f"{path}: not found; {absent}") from None
    except OSError as error:
        raise InputError(f"{path}: not readable: {error.strerror}") from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: not valid YAML: {' '.join(str(error).split())}") from None
    return Document(document.content, document.lines, path)


def parse(text: str) -> Document:
    """Read YAML as `yaml.safe_load` does, but refuse what other readers take for something else, and keep the lines.

    DVC reads the same files by YAML 1.2: a number is the same to both, or refused.

    Raises:
        yaml.YAMLError: no valid YAML, an unknown tag, a repeated key, a number that versions of YAML read differently,
            an alias that contains itself, or aliases that multiply to more than a document for people holds.
    """
    loader = _Loader(text)
    try:
        root = loader.get_single_node()
        lines: dict[Place, int] = {}
        if root is not None:
            _collect(root, (), lines)
        return Document(None if root is None else loader.construct_document(root), lines)
    # A date such as 2026-13-45, a thousand brackets, "!!timestamp x".
    except (ValueError, OverflowError, RecursionError, AttributeError) as error:
        raise yaml.YAMLError(f"a value cannot be read ({error})") from None
    finally:
        loader.dispose()


def _collect(node: yaml.Node, place: Place, lines: dict[Place, int]) -> None:
    lines.setdefault(place, node.start_mark.line + 1)
    if len(lines) > _MOST_PLACES:
        raise yaml.MarkedYAMLError(None, None, f"more than {_MOST_PLACES} values, aliases counted", node.start_mark)
    if isinstance(node, yaml.MappingNode):
        seen = set()
        for key, value in node.value:
            name = key.value if isinstance(key, yaml.ScalarNode) else None
            if name in seen:
                raise yaml.MarkedYAMLError(None, None, f"{name} is given twice", key.start_mark)
            seen.add(name)
            if name is not None:
                lines[(*place, name)] = key.start_mark.line + 1
                _collect(value, (*place, name), lines)
    elif isinstance(node, yaml.ScalarNode):
        to_base_60 = node.tag in _NUMBERS and ":" in node.value  # in YAML 1.1 alone: 1:30 is 90
        if node.style is None and (to_base_60 or _OCTAL.fullmatch(node.value)):
            says = f"{node.value[:40]} is one number in YAML 1.1 and another, or text, in 1.2; write it another way"
            raise yaml.MarkedYAMLError(None, None, says, node.start_mark)
    elif isinstance(node, yaml.SequenceNode):
        for index, value in enumerate(node.value):
            _collect(value, (*place, index), lines)


def plain(text: str) -> Any:
    """Read YAML as `yaml.safe_load` does, ten times as fast where PyYAML was built with libyaml.

    Raises:
        yaml.YAMLError: no valid YAML, or an unknown tag.
    """
    return yaml.load(text, getattr(yaml, "CSafeLoader", yaml.SafeLoader))


def suggestion(word: str, known: Iterable[str]) -> str:
    """` (did you mean X?)` where a known word is near, else nothing."""
    near = difflib.get_close_matches(str(word), list(known), n=1, cutoff=0.6)
    return f"; did you mean {near[0]}?" if near else ""
