"""Metrics of the patch classifier: each class is a question of its own (METHOD.md section 2)."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt


def multilabel_metrics(
    truth: npt.ArrayLike, scores: npt.ArrayLike, codes: Sequence[str], threshold: float = 0.5
) -> dict[str, float | None]:
    """Metrics of multi-label scores.

    Args:
        truth: (N, C) label sets, bool or 0/1.
        scores: (N, C) probabilities, 0..1.
        codes: the C class codes.
        threshold: a class counts as predicted from this score on.

    Returns:
        Per class `ap.<code>` (average precision), `auc.<code>` (area under the ROC curve), `f1.<code>`, and their means
        over the classes where they are defined, `mean_ap`, `mean_auc`, `mean_f1`; in 0..1. None where undefined: AP and
        F1 of a class no patch has, AUC of a class that no patch or every patch has. Also per class `prior.<code>` and
        `predicted_positive.<code>`: the shares of patches that have it and that are predicted to have it.

    Raises:
        ValueError: shapes differ, or a score is not finite.
    """
    from sklearn.metrics import average_precision_score, f1_score, roc_auc_score

    truth, scores = np.asarray(truth, dtype=bool), np.asarray(scores, dtype=np.float64)
    if truth.shape != scores.shape or truth.ndim != 2 or truth.shape[1] != len(codes):
        raise ValueError(f"truth has shape {truth.shape}, scores {scores.shape}, for {len(codes)} classes")
    if not np.isfinite(scores).all():
        raise ValueError("scores are not finite")
    metrics: dict[str, float | None] = {}
    predicted = scores >= threshold
    for index, code in enumerate(codes):
        labels, values = truth[:, index], scores[:, index]
        some, every = bool(labels.any()), bool(labels.all())
        metrics[f"ap.{code}"] = float(average_precision_score(labels, values)) if some else None
        metrics[f"auc.{code}"] = float(roc_auc_score(labels, values)) if some and not every else None
        metrics[f"f1.{code}"] = float(f1_score(labels, predicted[:, index], zero_division=0)) if some else None
        metrics[f"prior.{code}"] = float(labels.mean())
        metrics[f"predicted_positive.{code}"] = float(predicted[:, index].mean())
    for name in ("ap", "auc", "f1"):
        defined = [value for code in codes if (value := metrics[f"{name}.{code}"]) is not None]
        metrics[f"mean_{name}"] = float(np.mean(defined)) if defined else None
    return metrics
