"""`wsss-mm init`: a folder becomes a project, whole or not at all."""

import os
import re
import shutil
import subprocess
from collections.abc import Collection, Mapping
from pathlib import Path
from uuid import uuid4

from wsss_mm.errors import InputError
from wsss_mm.files import digest, explained, is_file, locked, write_text
from wsss_mm.places import PROJECT_NOTE
from wsss_mm.project.note import read_note, write_note
from wsss_mm.project.shipped import shipped

# An empty repository that was cloned, the environment that this runs in, and the lock of another who begins one here.
_ALLOWED = {".git", ".venv", f".{PROJECT_NOTE.name}.lock"}
_HALF_DONE = re.compile(r"\.init\.[0-9a-f]{8}")  # there while its maker holds the lock, or was killed


def start_project(folder: Path) -> int:
    """Write a project's files into a folder that is new or empty.

    Args:
        folder: Its place; folders above it are made. One that holds a git repository or an environment, `.git` or
            `.venv`, and nothing else is empty, too. What one that was killed had written there is removed first.

    Returns:
        How many files there are.

    Raises:
        InputError: the folder holds something, or cannot be written to.
    """
    _check_empty(folder, half_done=True)
    files = shipped()
    made = not folder.exists()
    with explained(folder):
        folder.mkdir(parents=True, exist_ok=True)
        try:
            with locked(folder / PROJECT_NOTE):
                _remove_left(folder, files)
                _check_empty(folder)  # another may have begun one here meanwhile
                _write(folder, files)
        finally:
            if made and folder.is_dir() and not any(folder.iterdir()):
                folder.rmdir()
    return len(files)


def begin_repository(folder: Path) -> bool:
    """Make a git repository of a project that is in none; DVC needs one. Whether it is in one now."""
    try:
        inside = subprocess.run(["git", "rev-parse", "--git-dir"], cwd=folder, capture_output=True, check=False)
        if inside.returncode:
            inside = subprocess.run(["git", "init", "--quiet"], cwd=folder, capture_output=True, check=False)
    except FileNotFoundError:
        return False
    return not inside.returncode


def _write(folder: Path, files: Mapping[str, str]) -> None:
    half_done = folder / f".init.{uuid4().hex[:8]}"
    try:
        half_done.mkdir()
        for name, text in files.items():
            write_text(half_done / name, text)
        write_note(half_done, files)
        for entry in sorted(half_done.iterdir(), key=lambda path: path.name == PROJECT_NOTE.name):
            entry.rename(folder / entry.name)
    finally:
        shutil.rmtree(half_done, ignore_errors=True)


def _remove_left(folder: Path, names: Collection[str]) -> None:
    """Remove what one that was killed left, while nobody else may write here, if there is nothing but that.

    That is its hidden folder, with files of the names that a project has, and what it had moved out of there, as long
    as that is, byte for byte, what the note in the hidden folder says.
    """
    left: set[Path] = set()
    for hidden in [path for path in folder.iterdir() if _HALF_DONE.fullmatch(path.name)]:
        given = read_note(hidden).digests if is_file(hidden / PROJECT_NOTE) else {}
        inside = [path.relative_to(hidden) for path in _leaves(hidden)]
        if all(path.as_posix() in {*names, *given} or path.name.startswith(".") for path in inside):
            moved = {folder / name.partition("/")[0] for name in given} - {
                folder,
                *(folder / name for name in _ALLOWED),
            }
            left |= {hidden, *(path for path in moved if _is_as_given(path, given))}
    if {entry for entry in folder.iterdir() if entry.name not in _ALLOWED} <= left:
        for path in sorted(left, key=lambda path: _HALF_DONE.fullmatch(path.name) is not None):  # the note at last
            if path.is_dir():
                shutil.rmtree(path)
            else:
                path.unlink(missing_ok=True)


def _leaves(path: Path) -> list[Path]:
    """All that is no folder, at a path or below it; links are not followed."""
    if path.is_symlink() or not path.is_dir():
        return [path] if os.path.lexists(path) else []
    return [leaf for below in path.iterdir() for leaf in _leaves(below)]


def _is_as_given(path: Path, given: Mapping[str, str]) -> bool:
    """Whether all at a path is what a note says, which has the digests by their paths beside it."""
    return all(
        not leaf.is_symlink() and is_file(leaf) and digest(leaf) == given.get(leaf.relative_to(path.parent).as_posix())
        for leaf in _leaves(path)
    )


def _check_empty(folder: Path, *, half_done: bool = False) -> None:
    if os.path.lexists(folder) and not folder.is_dir():
        raise InputError(f"{folder}: is no folder; name one that is new or empty")
    if not folder.is_dir():
        return
    if (folder / PROJECT_NOTE).is_file():
        version = read_note(folder).version
        raise InputError(f"{folder}: is a project of wsss_mm {version} already; to bring it up to date: wsss-mm update")
    held = sorted(entry.name for entry in folder.iterdir() if entry.name not in _ALLOWED)
    if held and not (half_done and any(map(_HALF_DONE.fullmatch, held))):
        more = f" and {len(held) - 1} more" if len(held) > 1 else ""
        raise InputError(f"{folder}: holds {held[0]}{more}; name a folder that is new or empty")
