"""What is reported of a segmenter on a split: metrics, tables for plots, and a sheet of typical patches."""

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pandas as pd

from wsss_mm.evaluation.confusion import segmentation_metrics
from wsss_mm.evaluation.judge import Judgement, typical_patches
from wsss_mm.evaluation.pictures import SheetRow, contact_sheet
from wsss_mm.evaluation.predict import PatchPrediction
from wsss_mm.patches.vocabulary import Vocabulary


def split_metrics(judgement: Judgement, rows: pd.DataFrame, vocabulary: Vocabulary, threshold: float) -> dict[str, Any]:
    """Metrics `ungated` and `gated` (with the gate's `threshold`), `n_patches` and `n_slides` of the manifest rows."""
    return {
        "ungated": segmentation_metrics(judgement.ungated, vocabulary.codes),
        "gated": segmentation_metrics(judgement.gated, vocabulary.codes) | {"threshold": threshold},
        "n_patches": len(rows),
        "n_slides": int(rows["slide_id"].nunique()),
    }


def typical_sheet(
    rows: pd.DataFrame,
    patches: pd.DataFrame,
    predict: Callable[[pd.DataFrame], Iterable[PatchPrediction]],
    vocabulary: Vocabulary,
    path: Path,
) -> None:
    """Draw the best, median and worst patches.

    Args:
        rows: manifest rows of the split.
        patches: `Judgement.patches`.
        predict: predicts manifest rows; it is asked again for the few that are shown, so that a split's images need not
            be kept.
        vocabulary: the classes.
        path: of the PNG.
    """
    miou = patches.set_index("patch_id")["miou"]
    kinds = {patch: kind for kind, ids in typical_patches(patches).items() for patch in ids}
    found = {patch.patch_id: patch for patch in predict(rows[rows["patch_id"].isin(kinds)])}
    sheet = [
        SheetRow(
            f"{kind} · mIoU {miou[name]:.2f} · {name}",
            found[name].image,
            {"Prediction": found[name].ungated, "Gated": found[name].gated, "Truth": found[name].truth},
        )
        for name, kind in kinds.items()
    ]
    contact_sheet(sheet, vocabulary, path)
