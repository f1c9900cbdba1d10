"""Files that may be slides, among what people name: files, patterns that no shell has spelled out, folders."""

import glob
import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from wsss_mm.cohort.files import FOLDERS, full_path
from wsss_mm.errors import InputError
from wsss_mm.files import is_file, is_folder


@dataclass(frozen=True)
class FoundFile:
    """A file, and whether it was named itself, so that it has to be a slide, or lies in a folder that was."""

    path: Path
    named: bool


def find_slide_files(arguments: Iterable[str]) -> list[FoundFile]:
    """The files that are meant, each once, in the order of the arguments, those of a folder by name.

    Folders are gone through to the end, links to folders too. The folder of a MIRAX slide belongs to it, and hidden
    files and folders are nobody's.

    Raises:
        InputError: there is no such file.
    """
    found: dict[Path, FoundFile] = {}
    for argument in arguments:
        paths = [Path(argument)]
        if not (is_file(paths[0]) or is_folder(paths[0])):
            names = glob.glob(argument, recursive=True) if glob.has_magic(argument) else []  # noqa: PTH207  may be absolute
            paths = sorted(map(Path, names))
        if not paths:
            raise InputError(f"{argument}: no such file or folder; correct the name")
        for path in paths:
            if not is_folder(path):
                found[full_path(path)] = FoundFile(path, named=True)
                continue
            if len(paths) > 1 and _slide_of(path):
                continue
            if slide := _slide_of(path):
                raise InputError(f"{path}: is the folder of a slide; name the slide: {slide}")
            for file in _files(path, set()):
                found.setdefault(full_path(file), FoundFile(file, named=False))
    return list(found.values())


def _files(folder: Path, above: set[Path]) -> Iterator[Path]:
    """Files of a folder and of those in it; a link that leads back is not followed."""
    real = folder.resolve()
    if real in above:
        return
    try:
        entries = sorted(os.scandir(folder), key=lambda entry: entry.name)
    except OSError as error:
        raise InputError(f"{folder}: cannot be listed ({error.strerror}); leave it out") from None
    for entry in entries:
        path = folder / entry.name
        if entry.name.startswith("."):
            continue
        if not is_folder(path):
            yield path
        elif not _slide_of(path):
            yield from _files(path, above | {real})


def _slide_of(folder: Path) -> Path | None:
    """The slide that a folder belongs to, such as that of a .mrxs."""
    names = (folder.parent / f"{folder.name}{suffix}" for end in FOLDERS for suffix in (end, end.upper()))
    return next(filter(is_file, names), None)
