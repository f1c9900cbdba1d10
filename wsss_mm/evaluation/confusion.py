"""One confusion matrix over a split, and the segmentation metrics that follow from it (METHOD.md section 5)."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from wsss_mm.vocabulary import IGNORE

_IOU = "iou."
"""What names of the IoU of a class begin with, before its code."""


def confusion_matrix(
    truth: npt.ArrayLike, prediction: npt.ArrayLike, classes: int, ignore: int = IGNORE
) -> npt.NDArray[np.int64]:
    """Count pixels by true and predicted class.

    Matrices of several images add up to that of all of them.

    Args:
        truth: integer array of any shape, values 0..classes-1 or `ignore`.
        prediction: integer array of the same shape. Where the truth is not `ignore` it must be a class: a prediction
            that abstains is no prediction. To leave such pixels out on purpose, set their truth to `ignore`.
        classes: number of classes C.
        ignore: pixels with this truth do not count.

    Returns:
        (C, C) int64, row = truth, column = prediction.

    Raises:
        ValueError: shapes differ, or a value is neither a class nor `ignore`.

    Examples:
        Two classes; the pixel whose truth is 255 does not count.

        >>> confusion_matrix([0, 0, 0, 1, 255], [0, 0, 1, 1, 0], classes=2)
        array([[2, 1],
               [0, 1]])
    """
    truth, prediction = np.asarray(truth), np.asarray(prediction)
    if truth.shape != prediction.shape:
        raise ValueError(f"truth has shape {truth.shape}, prediction {prediction.shape}")
    valid = truth != ignore
    rows, columns = truth[valid].astype(np.int64), prediction[valid].astype(np.int64)
    for name, values in (("truth", rows), ("prediction", columns)):
        if values.size and not (values.min() >= 0 and values.max() < classes):
            wrong = values[(values < 0) | (values >= classes)][0]
            raise ValueError(f"{name} holds {wrong}, which is none of the {classes} classes")
    return np.bincount(rows * classes + columns, minlength=classes * classes).reshape(classes, classes)


def label_set_confusion(pixels: npt.ArrayLike, label_sets: npt.ArrayLike) -> npt.NDArray[np.float64]:
    """What who knows label sets and sees no picture would have: each class of a patch gets an equal part of each pixel.

    Args:
        pixels: (N, C) true pixels of each class in each patch.
        label_sets: (N, C) bool, the classes each patch holds; a patch that holds none does not count.

    Returns:
        (C, C) expected pixels, row = truth, column = prediction.
    """
    pixels, present = np.asarray(pixels, dtype=np.float64), np.asarray(label_sets, dtype=np.float64)
    return pixels.T @ (present / np.maximum(present.sum(axis=1, keepdims=True), 1))


def segmentation_metrics(confusion: npt.ArrayLike, codes: Sequence[str]) -> dict[str, float | None]:
    """Metrics of a confusion matrix.

    A class without a pixel of truth is absent: its IoU and Dice are None and no part of any mean.

    Args:
        confusion: (C, C) counts, row = truth, column = prediction.
        codes: the C class codes.

    Returns:
        `miou`, `mdice` (means over the classes present), `fw_iou` (IoU weighted by the share of true pixels),
        `pixel_accuracy`, and per class `iou.<code>`, `dice.<code>`; all in 0..1, None where undefined.

    Examples:
        >>> found = segmentation_metrics([[2, 1], [0, 1]], ["TE", "LYM"])
        >>> {name: round(value, 3) for name, value in found.items() if name.startswith(("miou", "iou"))}
        {'miou': 0.583, 'iou.TE': 0.667, 'iou.LYM': 0.5}
    """
    confusion = np.asarray(confusion)
    if confusion.shape != (len(codes), len(codes)):
        raise ValueError(f"confusion matrix of shape {confusion.shape} for {len(codes)} classes")
    found = confusion_metrics(confusion, codes)
    return {name: None if np.isnan(value) else float(value) for name, value in found.items()}


def confusion_metrics(confusion: npt.ArrayLike, codes: Sequence[str]) -> dict[str, npt.NDArray[np.float64]]:
    """The metrics of `segmentation_metrics` for any number of confusion matrices (..., C, C): arrays, NaN for None."""
    confusion = np.asarray(confusion, dtype=np.float64)
    hits = np.diagonal(confusion, axis1=-2, axis2=-1)
    true, predicted = confusion.sum(axis=-1), confusion.sum(axis=-2)
    present, total = true > 0, true.sum(axis=-1)
    iou = _ratio(hits, np.where(present, true + predicted - hits, 0))
    dice = _ratio(2 * hits, np.where(present, true + predicted, 0))
    metrics = {
        "miou": _ratio(np.nansum(iou, axis=-1), present.sum(axis=-1)),
        "mdice": _ratio(np.nansum(dice, axis=-1), present.sum(axis=-1)),
        "fw_iou": _ratio(np.nansum(true * iou, axis=-1), total),
        "pixel_accuracy": _ratio(hits.sum(axis=-1), total),
    }
    for index, code in enumerate(codes):
        metrics[f"{_IOU}{code}"], metrics[f"dice.{code}"] = iou[..., index], dice[..., index]
    return metrics


def _ratio(numerator: npt.NDArray, denominator: npt.NDArray) -> npt.NDArray[np.float64]:
    return np.where(denominator > 0, numerator / np.where(denominator > 0, denominator, 1), np.nan)


def class_ious(metrics: Mapping[str, Any]) -> dict[str, Any]:
    """IoU by class code of figures such as `segmentation_metrics` gives; None where it is undefined there."""
    return {key.removeprefix(_IOU): value for key, value in metrics.items() if key.startswith(_IOU)}
