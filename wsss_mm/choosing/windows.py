"""Validation patches, cut and labelled like training patches: what a setting of pseudo-labels is tried on."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd

from wsss_mm.inference.patches import read_listed
from wsss_mm.patches.images import read_image, read_mask
from wsss_mm.patches.neighbours import Places, possible_classes
from wsss_mm.patches.truth import classes_in
from wsss_mm.slides.tiling import cover
from wsss_mm.vocabulary import IGNORE

MOST = 1000
"""Windows that are tried on, at most: more cost minutes and change little."""


@dataclass(frozen=True)
class Windows:
    """W squares of the size of training patches, of the patches of a split that have masks.

    Attributes:
        images: (W, S, S, 3) uint8 RGB.
        masks: (W, S, S) uint8, 0..C-1 and `IGNORE`.
        label_sets: (W, C) bool, by the share of a patch that labels a training patch.
        slides: (W,) of each.
        patches: (W,) the patch each was cut from.
        places: where they lie, if training patches overlap, and these do as they do.
    """

    images: npt.NDArray[np.uint8]
    masks: npt.NDArray[np.uint8]
    label_sets: npt.NDArray[np.bool_]
    slides: npt.NDArray[np.object_]
    patches: npt.NDArray[np.object_]
    places: Places | None

    def __len__(self) -> int:
        return len(self.images)

    def allowed(self, part: slice, neighbours: bool) -> npt.NDArray[np.bool_]:
        """(N, C), the label sets of a part of the windows; (N, C, S, S) if neighbours narrow them pixel by pixel."""
        if not neighbours or self.places is None:
            return self.label_sets[part]
        chosen = range(*part.indices(len(self)))
        return np.stack([possible_classes(self.places, self.label_sets, index) for index in chosen])


def validation_windows(
    manifest: pd.DataFrame, folder: Path, codes: tuple[str, ...], *, least: float, placed: bool, most: int = MOST
) -> Windows | None:
    """Cut the validation patches that have masks.

    A patch of the training patches' size is taken as it is, with the label set of the manifest. A larger one is cut
    into squares of that size, by half their side where training patches overlap, else side by side, and each is
    labelled with the classes that have the share `least` of it.

    Args:
        manifest: of all patches.
        folder: where its paths start.
        codes: of the classes.
        least: `patches.min_class_share`.
        placed: whether x and y are px of the patches, as in data sets of patches.
        most: of more windows, as many are taken, evenly over the patches.

    Returns:
        None where no validation patch has a mask with two classes or more in all.
    """
    train = manifest[manifest["split"] == "train"]
    rows = manifest[(manifest["split"] == "valid") & manifest["mask_path"].notna()]
    if train.empty or rows.empty:
        return None
    side = int(train["size"].mode().iloc[0])
    overlap = placed and _overlap(train)
    step = side // 2 if overlap else side
    cut = [window for _, row in rows.iterrows() for window in _cut(row, folder, codes, side, step, least)]
    known = [window for window in cut if (window[1] != IGNORE).any() and window[2].any()]
    if len(known) > most:
        known = [known[index] for index in np.linspace(0, len(known) - 1, most).round().astype(int)]
    images, masks, label_sets, slides, patches, corners = zip(*known, strict=True) if known else ([],) * 6
    if len(np.unique(np.array(masks))) < 2 + (IGNORE in np.unique(np.array(masks))):
        return None
    places = Places(np.array(slides, object), np.array(corners, np.int64), np.full(len(known), side))
    return Windows(
        np.stack(images),
        np.stack(masks),
        np.stack(label_sets),
        places.slides,
        np.array(patches, object),
        places if overlap else None,
    )


Window = tuple[
    npt.NDArray[np.uint8], npt.NDArray[np.uint8], npt.NDArray[np.bool_], str, str, tuple[int, int]
]


def _cut(
    row: pd.Series, folder: Path, codes: tuple[str, ...], side: int, step: int, least: float
) -> Iterator[Window]:
    image = read_listed(read_image, folder / row["path"])
    mask = read_mask(folder / row["mask_path"], len(codes))
    if min(image.shape[:2]) < side:
        return
    for top in cover(image.shape[0], side, step).tolist():
        for left in cover(image.shape[1], side, step).tolist():
            part = (slice(top, top + side), slice(left, left + side))
            whole = image.shape[:2] == (side, side)
            labels = row[list(codes)].to_numpy(bool) if whole else classes_in(mask[part], len(codes), least)
            known = row["x"] >= 0 and row["y"] >= 0
            corner = (int(row["x"]) + left, int(row["y"]) + top) if known else (-1, -1)
            yield image[part], mask[part], labels, row["slide_id"], row["patch_id"], corner


def _overlap(train: pd.DataFrame) -> bool:
    """Whether training patches overlap, as far as their places tell: corners nearer than their side, in px of theirs."""
    places = Places.of(train.head(200))
    return any(len(places.meeting(i, places.corners[i], int(places.sizes[i]))) > 1 for i in range(len(places)))
