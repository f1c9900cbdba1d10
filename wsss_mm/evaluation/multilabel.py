"""Metrics of the patch classifier: each class is a question of its own (METHOD.md section 2)."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from wsss_mm.patches.manifest import known_mask

if TYPE_CHECKING:
    import pandas as pd


def multilabel_metrics(
    truth: npt.ArrayLike,
    scores: npt.ArrayLike,
    codes: Sequence[str],
    threshold: float = 0.5,
    known: npt.ArrayLike | None = None,
) -> dict[str, float | None]:
    """Metrics of multi-label scores.

    Args:
        truth: (N, C) label sets, bool or 0/1.
        scores: (N, C) probabilities, 0..1.
        codes: the C class codes.
        threshold: a class counts as predicted from this score on.
        known: (N, C) bool, where the truth says something; None where it does everywhere. The figures of a class are of
            the patches of which it is known.

    Returns:
        Per class `ap.<code>` (average precision), `auc.<code>` (area under the ROC curve), `f1.<code>`, and their means
        over the classes where they are defined, `mean_ap`, `mean_auc`, `mean_f1`; in 0..1. None where undefined: AP and
        F1 of a class no patch has, AUC of a class that no patch or every patch has, all of a class that is known of no
        patch. Also per class `prior.<code>` and
        `predicted_positive.<code>`: the shares of patches that have it and that are predicted to have it, and
        `calibration_error.<code>` with its mean over the classes, `calibration_error`.

    Raises:
        ValueError: shapes differ, or a score is not finite.
    """
    from sklearn.metrics import average_precision_score, f1_score, roc_auc_score

    truth, scores = np.asarray(truth, dtype=bool), np.asarray(scores, dtype=np.float64)
    if truth.shape != scores.shape or truth.ndim != 2 or truth.shape[1] != len(codes):
        raise ValueError(f"truth has shape {truth.shape}, scores {scores.shape}, for {len(codes)} classes")
    if not np.isfinite(scores).all():
        raise ValueError("scores are not finite")
    judged = np.ones_like(truth) if known is None else np.asarray(known, dtype=bool)
    if judged.shape != truth.shape:
        raise ValueError(f"truth has shape {truth.shape}, known {judged.shape}")
    metrics: dict[str, float | None] = {}
    predicted = scores >= threshold
    for index, code in enumerate(codes):
        rows = judged[:, index]
        labels, values = truth[rows, index], scores[rows, index]
        some, every = bool(labels.any()), bool(labels.all())
        metrics[f"ap.{code}"] = float(average_precision_score(labels, values)) if some else None
        metrics[f"auc.{code}"] = float(roc_auc_score(labels, values)) if some and not every else None
        metrics[f"f1.{code}"] = float(f1_score(labels, predicted[rows, index], zero_division=0)) if some else None
        nothing = known is not None and not rows.any()
        metrics[f"prior.{code}"] = None if nothing else float(labels.mean())
        metrics[f"predicted_positive.{code}"] = None if nothing else float(predicted[rows, index].mean())
        metrics[f"calibration_error.{code}"] = None if nothing else calibration_error(labels, values)
    for name, mean in (("calibration_error", "calibration_error"), *((of, f"mean_{of}") for of in ("ap", "auc", "f1"))):
        defined = [value for code in codes if (value := metrics[f"{name}.{code}"]) is not None]
        metrics[mean] = float(np.mean(defined)) if defined else None
    return metrics


def classifier_metrics(scores: "pd.DataFrame", manifest: "pd.DataFrame", codes: Sequence[str]) -> dict[str, Any]:
    """What is reported of a classifier.

    Args:
        scores: a row a patch, validation patches and some training patches: `patch_id`, and each class's probability.
        manifest: of all patches, with their splits and label sets.
        codes: the C class codes.

    Returns:
        `multilabel_metrics` and the number `n` of the validation patches; under `train` `mean_ap` and `n` of the rest.
    """
    rows = manifest.set_index("patch_id").loc[scores["patch_id"]]
    values, labels, judged = scores[list(codes)].to_numpy(), rows[list(codes)].to_numpy(bool), rows["split"] == "valid"
    known = known_mask(rows, codes)
    found, learnt = (
        multilabel_metrics(labels[part], values[part], codes, known=known[part]) | {"n": int(part.sum())}
        for part in (judged.to_numpy(), ~judged.to_numpy())
    )
    return found | {"train": {name: learnt[name] for name in ("mean_ap", "n")}}


def calibration_error(labels: npt.ArrayLike, scores: npt.ArrayLike, bins: int = 10) -> float:
    """Expected calibration error of one class (Guo et al., ICML 2017), 0..1.

    Args:
        labels: (N,) bool or 0/1.
        scores: (N,) probabilities, 0..1.
        bins: of equal width.

    Returns:
        The mean, over patches, of the distance between the mean score and the frequency of the class in the patch's bin
        of scores; 0 without patches.
    """
    labels, scores = np.asarray(labels, dtype=np.float64), np.asarray(scores, dtype=np.float64)
    if not len(scores):
        return 0.0
    which = np.minimum((scores * bins).astype(int), bins - 1)
    surplus = np.bincount(which, weights=scores - labels, minlength=bins)
    return float(np.abs(surplus).sum() / len(scores))
