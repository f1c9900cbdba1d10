"""What exactly a split is: a digest that changes with any of its images or masks, and with nothing else."""

import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import pandas as pd

from wsss_mm.patches.shards import is_stored, stored_digest


def judged_rows(manifest: pd.DataFrame, split: str) -> pd.DataFrame:
    """The rows of a split that can be judged, those with a mask."""
    return manifest[(manifest["split"] == split) & manifest["mask_path"].notna()]


def judged_digest(manifest: pd.DataFrame, split: str, folder: Path) -> str:
    """Digest of the patches of a split that have a mask.

    Args:
        manifest: all patches.
        split: train, valid or test.
        folder: where the manifest's paths start.

    Returns:
        sha256 in hex over each patch's id and the digests of its files, in the order of the ids; a file that is missing
        counts as such.
    """
    hasher = hashlib.sha256()
    for row in cast("Iterator[Any]", judged_rows(manifest, split).sort_values("patch_id").itertuples()):
        files = (folder / name for name in (row.path, row.mask_path))
        parts = [str(row.patch_id), *(stored_digest(file) if is_stored(file) else "missing" for file in files)]
        hasher.update(("\t".join(parts) + "\n").encode())
    return hasher.hexdigest()
