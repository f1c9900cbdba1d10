"""`wsss-mm update`: what a newer package brings, joined with what a lab has changed; nothing of a lab's is overwritten.

Three texts of each file are compared: as the package gave it, as it is here, and as the installed package brings it.
"""

import shutil
import subprocess
import tempfile
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from difflib import unified_diff
from pathlib import Path
from typing import Literal

from wsss_mm.errors import InputError
from wsss_mm.files import atomic_path, explained, locked
from wsss_mm.places import PROJECT_NOTE
from wsss_mm.project.note import Note, digest_of, is_made, read_note, write_note
from wsss_mm.project.shipped import shipped

Kind = Literal["new", "changed", "joined", "removed", "conflict"]


@dataclass(frozen=True)
class Change:
    """What becomes of a file.

    Attributes:
        path: in the project.
        kind: `joined` where the lab and the package changed different lines of it, `conflict` where the same.
        here: its text now; None where there is none.
        then: its text afterwards; None where it is removed. Of a conflict, what the installed package brings.
        given: its text as the package gave it; None where it is not known.
    """

    path: str
    kind: Kind
    here: str | None
    then: str | None
    given: str | None = None

    def diff(self) -> str:
        """What changes in the file; of a conflict, what the package changed since it gave it, or what differs here."""
        conflict = self.kind == "conflict"
        before = self.given if conflict and self.given is not None else self.here
        old, new = ("given", "brought") if conflict and self.given is not None else ("here", "then")
        lines = unified_diff(
            (before or "").splitlines(keepends=True),
            (self.then or "").splitlines(keepends=True),
            f"{self.path} ({old})",
            f"{self.path} ({new})",
        )
        return "".join(line if line.endswith("\n") else f"{line}\n" for line in lines)


@dataclass(frozen=True)
class Update:
    """What the installed package would change in a project.

    Attributes:
        before: version of wsss_mm that the project is of.
        changes: by path.
    """

    before: str
    changes: Mapping[str, Change]

    @property
    def conflicts(self) -> list[str]:
        """Paths of files that the lab has to decide on."""
        return [path for path, change in self.changes.items() if change.kind == "conflict"]


def plan_update(root: Path) -> Update:
    """Compare a project with what the installed package brings.

    Raises:
        InputError: the folder is no project.
    """
    note = read_note(root)
    return Update(note.version, {change.path: change for change in _changes(root, note, shipped())})


def apply_update(root: Path, keep: Collection[str] = (), take: Collection[str] = ()) -> Update:
    """Write what can be written.

    Args:
        root: The project.
        keep: Files in conflict that stay as they are here.
        take: Files in conflict that become what the package brings.

    Returns:
        What was found; its conflicts without those that are now settled.

    Raises:
        InputError: the folder is no project, a file of `keep` or `take` is not in conflict, or cannot be written.
    """
    with locked(root / PROJECT_NOTE):
        note, brought = read_note(root), shipped()
        changes = {change.path: change for change in _changes(root, note, brought)}
        for path in (*keep, *take):
            if path not in changes or changes[path].kind != "conflict":
                raise InputError(f"{path}: is not in conflict; `wsss-mm update` shows what is")
        if both := sorted(set(keep) & set(take)):
            raise InputError(f"{both[0]}: can be kept or taken, not both")
        waiting = {path for path, change in changes.items() if change.kind == "conflict"} - {*keep, *take}
        for path, change in changes.items():
            if change.kind != "conflict" or path in take:
                _write(root / path, change.then)
        write_note(root, {path: None if path in waiting else text for path, text in brought.items()}, note)
    return Update(note.version, {p: c for p, c in changes.items() if c.kind != "conflict" or p in waiting})


def _write(path: Path, text: str | None) -> None:
    if text is not None:
        real = path.resolve()  # a link stays one
        with atomic_path(real) as temporary:
            temporary.write_text(text, encoding="utf-8", errors="surrogateescape")
            if real.is_file():
                shutil.copymode(real, temporary)
        return
    with explained(path):
        path.unlink(missing_ok=True)


def _changes(root: Path, note: Note, brought: Mapping[str, str]) -> Iterator[Change]:
    for path in sorted({*brought, *note.digests}):
        here, then = _read(root / path), brought.get(path)
        given, text = note.digests.get(path), note.texts.get(path)
        if then is None:  # no longer brought; one that the lab changed stays, and is its own from now on
            if here is not None and digest_of(here) == given:
                yield Change(path, "removed", here, None)
        elif here == then or (given == digest_of(then) and not is_made(path)):
            continue
        elif is_made(path) or (here is not None and digest_of(here) == given):
            yield Change(path, "new" if here is None else "changed", here, then)
        elif here is None and not (root / path).exists():
            if given is None:  # one that the lab deleted stays deleted
                yield Change(path, "new", None, then)
        else:
            joined = None if text is None or here is None else _joined(here, text, then)
            yield Change(path, "conflict" if joined is None else "joined", here, joined or then, text)


def _read(path: Path) -> str | None:
    """The text of a file; None where there is none. Bytes that are no UTF-8 are kept as Python's stand-ins."""
    try:
        return path.read_text(encoding="utf-8", errors="surrogateescape")
    except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
        return None


def _joined(here: str, given: str, then: str) -> str | None:
    """A text with both changes; None where they meet, or where git is missing."""
    with tempfile.TemporaryDirectory() as folder:
        files = [Path(folder) / name for name in ("here", "given", "then")]
        for file, text in zip(files, (here, given, then), strict=True):
            file.write_text(text, encoding="utf-8", errors="surrogateescape")
        try:
            done = subprocess.run(["git", "merge-file", "-p", *files], capture_output=True, check=False)
        except FileNotFoundError:
            return None
    return None if done.returncode else done.stdout.decode("utf-8", "surrogateescape")
