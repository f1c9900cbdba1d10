"""How well a slide's map fits pixel truth, where there is some (the phantom cohort)."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from wsss_mm.evaluation import confusion_matrix, segmentation_metrics
from wsss_mm.slides.labels import label_bands, read_label_tiff, resample_labels
from wsss_mm.vocabulary import IGNORE


def judge_slide(segmentation: Path, truth: Path, codes: Sequence[str]) -> dict[str, float | None]:
    """Compare a finished map with truth of the same field at any resolution.

    Args:
        segmentation: segmentation.tif of a slide.
        truth: label TIFF, 0..C-1 and `IGNORE`.
        codes: the C class codes.

    Returns:
        `wsss_mm.evaluation.segmentation_metrics` over the pixels that both call tissue, and `coverage`, the share of
        true tissue that the map does not call background.
    """
    exact = read_label_tiff(truth)
    confusion, known, covered = np.zeros((len(codes),) * 2, np.int64), 0, 0
    for top, band in label_bands(segmentation):
        scale = exact.shape[1] / band.shape[1]
        target = resample_labels(exact, 0, top * scale, band.shape[::-1], scale)
        known += int((target != IGNORE).sum())
        target = np.where(band == IGNORE, IGNORE, target)
        covered += int((target != IGNORE).sum())
        confusion += confusion_matrix(target, band, len(codes))
    return {"coverage": covered / known if known else None, **segmentation_metrics(confusion, codes)}
