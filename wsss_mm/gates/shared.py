"""Whether patches of two splits show the same tissue in part: a leak that neither names nor whole pictures tell."""

from collections.abc import Callable, Iterator
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd

from wsss_mm.gates.checks import Measured, gate_tables
from wsss_mm.places import FEATURES_MEMORY
from wsss_mm.places import PATCHES as FOLDER

SHARED = gate_tables("patches")["patches of valid and test"]


class _View(NamedTuple):
    """A square of a patch: its row, and its corner, px."""

    row: int
    top: int
    left: int


def measure_shared(manifest: pd.DataFrame, files: pd.DataFrame, root: Path) -> Iterator[Measured]:
    """One row a patch of valid and test, with a patch of another split that shows a part of its tissue, or "none".

    Whole pictures that come again are measured elsewhere. Larger patches than those of training are looked at in
    squares of that size; smaller ones are passed over.

    Args:
        manifest: of all patches.
        files: what their files show; patches without a `look` cannot be read, and are passed over. Where there is a
            `grey`, see `small_grey`, the file is not read again.
        root: of the project.
    """
    from wsss_mm.features.shared import nearest_pairs, shared_tissue, small_grey
    from wsss_mm.patches.images import read_image

    known = files["look"].notna() & (files["pixels"] == manifest["size"].map("{0} x {0}".format))
    rows = manifest.assign(sha256=files["file_sha256"], grey=files["grey"])[known].reset_index(drop=True)
    judged, found = rows["split"] != "train", dict[int, str]()
    if judged.any() and not judged.all():
        folder, side = root / FOLDER, int(rows.loc[~judged, "size"].mode().iloc[0])
        views = [view for row, size in enumerate(rows["size"]) for view in _views(row, int(size), side)]
        whole = lru_cache(maxsize=64)(lambda row: read_image(folder / rows["path"].iloc[row]))

        def shown(number: int) -> np.ndarray:
            view = views[number]
            return whole(view.row)[view.top : view.top + side, view.left : view.left + side]

        def grey(number: int) -> np.ndarray:
            row = views[number].row
            kept = rows["grey"].iat[row] if rows["size"].iat[row] == side else None
            return small_grey(shown(number)) if kept is None else kept

        features = _features(views, rows, root, side, shown)
        splits = [rows["split"].iloc[view.row] for view in views]
        for pair in shared_tissue(nearest_pairs(features, splits), grey):
            one, other = views[pair.first].row, views[pair.second].row
            if pair.shifted or rows["size"].iloc[one] != rows["size"].iloc[other]:
                for own, theirs in ((one, other), (other, one)):
                    found.setdefault(own, f"{rows['patch_id'].iloc[theirs]}, {pair}")
    said = pd.Series([found.get(row, "none") for row in range(len(rows))], dtype=object)
    yield SHARED.of(pd.DataFrame({"patch_id": rows["patch_id"], "shared": said})[judged].reset_index(drop=True))


def _views(row: int, size: int, side: int) -> Iterator[_View]:
    """A patch of the training patches' side as it is, a larger one in squares of it."""
    from wsss_mm.slides.tiling import cover

    if size >= side:
        yield from (
            _View(row, int(top), int(left)) for top in cover(size, side, side) for left in cover(size, side, side)
        )


def _features(
    views: list[_View], rows: pd.DataFrame, root: Path, side: int, shown: Callable[[int], np.ndarray]
) -> np.ndarray:
    """Colour and texture of views: of whole patches as they are kept by the sha256 of the image, for all who ask."""
    from wsss_mm.features.patches import patch_features, statistics
    from wsss_mm.features.statistics import simple_features

    kept = rows[rows["size"] == side]
    values = patch_features(kept, root / FOLDER, statistics(), root / FEATURES_MEMORY)
    known = dict(zip(kept.index, values, strict=True))
    return np.stack(
        [
            known[view.row] if view.row in known else simple_features(shown(number)[None])[0]
            for number, view in enumerate(views)
        ]
    )
