"""The files of a slide: their size, and whether they are those of last time."""

from pathlib import Path

_FOLDERS = frozenset({".mrxs"})
"""Formats whose pixels lie in a folder beside the file, called as the file is."""


def slide_files(path: Path) -> list[Path]:
    """A slide's file and those of the folder that belongs to it. Links are followed, but keep their names."""
    folder = path.with_suffix("")
    beside = sorted(folder.rglob("*")) if path.suffix.lower() in _FOLDERS and folder.is_dir() else []
    return [path, *(file for file in beside if file.is_file())]


def slide_bytes(path: Path) -> int:
    """Size of a slide's files."""
    return sum(file.stat().st_size for file in slide_files(path))


def stamp(path: Path) -> list[int]:
    """Size and time of the last change of a slide's files: the same as long as nobody writes to them."""
    states = [file.stat() for file in slide_files(path)]
    return [len(states), sum(state.st_size for state in states), *sorted(state.st_mtime_ns for state in states)[-2:]]
