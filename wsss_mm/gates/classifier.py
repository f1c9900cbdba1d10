"""Gate after `train_classifier`: has it learnt every class?

Reads reports/metrics/classifier.json, metrics on the validation split. Keys used: `mean_ap`, and per class `ap.<code>`,
`prior.<code>` (share of patches that have the class) and `predicted_positive.<code>` (share of patches where its
probability is at least 0.5). None means undefined, for a class no patch has, and is passed over; a class every patch
has tells nothing either.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd

from wsss_mm.gates.checks import Check, Table
from wsss_mm.gates.reading import metric, read_metrics
from wsss_mm.patches.manifest import get_vocabulary
from wsss_mm.settings import Params

METRICS = Path("reports/metrics/classifier.json")

_MAKE = "dvc repro -f train_classifier"
_REMEDY = "train longer (classifier.epochs), lower classifier.lr, or label more patches of it"


def tables(params: Params, root: Path) -> Iterator[Table]:
    """Measure the validation metrics: the mean, then each class that some patches have and others lack."""
    path = root / METRICS
    metrics = read_metrics(path, _MAKE)
    names = ("ap", "prior", "predicted_positive")
    rows = [
        {"class": code, **{name: metric(metrics, f"{name}.{code}", path, _MAKE) for name in names}}
        for code in get_vocabulary(params.cohort.vocabulary).codes
    ]
    classes = pd.DataFrame(rows).query("ap.notna() and 0 < prior < 1").eval("gain = ap - prior")
    mean = pd.DataFrame({"metric": ["mean_ap"], "value": [metric(metrics, "mean_ap", path, _MAKE)]})
    yield Table("metrics", mean, "metric", lambda gxe: _metric_checks(gxe, params))
    yield Table("classes", classes, "class", lambda gxe: _class_checks(gxe, params))


def _metric_checks(gxe: Any, params: Params) -> list[Check]:
    least = params.gates.classifier.min_mean_ap
    return [
        Check(
            "mean_ap",
            f"mean average precision on the validation split is at least {least:g}",
            gxe.ExpectColumnValuesToBeBetween(column="value", min_value=least, max_value=1),
            "train longer (classifier.epochs), lower classifier.lr, or label more patches",
        )
    ]


def _class_checks(gxe: Any, params: Params) -> list[Check]:
    gate = params.gates.classifier
    return [
        Check(
            "some_class_is_judged",
            f"validation patches differ in at least {gate.min_judged_classes} of the classes",
            gxe.ExpectTableRowCountToBeBetween(min_value=gate.min_judged_classes),
            "move slides into the validation split until its patches differ in their labels",
        ),
        Check(
            "better_than_chance",
            f"the average precision of a class exceeds its prior by at least {gate.min_ap_gain:g}",
            gxe.ExpectColumnValuesToBeBetween(column="gain", min_value=gate.min_ap_gain),
            _REMEDY,
        ),
        Check(
            "predicted_in_some",
            f"a class is predicted in at least {gate.min_predicted:.1%} of the patches",
            gxe.ExpectColumnValuesToBeBetween(column="predicted_positive", min_value=gate.min_predicted),
            _REMEDY,
        ),
        Check(
            "not_predicted_in_all",
            f"a class is predicted in at most {gate.max_predicted:.1%} of the patches",
            gxe.ExpectColumnValuesToBeBetween(column="predicted_positive", max_value=gate.max_predicted),
            _REMEDY,
        ),
    ]
