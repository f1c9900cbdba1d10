"""What the name of a slide's file says: whose it is, where it was made, and in which split it counts."""

import re
from collections.abc import Mapping
from pathlib import Path

from wsss_mm.errors import InputError
from wsss_mm.tables import nearest_name

FIELDS = {"slide": "slide_id", "patient": "patient_id", "site": "site", "split": "split"}
"""What a pattern may name, and the column it becomes."""

_PARTS = re.compile(r"\{(\w*)\}|(\*)|(\?)|([^{}*?]+)")
_REGEX = re.compile(r"\(\?P?<(?![=!])")


class NamePattern:
    """A pattern of file names: `{patient}_{slide}.svs`, or a regular expression with groups such as `(?P<patient>...)`.

    In the first, `{name}` is a text of at least one character, the shortest that fits, `{}` or `*` any text and `?` a
    character; case does not matter. It is held against the whole name, without its suffix or with it; one with `/`
    against as many folders more. A regular expression is searched for in the name, or in the whole path if it has a `/`
    in it.
    """

    def __init__(self, text: str) -> None:
        self.text = text
        self._searched = bool(_REGEX.search(text))
        try:
            self._regex = re.compile(text if self._searched else self._translated(), re.DOTALL | re.IGNORECASE)
        except re.error as error:
            raise InputError(f"--pattern {text}: no regular expression ({error})") from None
        names = list(self._regex.groupindex)
        for name in names:
            if _field(name) is None:
                near = nearest_name(name, FIELDS)
                hint = f"; did you mean {near}?" if near else ""
                raise InputError(f"--pattern {text}: {name!r} is none of {', '.join(FIELDS)}{hint}")
        if not names:
            raise InputError(f"--pattern {text}: names nothing; name a part, such as {{patient}}_{{slide}}.svs")

    @property
    def columns(self) -> frozenset[str]:
        """The columns it fills."""
        return frozenset(column for name in self._regex.groupindex if (column := _field(name)))

    def cells(self, path: Path) -> Mapping[str, str] | None:
        """What a slide's name says, by column; None where it is none of the pattern."""
        found = None
        for text in self._texts(path):
            found = found or (self._regex.search(text) if self._searched else self._regex.fullmatch(text))
        if found is None:
            return None
        return {column: cell for name, cell in found.groupdict().items() if cell and (column := _field(name))}

    def _texts(self, path: Path) -> list[str]:
        path = path.absolute()
        if "/" not in self.text:
            return [path.name] if self._searched else [path.stem, path.name]
        if self._searched:
            return [path.as_posix()]
        folders = path.parent.parts[-self.text.count("/") :]
        return ["/".join((*folders, name)) for name in (path.stem, path.name)]

    def _translated(self) -> str:
        pieces, end = [], 0
        for part in _PARTS.finditer(self.text):
            if part.start() != end:
                break
            end = part.end()
            name, _, one, plain = part.groups()
            pieces.append(f"(?P<{name}>[^/]+?)" if name else re.escape(plain) if plain else "[^/]" if one else "[^/]*?")
        if end != len(self.text):
            raise InputError(f"--pattern {self.text}: a brace has no other; write {{patient}}, {{slide}} or {{site}}")
        return "".join(pieces)


def _field(name: str) -> str | None:
    return FIELDS.get(name, name if name in FIELDS.values() else None)
