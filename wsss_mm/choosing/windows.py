"""Validation patches, cut and labelled like training patches: what a setting of pseudo-labels is tried on."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd

from wsss_mm.patches.images import read_listed, read_mask
from wsss_mm.patches.manifest import possible_labels
from wsss_mm.patches.neighbours import Places, possible_classes
from wsss_mm.patches.stains import patch_reader
from wsss_mm.patches.truth import classes_in
from wsss_mm.slides.tiling import cover
from wsss_mm.sources import UNKNOWN
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
        patients: (W,) likewise.
        patches: (W,) the patch each was cut from.
        places: where they lie, if training patches overlap, and these do as they do.
    """

    images: npt.NDArray[np.uint8]
    masks: npt.NDArray[np.uint8]
    label_sets: npt.NDArray[np.bool_]
    slides: npt.NDArray[np.object_]
    patients: npt.NDArray[np.object_]
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
    cutter = _Cutter(folder, patch_reader(folder, rows), codes, side, side // 2 if overlap else side, least)
    sets = possible_labels(rows, codes)
    cut = [window for (_, row), own in zip(rows.iterrows(), sets, strict=True) for window in cutter.cut(row, own)]
    known = [window for window in cut if (window.mask != IGNORE).any() and window.label_set.any()]
    if len(np.setdiff1d(np.array([window.mask for window in known]), [IGNORE])) < 2:
        return None
    if len(known) > most:
        known = [known[index] for index in np.linspace(0, len(known) - 1, most).round().astype(int)]
    slides = np.array([window.slide for window in known], object)
    corners = np.array([window.corner for window in known], np.int64)
    return Windows(
        np.stack([window.image for window in known]),
        np.stack([window.mask for window in known]),
        np.stack([window.label_set for window in known]),
        slides,
        np.array([window.patient for window in known], object),
        np.array([window.patch for window in known], object),
        Places(slides, corners, np.full(len(known), side)) if overlap else None,
    )


@dataclass(frozen=True)
class _Window:
    """One square: as the fields of `Windows`, and the `corner` (x, y), px of the patch's slide."""

    image: npt.NDArray[np.uint8]
    mask: npt.NDArray[np.uint8]
    label_set: npt.NDArray[np.bool_]
    slide: str
    patient: str
    patch: str
    corner: tuple[int, int]


@dataclass(frozen=True)
class _Cutter:
    """Cuts patches into squares of `side` px, every `step` px."""

    folder: Path
    read: Callable[[Path], npt.NDArray[np.uint8]]
    codes: tuple[str, ...]
    side: int
    step: int
    least: float

    def cut(self, row: pd.Series, whole: npt.NDArray[np.bool_]) -> Iterator[_Window]:
        """The squares of a patch, whose own label set is `whole`; none of one that is smaller."""
        image = read_listed(self.read, self.folder / row["path"])
        mask = read_mask(self.folder / row["mask_path"], len(self.codes))
        (height, width), side = mask.shape, self.side
        if min(height, width) < side:
            return
        placed = row["x"] >= 0 and row["y"] >= 0
        for top in cover(height, side, self.step).tolist():
            for left in cover(width, side, self.step).tolist():
                part = (slice(top, top + side), slice(left, left + side))
                own = whole if (height, width) == (side, side) else classes_in(mask[part], len(self.codes), self.least)
                corner = (int(row["x"]) + left, int(row["y"]) + top) if placed else (UNKNOWN, UNKNOWN)
                whose = row["slide_id"], row["patient_id"], row["patch_id"]
                yield _Window(image[part], mask[part], own, *whose, corner)


def _overlap(train: pd.DataFrame) -> bool:
    """Whether training patches overlap, as far as their places tell."""
    places = Places.of(train.head(200))
    return any(len(places.meeting(i, places.corners[i], int(places.sizes[i]))) > 1 for i in range(len(places)))
