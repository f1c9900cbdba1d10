"""Judging a segmenter on a split: two global confusion matrices, ungated and gated, and each patch's own mIoU."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import pandas as pd

from wsss_mm.evaluation.calibration import Calibration
from wsss_mm.evaluation.confusion import confusion_matrix, segmentation_metrics
from wsss_mm.patches.images import read_mask
from wsss_mm.vocabulary import IGNORE, Vocabulary

if TYPE_CHECKING:
    from wsss_mm.cam.store import LabelledPatch
    from wsss_mm.evaluation.predict import PatchPrediction


@dataclass(frozen=True)
class Judgement:
    """What came of a split, patch by patch: P patches that have any truth.

    Attributes:
        patch_ungated: (P, C, C) int64 confusion matrices, row = truth.
        patch_gated: the same with the classes suppressed that the classifier does not see.
        patches: a row a patch: patch_id, slide_id, miou (ungated), classes (number present in its truth), known (pixels
            with a truth) and wrong (those of them that are given another class, ungated).
        calibration: how far the segmenter is as often right as it says; None where nobody asked.
    """

    patch_ungated: npt.NDArray[np.int64]
    patch_gated: npt.NDArray[np.int64]
    patches: pd.DataFrame
    calibration: Calibration | None = None

    @classmethod
    def of(
        cls,
        patches: pd.DataFrame,
        ungated: npt.NDArray[np.int64],
        gated: npt.NDArray[np.int64],
        codes: Sequence[str],
    ) -> "Judgement":
        """What came of `patches` (patch_id, slide_id), from their (P, C, C) matrices."""
        miou = [segmentation_metrics(own, codes)["miou"] for own in ungated]
        classes, known = (ungated.sum(axis=2) > 0).sum(axis=1), ungated.sum(axis=(1, 2))
        wrong = known - np.trace(ungated, axis1=1, axis2=2)
        frame = patches[["patch_id", "slide_id"]].reset_index(drop=True)
        frame = frame.assign(miou=miou, classes=classes, known=known, wrong=wrong)
        return cls(ungated, gated, frame)

    @property
    def ungated(self) -> npt.NDArray[np.int64]:
        """(C, C) of the whole split."""
        return self.patch_ungated.sum(axis=0)

    @property
    def gated(self) -> npt.NDArray[np.int64]:
        """(C, C) of the whole split."""
        return self.patch_gated.sum(axis=0)


def judge_patches(
    predictions: "Iterable[PatchPrediction]", vocabulary: Vocabulary, temperature: float | None = None
) -> Judgement:
    """Count the pixels of patches that have a mask; others are passed over.

    Args:
        predictions: of patches.
        vocabulary: the classes.
        temperature: of the segmenter; None where its calibration is not asked for.
    """
    calibration = None if temperature is None else Calibration(temperature)
    size = len(vocabulary)
    ungated, gated, rows = [], [], []
    for patch in predictions:
        if patch.truth is None:
            continue
        own = confusion_matrix(patch.truth, patch.ungated, size)
        if own.any():
            ungated.append(own)
            gated.append(confusion_matrix(patch.truth, patch.gated, size))
            rows.append((patch.patch_id, patch.slide_id))
            if calibration is not None:
                calibration.add(patch.probabilities, patch.truth)
    matrices = (np.array(part, dtype=np.int64).reshape(-1, size, size) for part in (ungated, gated))
    judgement = Judgement.of(pd.DataFrame(rows, columns=["patch_id", "slide_id"]), *matrices, vocabulary.codes)
    return replace(judgement, calibration=calibration)


def judge_label(patch: "LabelledPatch", folder: Path, classes: int) -> tuple[int, npt.NDArray[np.int64]]:
    """Judge the pseudo-label of a patch that has a mask.

    Args:
        patch: with its label.
        folder: where the paths of its row start.
        classes: number of classes C.

    Returns:
        Pixels with a truth, and the confusion matrix (C, C) of those of them that have a pseudo-label.
    """
    truth = read_mask(folder / patch.row["mask_path"], classes)
    labelled = np.where(patch.labels == IGNORE, IGNORE, truth)
    return int((truth != IGNORE).sum()), confusion_matrix(labelled, patch.labels, classes)


def typical_patches(patches: pd.DataFrame, count: int = 2) -> dict[str, list[str]]:
    """The `count` best, median and worst patches of `Judgement.patches`, by how many of their pixels are wrong.

    A patch's own mIoU would call one the worst in which all is right but a corner of a second class. Equally good
    patches: those with more classes first, then by name, so that the choice is the same every time. A patch is never
    named twice; with few patches the later groups are shorter.

    Returns:
        patch ids under `best`, `median`, `worst`.
    """
    order = patches.sort_values(["wrong", "classes", "patch_id"], ascending=[True, False, True])["patch_id"].tolist()
    middle = max(0, (len(order) - count) // 2)
    chosen: dict[str, list[str]] = {"best": order[:count], "median": [], "worst": []}
    for name, ids in (("median", order[middle : middle + count]), ("worst", order[len(order) - count :])):
        taken = {patch for group in chosen.values() for patch in group}
        chosen[name] = [patch for patch in ids if patch not in taken]
    return chosen


def failed_patches(
    judgement: Judgement, codes: Sequence[str], count: int = 3, least: float = 0.1
) -> dict[str, list[str]]:
    """By class, the patches in which it is segmented worst.

    Args:
        judgement: what came of the split.
        codes: class codes.
        count: patches a class.
        least: share of a patch's true pixels that the class must have, so that slivers do not count.

    Returns:
        patch ids, the lowest IoU (ungated) first; among equals the patch with more of the class, then by name.
    """
    matrices, names = judgement.patch_ungated.astype(np.float64), judgement.patches["patch_id"].tolist()
    found = {}
    for index, code in enumerate(codes):
        true, hits = matrices[:, index].sum(axis=1), matrices[:, index, index]
        union = true + matrices[:, :, index].sum(axis=1) - hits
        there = np.flatnonzero(true >= least * matrices.sum(axis=(1, 2)))
        order = sorted(there, key=lambda i: (hits[i] / union[i], -true[i], names[i]))
        found[code] = [names[i] for i in order[:count]]
    return found
