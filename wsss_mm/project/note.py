"""`.wsss-mm.json`: what the package brought when a project was begun or last brought up to date.

Of most files the text is kept, so that a lab's changes and those of a newer version can be joined; of large ones that
nobody edits by hand, and of those made by the package, their digest alone.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from wsss_mm import __version__
from wsss_mm.errors import InputError
from wsss_mm.formats import DamagedError, read_object, write_object
from wsss_mm.places import PROJECT, PROJECT_NOTE, STAGE_CODE

_BY_DIGEST = ("requirements.lock",)


@dataclass(frozen=True)
class Note:
    """What a project was given.

    Attributes:
        version: of wsss_mm that gave it.
        texts: of files, by path.
        digests: sha256 of all files, by path.
    """

    version: str
    texts: Mapping[str, str]
    digests: Mapping[str, str]


def is_made(path: str) -> bool:
    """Whether a file is made by the package alone, so that what somebody wrote into it means nothing."""
    return path.startswith(f"{STAGE_CODE.as_posix()}/")


def has_text(path: str) -> bool:
    """Whether the text of a file is kept."""
    return not is_made(path) and path not in _BY_DIGEST


def digest_of(text: str) -> str:
    """Hex sha256 of a text in UTF-8."""
    return hashlib.sha256(text.encode("utf-8", "surrogateescape")).hexdigest()


def write_note(root: Path, given: Mapping[str, str | None], before: Note | None = None) -> None:
    """Remember what files are as they were given.

    Args:
        root: The project.
        given: Text by path; None where what was given before still counts, as of a conflict that nobody has settled.
        before: The note that says so.
    """
    texts = {path: text for path, text in given.items() if text is not None}
    old_texts, old_digests = (before.texts, before.digests) if before else ({}, {})
    waiting = [path for path, text in given.items() if text is None]
    content = {
        "version": __version__,
        "texts": {path: text for path, text in texts.items() if has_text(path)}
        | {path: old_texts[path] for path in waiting if path in old_texts},
        "digests": {path: digest_of(text) for path, text in texts.items()}
        | {path: old_digests[path] for path in waiting if path in old_digests},
    }
    write_object(root / PROJECT_NOTE, PROJECT, content)


def read_note(root: Path) -> Note:
    """Read it.

    Raises:
        InputError: the folder is no project that `wsss-mm init` began, or the note is damaged or of a later version.
    """
    path = root / PROJECT_NOTE
    content = read_object(path, PROJECT)
    version, texts, digests = (content.get(key) for key in ("version", "texts", "digests"))
    for name, value in (("texts", texts), ("digests", digests)):
        if not isinstance(value, dict) or not all(isinstance(text, str) for text in value.values()):
            raise DamagedError(f"{path}: damaged: {name} is no section of texts; {PROJECT.again}")
        for inside in value:
            if Path(inside).is_absolute() or ".." in Path(inside).parts:
                raise InputError(f"{path}: {inside}: leads out of the project; {PROJECT.again}")
    return Note(str(version), texts, digests)  # ty: ignore[invalid-argument-type]  looked at above
