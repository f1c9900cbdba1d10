"""The files of a lab's project as this version of the package brings them.

In a wheel they lie in `files`, where setup.py puts them; in a checkout they are the checkout's own. `own` beside them
holds what is a lab's alone.
"""

import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

from wsss_mm import __version__
from wsss_mm.errors import InputError
from wsss_mm.files import digest
from wsss_mm.places import CODE_OF_PHANTOM, GATES_FILE, PARAMS_FILE, PIPELINE, STAGE_CODE
from wsss_mm.project.stages import code_files, without_code
from wsss_mm.settings.profiles import render_gates, render_profile

PACKAGE = Path(__file__).parents[1]
_LIST, _OWN, _IN_WHEEL = (Path(__file__).with_name(name) for name in ("files.txt", "own", "files"))
_DEFAULT = "phantom"
_REQUIREMENTS = "requirements.in"


def shipped() -> dict[str, str]:
    """Text of each file by its path in a project, posix.

    Raises:
        InputError: the package lacks its files.
    """
    files = dict(sorted((*_listed(), *_own())))
    pipeline = files[PIPELINE]
    files |= code_files(pipeline, PACKAGE, _digest) | {PIPELINE: without_code(pipeline)}
    files[_REQUIREMENTS] = re.sub(r"^\.\[line\]$", f"wsss-mm[line]=={__version__}", files[_REQUIREMENTS], flags=re.M)
    files |= {PARAMS_FILE: render_profile(_DEFAULT, CODE_OF_PHANTOM), GATES_FILE: render_gates(_DEFAULT)}
    return dict(sorted(files.items()))


def patterns() -> list[str]:
    """What `files.txt` lists."""
    lines = _LIST.read_text(encoding="utf-8").splitlines()
    return [line for line in lines if line and not line.startswith("#")]


def _listed() -> Iterator[tuple[str, str]]:
    root = _IN_WHEEL if _IN_WHEEL.is_dir() else PACKAGE.parent
    for pattern in patterns():
        found = sorted(root.glob(pattern))
        if not found:
            raise InputError(f"{root / pattern}: not found, which a project begins with; install wsss-mm anew")
        for path in found:
            yield path.relative_to(root).as_posix(), path.read_text(encoding="utf-8")


def _own() -> Iterator[tuple[str, str]]:
    for path in sorted(_OWN.rglob("*")):
        if path.is_file():
            yield path.relative_to(_OWN).as_posix(), path.read_text(encoding="utf-8")


@cache
def _digest(path: Path) -> str:
    return digest(path)


def changed_code(root: Path) -> str | None:
    """A file of the installed package that is not the one that a project's stages rest on; None if all are.

    A checkout of this project watches the files themselves, and has no lists of them.
    """
    for listed in sorted((root / STAGE_CODE).glob("*.sha256")):
        for line in listed.read_text(encoding="utf-8").splitlines():
            sha256, _, name = line.partition("  ")
            path = PACKAGE.parent / name
            if not line.startswith("#") and not (path.is_file() and _digest(path) == sha256):
                return name
    return None
