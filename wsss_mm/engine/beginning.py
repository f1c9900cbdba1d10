"""The weights a training begins with, as model.json names them."""

from pathlib import Path
from typing import Any

from wsss_mm.dvc_files import check_tracked
from wsss_mm.files import digest
from wsss_mm.models.description import DESCRIPTION, INITIAL, WEIGHTS, check_digest, described


def beginning(path: Path | None) -> dict[str, Any]:
    """What model.json says of initial weights: the file and its sha256, and what that model itself began with, if any.

    Args:
        path: The file; None where there is none. One that is missing is left to the backbone that reads it.

    Returns:
        Empty, or `initial_weights`: `file`, `sha256`, and where the file is a trained model's, its `initial_weights`.

    Raises:
        InputError: the file is another than the one that DVC owns, or that the model.json beside it describes.
    """
    if path is None or not path.is_file():
        return {}
    check_tracked(path)
    said: dict[str, Any] = {}
    if path.name == WEIGHTS and (path.parent / DESCRIPTION).is_file():
        info = described(path.parent)
        check_digest(path.parent, info)
        said = {INITIAL: info[INITIAL]} if INITIAL in info else {}
    name = path.name if path.is_absolute() else path.as_posix()  # a machine's own folders say nothing elsewhere
    return {INITIAL: {"file": name, "sha256": digest(path), **said}}
