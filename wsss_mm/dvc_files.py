"""What a `.dvc` file says of the file beside it that DVC owns."""

from pathlib import Path
from typing import Any

import yaml

from wsss_mm.errors import InputError
from wsss_mm.files import digest


def dvc_file(path: Path) -> Path:
    """The `.dvc` file of a file, whether or not there is one."""
    return path.with_name(f"{path.name}.dvc")


def tracked_md5(path: Path) -> str | None:
    """The md5 that a file has by its `.dvc` file; None without one.

    Raises:
        InputError: the `.dvc` file says none.
    """
    note = dvc_file(path)
    if not note.is_file():
        return None
    try:
        content: Any = yaml.safe_load(note.read_text(encoding="utf-8"))
        (md5,) = (out["md5"] for out in content["outs"] if out["path"] == path.name)
    except (yaml.YAMLError, UnicodeDecodeError, KeyError, TypeError, ValueError):
        raise InputError(f"{note}: names no md5 of {path.name}; make it again: dvc add {path}") from None
    return str(md5)


def check_tracked(path: Path) -> None:
    """Refuse a file that is another than the one DVC owns by this name.

    Raises:
        InputError: it is.
    """
    wanted = tracked_md5(path)
    if wanted is not None and path.is_file() and (found := digest(path, "md5")) != wanted:
        raise InputError(
            f"{path}: has md5 {found[:12]}, but {wanted[:12]} in {dvc_file(path).name}: cut off or changed; bring it "
            f"back: dvc checkout --force {dvc_file(path)}, or, if this is the right one: dvc add {path}"
        )
