"""A YAML document with the line of each key, so that what is wrong in it can be pointed at."""

import difflib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

from wsss_mm.errors import InputError
from wsss_mm.yaml_values import YAMLError, marked, values

__all__ = ["Place", "YAMLError", "YamlDocument", "merge_stopped", "not_yaml", "parse", "read", "suggestion"]

Place = tuple[str | int, ...]
"""Keys and indices from the document's root."""

_MARKS = ("<<<<<<< ", "||||||| ", ">>>>>>> ")  # of a merge that stopped
_LONGEST = 300


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
        if plain := marked(self.text):
            content, lines = plain
            _number(content, (), iter(lines), found)
        else:  # has anchors, say: a tenth of the speed
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
    text = ""
    try:
        text = path.read_text(encoding="utf-8-sig")
        return YamlDocument(parse(text).content, text, path)
    except FileNotFoundError:
        raise InputError(f"{path}: not found; {absent}") from None
    except OSError as error:
        raise InputError(f"{path}: not readable: {error.strerror}") from None
    except (YAMLError, UnicodeDecodeError) as error:
        raise not_yaml(path, text, error) from None


def not_yaml(name: Path | str, text: str, error: Exception) -> InputError:
    """What to raise where a text is no YAML: it has a merge's marks, or what the error of the parser says."""
    words = " ".join(str(error).replace('in "<unicode string>", ', "at ").split())
    said = f"{name}: not valid YAML: {words if len(words) <= _LONGEST else f'{words[:_LONGEST]}...'}"
    return merge_stopped(name, text) or InputError(said)


def merge_stopped(name: Path | str, text: str) -> InputError | None:
    """What to raise where git left two sides of a merge, None where it left none."""
    marked = (n for n, line in enumerate(text.splitlines(), 1) if line.startswith(_MARKS) or line == "=" * 7)
    line = next(marked, None)
    if line is None:
        return None
    return InputError(f"{name}: line {line}: a merge stopped here; take one side: git checkout --ours {name}")


def parse(text: str) -> YamlDocument:
    """The document of a text, read by the version of YAML, 1.2, that DVC reads it by: a value is the same to both.

    Raises:
        YAMLError: see `wsss_mm.yaml_values.values`.
    """
    return YamlDocument(values(text), text)


def _number(content: Any, place: Place, lines: Iterator[int], found: dict[Place, int]) -> None:
    """Give the parts of a value their lines, which come in the order of the text."""
    parts = content.items() if isinstance(content, dict) else enumerate(content) if isinstance(content, list) else ()
    for key, value in parts:
        inner = (*place, str(key) if isinstance(content, dict) else key)
        found[inner] = next(lines)
        _number(value, inner, lines, found)


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


def suggestion(word: str, known: Iterable[str]) -> str:
    """` (did you mean X?)` where a known word is near, else nothing."""
    near = difflib.get_close_matches(str(word), list(known), n=1, cutoff=0.6)
    return f"; did you mean {near[0]}?" if near else ""
