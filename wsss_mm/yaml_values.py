"""Values of YAML as DVC reads them, by version 1.2: ruamel.yaml's, and in a tenth of the time where a text is plain.

DVC reads with ruamel.yaml. The C library behind PyYAML reads a dvc.lock in a tenth of the time, but by version 1.1, in
which `on` is true, 010 is eight, 12:30 is 750 and 1e-4 is a text. So that library only tells where scalars, lists and
mappings begin and end. Which scalar is a number, true, false or nothing is looked up in ruamel.yaml's own table for
1.2, and whatever the two libraries may read in two ways is left to ruamel.yaml.
"""

import re
from collections.abc import Iterator
from itertools import islice
from typing import Any

import yaml
from ruamel.yaml import YAML
from ruamel.yaml.constructor import DuplicateKeyError
from ruamel.yaml.error import YAMLError
from ruamel.yaml.resolver import VersionedResolver
from yaml import events

__all__ = ["YAMLError", "dumped", "marked", "values"]

_MOST_VALUES = 10_000  # that aliases may make of a short text; a long one holds no more values than characters
_MOST_DEEP = 100  # far below where libyaml takes minutes for a line of brackets
_PARSER: Any = yaml.cyaml.CParser if yaml.__with_libyaml__ else None  # else ruamel.yaml reads all
_TABLE = VersionedResolver((1, 2)).versioned_resolver
_INT = re.compile(r"[-+]?[0-9]+")
_FLOAT = re.compile(r"[-+]?[0-9]*\.?[0-9]*([eE][-+]?[0-9]+)?")
_NO_FINITE = re.compile(r"[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)")
_TWO_WAYS = re.compile(
    r"[^\n\x20-\x7e\xa0-\u2027\u202a-\ud7ff\ue000-\ufefe\uff00-\ufffd\U00010000-\U0010ffff]"  # tabs, other line breaks
    r"|[|>][-+0-9]*#"  # a comment that touches what it follows
    r"|[&*][\w-]+[:?%@`]"  # names of anchors
    r"|^ +$",  # a block's indentation, where its first lines are blank
    re.MULTILINE,
)
_NO_KEY = object()


class _UnsureError(Exception):
    """A text that the libraries may read in two ways."""


def values(text: str) -> Any:
    """What a text of YAML holds: mappings, lists and scalars.

    Raises:
        YAMLError: no valid YAML, an unknown tag, a repeated key, an alias that contains itself, or aliases that
            multiply to more than a document for people holds.
    """
    try:
        return _plain(text)
    except (_UnsureError, YAMLError, yaml.YAMLError, ValueError, RecursionError):
        pass  # ruamel.yaml reads it otherwise, or says what is wrong with it
    try:
        content = YAML(typ="safe", pure=True).load(text)
        _check_count(content, text)
    except DuplicateKeyError as error:
        error.note = None  # how a program allows them
        raise
    # A date such as 2026-13-45, a thousand brackets, "!!timestamp x", "!!bool x".
    except (ValueError, OverflowError, RecursionError, AttributeError, LookupError, TypeError) as error:
        raise YAMLError(f"a value cannot be read ({error})") from None
    return content


def marked(text: str) -> tuple[Any, list[int]] | None:
    """What a text of YAML holds, and where each part of it stands; None where ruamel.yaml alone can tell.

    Returns:
        The values, and the line, from 1, of each key of a mapping and each item of a list, as they follow in the text.
    """
    try:
        building = _built(text)
    except (_UnsureError, YAMLError, yaml.YAMLError, ValueError, RecursionError):
        return None
    return None if building.anchors else (building.root[0], building.lines[1:])


def dumped(content: Any, **options: Any) -> str:
    """YAML that readers by version 1.2 and by 1.1 take for the same: texts such as 1e5, 0o7 and `on` have quotes.

    Args:
        content: mappings, lists and scalars, in their order.
        options: of `yaml.dump`.
    """
    return yaml.dump(content, Dumper=_Dumper, sort_keys=False, allow_unicode=True, **options)


class _Dumper(yaml.SafeDumper):
    """PyYAML's, which puts into quotes what it reads as no text, and what version 1.2 does."""


_Dumper.add_implicit_resolver(
    "tag:yaml.org,2002:float",
    re.compile(r"[-+]?(\.[0-9]+|[0-9]+\.?[0-9]*)([eE][-+]?[0-9]+)?|0o[0-7]+"),
    list("-+.0123456789"),
)
for _first, _kinds in _TABLE.items():  # `._` too, which ruamel.yaml takes for a number and then cannot read
    for _tag, _pattern in _kinds:
        _Dumper.add_implicit_resolver(_tag, _pattern, [_first])


def _check_count(content: Any, text: str) -> None:
    most = max(_MOST_VALUES, len(text))
    if sum(1 for _ in islice(_each(content), most + 1)) > most:
        raise YAMLError(f"more than {most} values, aliases counted")


def _each(content: Any) -> Iterator[Any]:
    yield content
    for part in content.values() if isinstance(content, dict) else content if isinstance(content, list) else ():
        yield from _each(part)


def _plain(text: str) -> Any:
    """The mapping or list that a text holds; raises as `_built`."""
    return _built(text).root[0]


def _built(text: str) -> "_Building":
    """The whole document of a text, whose root is a mapping or a list.

    Raises:
        _UnsureError: the libraries may differ.
        YAMLError, yaml.YAMLError, RecursionError: it is wrong.
    """
    if _PARSER is None or _TWO_WAYS.search(text):
        raise _UnsureError
    next_event, building, repeats = _PARSER(text).get_event, _Building(), False
    while (event := next_event()) is not None:
        kind = type(event)
        if kind is events.ScalarEvent:
            building.add(_scalar(event.value) if event.implicit[0] else event.value, event)
        elif kind is events.MappingStartEvent:
            building.begin({}, event)
        elif kind is events.SequenceStartEvent:
            building.begin([], event)
        elif kind is events.MappingEndEvent or kind is events.SequenceEndEvent:
            building.end()
        elif kind is events.AliasEvent:
            building.repeat(event)
            repeats = True
        elif kind is events.DocumentStartEvent and (event.version or event.tags):
            raise _UnsureError
    if len(building.root) != 1 or not isinstance(building.root[0], dict | list):
        raise _UnsureError
    if repeats:
        _check_count(building.root[0], text)
    return building


def _scalar(text: str) -> Any:
    """What a scalar without quotes is."""
    for tag, pattern in _TABLE.get(text[:1], ()):
        if pattern.match(text):
            kind = tag.rpartition(":")[2]
            if kind == "int" and _INT.fullmatch(text):
                return int(text)
            if kind == "float" and _FLOAT.fullmatch(text):
                return float(text)
            if kind == "float" and _NO_FINITE.fullmatch(text):
                return float(text.replace(".", ""))
            if kind == "bool":
                return text[0] in "tT"
            if kind == "null":
                return None
            raise _UnsureError  # dates, `<<`, numbers to the base of 16
    return text


class _Building:
    """A document on its way from the parser's events."""

    def __init__(self) -> None:
        self.root: list[Any] = []
        self.lines: list[int] = []  # of keys and of items of lists, the root's own first
        self.anchors: dict[str, Any] = {}
        self._here: Any = self.root
        self._key: Any = _NO_KEY
        self._around: list[tuple[Any, Any, Any]] = []  # lists and mappings around this place, its key, its anchor

    def add(self, value: Any, event: Any) -> None:
        """A scalar, which may be a key."""
        if event.tag is not None:
            raise _UnsureError
        if event.anchor is not None:
            self._name(event.anchor, value)
        if self._key is not _NO_KEY:
            self._put(value)
        elif type(self._here) is list:
            self._put(value)
            self.lines.append(event.start_mark.line + 1)
        elif value in self._here:
            raise _UnsureError
        else:
            self._key = value
            self.lines.append(event.start_mark.line + 1)

    def begin(self, value: Any, event: Any) -> None:
        """A list or a mapping."""
        if event.tag is not None or len(self._around) > _MOST_DEEP:
            raise _UnsureError
        if type(self._here) is list:
            self.lines.append(event.start_mark.line + 1)
        self._put(value)
        self._around.append((self._here, self._key, event.anchor))
        self._here, self._key = value, _NO_KEY

    def end(self) -> None:
        """Back to what is around."""
        whole = self._here
        self._here, self._key, anchor = self._around.pop()
        if anchor is not None:
            self._name(anchor, whole)

    def repeat(self, event: Any) -> None:
        """What an anchor names, if it is whole."""
        if event.anchor not in self.anchors:
            raise _UnsureError
        self._put(self.anchors[event.anchor])

    def _put(self, value: Any) -> None:
        if type(self._here) is list:
            self._here.append(value)
        elif self._key is _NO_KEY:
            raise _UnsureError
        else:
            self._here[self._key], self._key = value, _NO_KEY

    def _name(self, anchor: str, value: Any) -> None:
        if anchor in self.anchors:
            raise _UnsureError
        self.anchors[anchor] = value
