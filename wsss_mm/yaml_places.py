"""A YAML document with the line of each key, so that what is wrong in it can be pointed at."""

import difflib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import islice
from pathlib import Path
from typing import Any

import yaml
from ruamel.yaml import YAML
from ruamel.yaml.constructor import DuplicateKeyError
from ruamel.yaml.error import YAMLError

from wsss_mm.errors import InputError

Place = tuple[str | int, ...]
"""Keys and indices from the document's root."""

_MOST_VALUES = 10_000


@dataclass(frozen=True)
class YamlDocument:
    """Plain values of a YAML document, its text, and the file, if it is of one."""

    content: Any
    text: str = ""
    path: Path | None = None

    @cached_property
    def lines(self) -> dict[Place, int]:
        """Where each value stands: the line of its key or, in a list, its own; from 1."""
        found: dict[Place, int] = {(): 1}
        _collect(YAML(pure=True).load(self.text), (), found)
        return found

    def line(self, place: Sequence[str | int]) -> int:
        """Line of a key, or of the nearest section around it where the key is not written."""
        place = tuple(place)
        while place and place not in self.lines:
            place = place[:-1]
        return self.lines.get(place, 1)

    def fault(self, place: Sequence[str | int], says: str) -> InputError:
        """What to raise where the file is wrong at a place."""
        return InputError(f"{self.path}: line {self.line(place)}: {says}")


def read(path: Path, *, absent: str) -> YamlDocument:
    """The document of a file, see `parse`.

    Args:
        path: The file.
        absent: What to do where there is none, for the message.

    Raises:
        InputError: it is missing, not readable or no valid YAML.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
        return YamlDocument(parse(text).content, text, path)
    except FileNotFoundError:
        raise InputError(f"{path}: not found; {absent}") from None
    except OSError as error:
        raise InputError(f"{path}: not readable: {error.strerror}") from None
    except (YAMLError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: not valid YAML: {' '.join(str(error).split())}") from None


def parse(text: str) -> YamlDocument:
    """Read YAML with the library and by the version, 1.2, that DVC reads it: a value is the same to both.

    Raises:
        YAMLError: no valid YAML, an unknown tag, a repeated key, an alias that contains itself, or aliases that
            multiply to more than a document for people holds.
    """
    try:
        content = YAML(typ="safe", pure=True).load(text)
        if sum(1 for _ in islice(_values(content), _MOST_VALUES + 1)) > _MOST_VALUES:
            raise YAMLError(f"more than {_MOST_VALUES} values, aliases counted")
        return YamlDocument(content, text)
    except DuplicateKeyError as error:
        error.note = None  # how a program allows them
        raise
    # A date such as 2026-13-45, a thousand brackets, "!!timestamp x".
    except (ValueError, OverflowError, RecursionError, AttributeError) as error:
        raise YAMLError(f"a value cannot be read ({error})") from None


def _values(content: Any) -> Iterator[Any]:
    yield content
    for part in content.values() if isinstance(content, dict) else content if isinstance(content, list) else ():
        yield from _values(part)


def _collect(node: Any, place: Place, lines: dict[Place, int]) -> None:
    """Lines of what is below a node of ruamel's, which knows them."""
    if isinstance(node, dict):
        for key, value in node.items():
            inner = (*place, str(key))
            line = (node.lc.data or {}).get(key)  # none of what `<<` and `!!omap` bring
            lines[inner] = line[0] + 1 if line else lines[place]
            _collect(value, inner, lines)
    elif isinstance(node, list):
        for index, value in enumerate(node):
            inner = (*place, index)
            lines[inner] = node.lc.item(index)[0] + 1 if hasattr(node, "lc") else lines[place]  # none of `!!pairs`
            _collect(value, inner, lines)


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
