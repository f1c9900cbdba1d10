"""`wsss-mm init`: a folder becomes a project, whole or not at all."""

import os
import shutil
import subprocess
from pathlib import Path
from uuid import uuid4

from wsss_mm.errors import InputError
from wsss_mm.files import explained, locked, write_text
from wsss_mm.places import PROJECT_NOTE
from wsss_mm.project.note import read_note, write_note
from wsss_mm.project.shipped import shipped

# An empty repository that was cloned, the environment that this runs in, and the lock of another who begins one here.
_ALLOWED = {".git", ".venv", f".{PROJECT_NOTE.name}.lock"}


def start_project(folder: Path) -> int:
    """Write a project's files into a folder that is new or empty.

    Args:
        folder: Its place; folders above it are made. One that holds a git repository or an environment, `.git` or
            `.venv`, and nothing else is empty, too.

    Returns:
        How many files there are.

    Raises:
        InputError: the folder holds something, or cannot be written to.
    """
    _check_empty(folder)
    files = shipped()
    made = not folder.exists()
    with explained(folder):
        folder.mkdir(parents=True, exist_ok=True)
        half_done = folder / f".init.{uuid4().hex[:8]}"
        try:
            with locked(folder / PROJECT_NOTE):
                _check_empty(folder)  # another may have begun one here meanwhile
                half_done.mkdir()
                for name, text in files.items():
                    write_text(half_done / name, text)
                write_note(half_done, files)
                for entry in sorted(half_done.iterdir(), key=lambda path: path.name == PROJECT_NOTE.name):
                    entry.rename(folder / entry.name)
        finally:
            shutil.rmtree(half_done, ignore_errors=True)
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


def _check_empty(folder: Path) -> None:
    if os.path.lexists(folder) and not folder.is_dir():
        raise InputError(f"{folder}: is no folder; name one that is new or empty")
    if not folder.is_dir():
        return
    if (folder / PROJECT_NOTE).is_file():
        version = read_note(folder).version
        raise InputError(f"{folder}: is a project of wsss_mm {version} already; to bring it up to date: wsss-mm update")
    held = sorted(entry.name for entry in folder.iterdir() if entry.name not in _ALLOWED)
    if held:
        more = f" and {len(held) - 1} more" if len(held) > 1 else ""
        raise InputError(f"{folder}: holds {held[0]}{more}; name a folder that is new or empty")
