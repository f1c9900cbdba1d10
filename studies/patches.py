"""Other splits of the line's patches, without a copy of them."""

from pathlib import Path

import pandas as pd

from wsss_mm.patches.manifest import write_manifest


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
