"""Whether patches of two splits show the same tissue in part: a leak that neither names nor whole pictures tell."""

from collections.abc import Iterator
from pathlib import Path

import pandas as pd

from wsss_mm.gates.checks import Measured, gate_tables
from wsss_mm.places import FEATURES_MEMORY
from wsss_mm.places import PATCHES as FOLDER

SHARED = gate_tables("patches")["judged patches"]


def measure_shared(manifest: pd.DataFrame, files: pd.DataFrame, root: Path) -> Iterator[Measured]:
    """One row a patch of valid and test, with a patch of another split that shows a part of its tissue, or "none".

    Whole pictures that come again are measured elsewhere. Features are those that stage `features` and the studies
    keep, by the sha256 of the image.

    Args:
        manifest: of all patches.
        files: what their files show; patches without a `look` cannot be read, and are passed over.
        root: of the project.
    """
    from wsss_mm.features.patches import patch_features, statistics
    from wsss_mm.features.shared import nearest, shared_tissue
    from wsss_mm.patches.images import read_image

    rows = manifest.assign(sha256=files["file_sha256"])[files["look"].notna()].reset_index(drop=True)
    judged = rows["split"] != "train"
    found: dict[int, str] = {}
    if judged.any():
        features = patch_features(rows, root / FOLDER, statistics(), root / FEATURES_MEMORY)
        pairs = nearest(features, rows["split"].tolist())
        for pair in shared_tissue(pairs, lambda row: read_image(root / FOLDER / rows["path"].iloc[row])):
            if not pair.shifted:
                continue
            for one, other in ((pair.first, pair.second), (pair.second, pair.first)):
                found.setdefault(one, f"{rows['patch_id'].iloc[other]}, {pair}")
    said = pd.Series([found.get(row, "none") for row in range(len(rows))], dtype=object)
    yield SHARED.of(pd.DataFrame({"patch_id": rows["patch_id"], "shared": said})[judged].reset_index(drop=True))
