"""Other splits or stains of the line's patches, without a copy of them."""

import shutil
from pathlib import Path

import pandas as pd

from wsss_mm.cohort import TABLE, Cohort
from wsss_mm.files import digest
from wsss_mm.patches import read_manifest
from wsss_mm.patches.manifest import FILE_NAME, write_manifest
from wsss_mm.patches.stains import target_of, write_stains
from wsss_mm.settings import Params
from wsss_mm.sources import SOURCES
from wsss_mm.vocabulary import get_vocabulary


def link_patches(rows: pd.DataFrame, source: Path, folder: Path) -> Path:
    """Make a folder of patches with its own manifest, whose images and masks are those of `source`, linked.

    Args:
        rows: the new manifest.
        source: the line's patches.
        folder: to make.

    Returns:
        `folder`.
    """
    folder.mkdir()
    for name in ("images", "masks"):
        (folder / name).symlink_to((source / name).resolve())
    write_manifest(rows, folder)
    return folder


def stained_patches(params: Params, source: Path, work: Path) -> Path:
    """The patches with the stains that `stain.normalization` asks for: `source` if it has these, else linked in `work`.

    Raises:
        InputError: no training slide has enough tissue to tell its stains.
    """
    method, target = params.stain.normalization, target_of(source)
    if method == ("none" if target is None else target.method):
        return source
    folder = work / f"patches-{method}-{digest(source / FILE_NAME)[:16]}"
    if not folder.exists():
        rows, half = read_manifest(source, get_vocabulary(params.cohort.vocabulary)), work / f"{folder.name}.half"
        work.mkdir(parents=True, exist_ok=True)
        shutil.rmtree(half, ignore_errors=True)
        link_patches(rows, source, half)
        if method != "none":
            cohort = None if params.cohort.name in SOURCES else Cohort.read(TABLE, check_files=False)
            write_stains(half, rows, method, cohort)
        half.rename(folder)
    return folder
