"""What is reported of a segmenter on a split: metrics, tables for plots, and a sheet of typical patches."""

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from wsss_mm.evaluation.bootstrap import bootstrap
from wsss_mm.evaluation.confusion import segmentation_metrics
from wsss_mm.evaluation.judge import Judgement, failed_patches, typical_patches
from wsss_mm.evaluation.tables import confusion_table, count_table, iou_table, with_colors, write_plot
from wsss_mm.files import atomic_path
from wsss_mm.patches.background import without_glass
from wsss_mm.pictures import SheetRow, contact_sheet, overlays
from wsss_mm.places import TEST_CALIBRATION, TEST_CONFUSION, TEST_COUNTS, TEST_IOU
from wsss_mm.vocabulary import Vocabulary

if TYPE_CHECKING:
    from wsss_mm.cam import PseudoLabeller
    from wsss_mm.evaluation.predict import PatchPrediction
    from wsss_mm.settings import Params


def split_metrics(judgement: Judgement, rows: pd.DataFrame, vocabulary: Vocabulary, threshold: float) -> dict[str, Any]:
    """Metrics `ungated` and `gated` (with the gate's `threshold`), `n_patches` and `n_slides` of the manifest rows."""
    return {
        "ungated": segmentation_metrics(judgement.ungated, vocabulary.codes),
        "gated": segmentation_metrics(judgement.gated, vocabulary.codes) | {"threshold": threshold},
        "n_patches": len(rows),
        "n_slides": int(rows["slide_id"].nunique()),
    }


def test_metrics(judgement: Judgement, rows: pd.DataFrame, vocabulary: Vocabulary, params: "Params") -> dict[str, Any]:
    """`split_metrics` of the test split, their `bootstrap`, `failed_patches`, `calibration` and `site_metrics`."""
    settings = params.evaluate
    calibration = judgement.calibration
    return {
        **({} if calibration is None else {"calibration": calibration.figures()}),
        **split_metrics(judgement, rows, vocabulary, settings.gate_threshold),
        "bootstrap": bootstrap(judgement, vocabulary.codes, resamples=settings.bootstrap, seed=params.seed),
        "failed_patches": failed_patches(judgement, vocabulary.codes),
        **site_metrics(judgement, rows, vocabulary.codes),
    }


def site_metrics(judgement: Judgement, rows: pd.DataFrame, codes: Sequence[str]) -> dict[str, Any]:
    """Under `sites`, for each site of the split what it has and how good the map is there; nothing of a single site.

    Args:
        judgement: of the split.
        rows: manifest rows of the split; patches without a site are of none.
        codes: the C class codes.
    """
    sites = rows.set_index("patch_id")["site"].reindex(judgement.patches["patch_id"]).fillna("").to_numpy(str)
    known = sorted(set(sites) - {""})
    if len(known) < 2:
        return {}
    found = {}
    for site in known:
        here, judged = sites == site, judgement.patches[sites == site]
        counts = {"n_patches": len(judged), "n_slides": int(judged["slide_id"].nunique())}
        found[site] = counts | segmentation_metrics(judgement.patch_ungated[here].sum(axis=0), codes)
    return {"sites": found}


def pseudo_label_metrics(
    labels: pd.DataFrame,
    judged: pd.DataFrame,
    counts: npt.NDArray[np.int64],
    codes: Sequence[str],
) -> dict[str, Any]:
    """All figures of the pseudo-labels.

    Args:
        labels: their manifest.
        judged: the P patches that have a mask: their `split`, and `known`, the number of pixels with a true class.
        counts: (P, C, C) confusion matrices over the pixels with both a pseudo-label and a truth.
        codes: the C class codes.

    Returns:
        Means of the manifest's figures; by split the segmentation metrics, and the share of the truth covered.
    """
    measured = ["coverage", *(f"share_{code}" for code in codes), "agreement"]
    metrics: dict[str, Any] = labels[measured].mean().to_dict()
    for split in sorted(set(judged["split"])):
        here = (judged["split"] == split).to_numpy()
        known, confusion = int(judged.loc[here, "known"].sum()), counts[here].sum(axis=0)
        covered = {"coverage": int(confusion.sum()) / known if known else None}
        metrics[split] = covered | segmentation_metrics(confusion, codes)
    return metrics


def headline(
    test: dict[str, Any], pseudo_labels: dict[str, Any], classifier: dict[str, Any], codes: Sequence[str]
) -> dict[str, float | None]:
    """The few numbers of a whole line that are compared first; all of the test split but the classifier's (valid).

    Args:
        test: see `split_metrics`.
        pseudo_labels: metrics by split; `test` is missing where no test patch has a mask.
        classifier: multi-label metrics.
        codes: class codes.
    """
    return {
        "miou": test["ungated"]["miou"],
        "miou_gated": test["gated"]["miou"],
        "miou_pseudo_labels": pseudo_labels.get("test", {}).get("miou"),
        "classifier_mean_ap": classifier["mean_ap"],
        **{f"iou.{code}": test["ungated"][f"iou.{code}"] for code in codes},
    }


def write_plots(judgement: Judgement, vocabulary: Vocabulary) -> None:
    """What `dvc plots` draws of the test split, and the counts that all its figures follow from."""
    codes = vocabulary.codes
    write_plot(with_colors(iou_table(segmentation_metrics(judgement.ungated, codes), codes), vocabulary), TEST_IOU)
    write_plot(confusion_table(judgement.ungated, codes), TEST_CONFUSION)
    counts = {"ungated": judgement.patch_ungated, "gated": judgement.patch_gated}
    if judgement.calibration is not None:
        write_plot(judgement.calibration.table(), TEST_CALIBRATION)
    write_plot(count_table(judgement.patches["patch_id"].tolist(), codes, **counts), TEST_COUNTS)


def typical_sheet(
    rows: pd.DataFrame,
    patches: pd.DataFrame,
    *,
    predict: "Callable[[pd.DataFrame], Iterable[PatchPrediction]]",
    labeller: "PseudoLabeller",
    folder: Path,
    vocabulary: Vocabulary,
    mpp: float,
    path: Path,
) -> None:
    """Draw the best, median and worst patches: image, pseudo-label, prediction, truth.

    Which these are, the number of wrong pixels says. The prediction is shown as a slide's map is: glass has no class.

    Args:
        rows: manifest rows of the split.
        patches: `Judgement.patches`.
        predict: predicts manifest rows; it is asked again for the few that are shown, so that a split's images need not
            be kept.
        labeller: makes their pseudo-labels, from the label sets in the manifest.
        folder: where the manifest's paths start.
        vocabulary: the classes.
        mpp: um/px of the patches.
        path: of the PNG.
    """
    from wsss_mm.cam.store import label_patches

    judged = patches.set_index("patch_id")
    kinds = {patch: kind for kind, ids in typical_patches(patches).items() for patch in ids}
    chosen = rows[rows["patch_id"].isin(kinds)]
    found = {patch.patch_id: patch for patch in predict(chosen)}
    labelled = label_patches(labeller, chosen, folder, vocabulary, among=rows)
    labels = {patch.row["patch_id"]: patch.labels for patch in labelled}
    sheet = [
        SheetRow(
            overlays(
                shown.image, (labels[name], without_glass(shown.image, shown.ungated, mpp), shown.truth), vocabulary
            ),
            f"{kind} · {_wrong(judged.loc[name])} · {name}",
        )
        for name, kind, shown in ((name, kind, found[name]) for name, kind in kinds.items())
    ]
    with atomic_path(path) as temporary:
        contact_sheet(sheet, ["Patch", "Pseudo-label", "Prediction", "Truth"], legend=vocabulary).save(temporary)


def _wrong(row: pd.Series) -> str:
    return f"{row['wrong'] / row['known']:.1%} of {row['known']:,} pixels wrong · mIoU {row['miou']:.2f}"
