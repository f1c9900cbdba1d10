"""Gate after `evaluate`: is the segmenter good enough to segment slides with, and no step back?

Reads reports/metrics/test.json, metrics of the test split. Keys used: `test_split`, the digest of what was judged, and
under `ungated` `miou` and per class `iou.<code>`; None means undefined, for a class without a pixel of truth, and is
passed over. reports/plots/test_confusion.csv says how many pixels were given to each class, and
reports/metrics/pseudo_labels.json how good the labels it learnt from are on the same patches.
"""

import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from wsss_mm.errors import InputError
from wsss_mm.gates.checks import Check, Table, same_inputs
from wsss_mm.gates.reading import gated_digest, metric, read_metrics
from wsss_mm.patches.manifest import get_vocabulary
from wsss_mm.settings import Params

METRICS = Path("reports/metrics/test.json")
PSEUDO_LABELS = Path("reports/metrics/pseudo_labels.json")
CONFUSION = Path("reports/plots/test_confusion.csv")

_MAKE = "dvc repro -f evaluate"


def tables(params: Params, root: Path, champion: Mapping[str, Any] | None = None) -> Iterator[Table]:
    """Measure the test metrics: what was judged, the mean, then each class that has pixels of truth.

    Args:
        params: All of params.yaml.
        root: The project's root.
        champion: `miou` and `test_split` of the registered champion, if there is one and it is another model.
    """
    path = root / METRICS
    metrics = read_metrics(path, _MAKE)
    judged = str(metrics.get("test_split", "not said"))
    yield same_inputs("test split", judged, gated_digest(root, "test"), _input_check)
    miou = metric(metrics, "ungated.miou", path, _MAKE)
    pseudo = {"test.miou": None} | read_metrics(root / PSEUDO_LABELS, "dvc repro -f pseudo_labels")
    rival = champion.get("miou") if champion is not None and champion.get("test_split") == judged else None
    measured = {
        "split": "test",
        "miou": miou,
        "over_pseudo_labels": miou - metric(pseudo, "test.miou", root / PSEUDO_LABELS, "dvc repro -f pseudo_labels"),
        "over_champion": math.nan if rival is None else miou - float(rival),
    }
    yield Table("metrics", pd.DataFrame([measured]), "split", lambda gxe: _metric_checks(gxe, params))
    predicted = _predicted(root / CONFUSION)
    rows = [
        {
            "class": code,
            "iou": metric(metrics, f"ungated.iou.{code}", path, _MAKE),
            "predicted_ratio": predicted.get(code, math.nan),
        }
        for code in get_vocabulary(params.cohort.vocabulary).codes
    ]
    classes = pd.DataFrame(rows).dropna(subset="iou")
    yield Table("classes", classes, "class", lambda gxe: _class_checks(gxe, params))


def _predicted(path: Path) -> dict[str, float]:
    """Predicted over true pixels of each class that has pixels of truth."""
    try:
        table = pd.read_csv(path)
        true = table.groupby("actual")["pixels"].sum()
        predicted = table.groupby("predicted")["pixels"].sum()
    except FileNotFoundError:
        raise InputError(f"{path}: not found; make it with: {_MAKE}") from None
    except (OSError, ValueError, KeyError, TypeError) as error:
        why = " ".join(str(error).split())
        raise InputError(f"{path}: not a table of pixels ({why}); make it again: {_MAKE}") from None
    return {str(code): float(predicted.get(code, 0) / count) for code, count in true.items() if count}


def _input_check(same: Any) -> Check:
    return Check(
        "judged_on_gated_split",
        "the segmenter was judged on exactly the test patches and masks that gate patches let through",
        same,
        f"judge it again: {_MAKE}",
    )


def _metric_checks(gxe: Any, params: Params) -> list[Check]:
    gate = params.gates.segmenter
    return [
        Check(
            "miou",
            f"mean IoU on the test split is at least {gate.min_miou:g}",
            gxe.ExpectColumnValuesToBeBetween(column="miou", min_value=gate.min_miou, max_value=1),
            "train longer (segmenter.iterations), or improve the pseudo-labels",
        ),
        Check(
            "pseudo_labels",
            f"mean IoU is at most {gate.max_pseudo_label_drop:g} below that of the test patches' pseudo-labels",
            gxe.ExpectColumnValuesToBeBetween(column="over_pseudo_labels", min_value=-gate.max_pseudo_label_drop),
            "it has not learnt what it was shown: train longer (segmenter.iterations), or lower segmenter.lr",
            optional=True,  # where no test patch has a label set or mask
        ),
        Check(
            "champion",
            f"mean IoU is at most {gate.max_champion_drop:g} below the champion's on the same test split",
            gxe.ExpectColumnValuesToBeBetween(column="over_champion", min_value=-gate.max_champion_drop),
            "keep the champion, and see what changed: dvc params diff",
            optional=True,  # there is none, or it was judged on other patches
        ),
    ]


def _class_checks(gxe: Any, params: Params) -> list[Check]:
    least, collapsed = params.gates.segmenter.min_class_iou, params.gates.segmenter.min_predicted_ratio
    return [
        Check(
            "two_classes_are_judged",
            "the test split has pixels of at least two classes",
            gxe.ExpectTableRowCountToBeBetween(min_value=2),
            "move slides with other tissues into the test split",
        ),
        Check(
            "class_iou",
            f"the IoU of a class is at least {least:g}",
            gxe.ExpectColumnValuesToBeBetween(column="iou", min_value=least, max_value=1),
            "label more patches of it, or train longer (segmenter.iterations)",
        ),
        Check(
            "no_class_collapsed",
            f"a class is given to at least {collapsed:.0%} as many pixels as it has",
            gxe.ExpectColumnValuesToBeBetween(column="predicted_ratio", min_value=collapsed),
            "it never sees this class: check its share in the pseudo-labels, or train longer",
        ),
    ]
