"""The files of a slide: their size, whether they are those of last time, and what a table calls them."""

import os
from pathlib import Path

FOLDERS = frozenset({".mrxs"})
"""Formats whose pixels lie in a folder beside the file, called as the file is."""


def slide_files(path: Path) -> list[Path]:
    """A slide's file and those of the folder that belongs to it. Links are followed, but keep their names."""
    folder = path.with_suffix("")
    beside = sorted(folder.rglob("*")) if path.suffix.lower() in FOLDERS and folder.is_dir() else []
    return [path, *(file for file in beside if file.is_file())]


def slide_bytes(path: Path) -> int:
    """Size of a slide's files."""
    return sum(file.stat().st_size for file in slide_files(path))


def stamp(path: Path) -> list[int]:
    """Size and time of the last change of a slide's files: the same as long as nobody writes to them."""
    states = [file.stat() for file in slide_files(path)]
    return [len(states), sum(state.st_size for state in states), *sorted(state.st_mtime_ns for state in states)[-2:]]


def path_from(folder: Path, path: Path, root: Path) -> str:
    """A file as a table names it: relative if it lies in `root`, else absolute. Links keep their names.

    Args:
        folder: where the table lies or will lie, absolute.
        path: the file.
        root: what moves as a whole, such as the project, absolute.
    """
    full = full_path(path)
    if not is_same(full, path):  # a folder on the way is a link, and `..` leaves what it leads to
        full = path.parent.resolve() / path.name
    if not full.is_relative_to(root):
        return full.as_posix()
    return Path(os.path.relpath(full, folder)).as_posix()


def full_path(path: Path) -> Path:
    """A path from the root of all, without `..`, links as they are called."""
    return Path(os.path.normpath(path.absolute()))


def is_same(one: Path, other: Path) -> bool:
    """Whether two paths lead to one file that is there."""
    try:
        return one.samefile(other)
    except OSError:
        return False
