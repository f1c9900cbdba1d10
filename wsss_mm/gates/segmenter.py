"""Gate after `evaluate`: is the segmenter good enough to segment slides with?

Reads reports/metrics/test.json, metrics of the test split. Keys used, all under `ungated`: `miou` and per class
`iou.<code>`. None means undefined, for a class without a pixel of truth, and is passed over.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd

from wsss_mm.gates.checks import Check, Table
from wsss_mm.gates.reading import metric, read_metrics
from wsss_mm.patches.manifest import get_vocabulary
from wsss_mm.settings import Params

METRICS = Path("reports/metrics/test.json")

_MAKE = "dvc repro -f evaluate"


def tables(params: Params, root: Path) -> Iterator[Table]:
    """Measure the test metrics: the mean, then each class that has pixels of truth."""
    path = root / METRICS
    metrics = read_metrics(path, _MAKE)
    rows = [
        {"class": code, "iou": metric(metrics, f"ungated.iou.{code}", path, _MAKE)}
        for code in get_vocabulary(params.cohort.vocabulary).codes
    ]
    mean = pd.DataFrame({"metric": ["miou"], "value": [metric(metrics, "ungated.miou", path, _MAKE)]})
    yield Table("metrics", mean, "metric", lambda gxe: _metric_checks(gxe, params))
    yield Table("classes", pd.DataFrame(rows).dropna(), "class", lambda gxe: _class_checks(gxe, params))


def _metric_checks(gxe: Any, params: Params) -> list[Check]:
    least = params.gates.segmenter.min_miou
    return [
        Check(
            "miou",
            f"mean IoU on the test split is at least {least:g}",
            gxe.ExpectColumnValuesToBeBetween(column="value", min_value=least, max_value=1),
            "train longer (segmenter.iterations), or improve the pseudo-labels",
        )
    ]


def _class_checks(gxe: Any, params: Params) -> list[Check]:
    least = params.gates.segmenter.min_class_iou
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
    ]
