"""Gate after `train_classifier`: has it learnt every class, from the patches that were let through?

Reads reports/metrics/classifier.json, metrics on the validation split. Keys used: `mean_ap`, `calibration_error`,
`train.mean_ap`, and per class `ap.<code>`, `prior.<code>` (share of patches that have the class) and
`predicted_positive.<code>` (share of patches where its probability is at least 0.5). None means undefined, for a class
no patch has, and is passed over; a class every patch has tells nothing either. models/classifier/model.json says which
manifest it was trained on, reports/gates/patches.json which one passed.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd

from wsss_mm.gates.checks import Check, Table, same_inputs
from wsss_mm.gates.reading import gated_digest, metric, read_metrics, read_object
from wsss_mm.patches.manifest import get_vocabulary
from wsss_mm.settings import Params

METRICS = Path("reports/metrics/classifier.json")
MODEL = Path("models/classifier/model.json")

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
    values = {name: metric(metrics, name, path, _MAKE) for name in ("mean_ap", "calibration_error", "train.mean_ap")}
    measured = {
        "mean_ap": values["mean_ap"],
        "calibration_error": values["calibration_error"],
        "train_gap": values["train.mean_ap"] - values["mean_ap"],
    }
    trained_on = str(read_object(root / MODEL, _MAKE).get("patches", "not said"))
    yield same_inputs("patches", trained_on, gated_digest(root, "manifest"), _input_check)
    yield Table("metrics", pd.DataFrame([{"split": "valid", **measured}]), "split", lambda g: _metric_checks(g, params))
    yield Table("classes", classes, "class", lambda gxe: _class_checks(gxe, params))


def _input_check(same: Any) -> Check:
    return Check(
        "trained_on_gated_patches",
        "the classifier was trained on the manifest that gate patches let through",
        same,
        f"train it again: {_MAKE}",
    )


def _metric_checks(gxe: Any, params: Params) -> list[Check]:
    gate = params.gates.classifier
    return [
        Check(
            "mean_ap",
            f"mean average precision on the validation split is at least {gate.min_mean_ap:g}",
            gxe.ExpectColumnValuesToBeBetween(column="mean_ap", min_value=gate.min_mean_ap, max_value=1),
            "train longer (classifier.epochs), lower classifier.lr, or label more patches",
        ),
        Check(
            "calibration",
            f"probabilities differ from frequencies by at most {gate.max_calibration_error:g}, on average",
            gxe.ExpectColumnValuesToBeBetween(
                column="calibration_error", min_value=0, max_value=gate.max_calibration_error
            ),
            "train for fewer epochs, raise classifier.dropout, or label more patches",
        ),
        Check(
            "train_gap",
            f"mean average precision on training patches is at most {gate.max_train_gap:g} above the validation's",
            gxe.ExpectColumnValuesToBeBetween(column="train_gap", max_value=gate.max_train_gap),
            "it learnt patches by heart: label slides of more patients, raise classifier.dropout or color_jitter",
        ),
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
            "class_ap",
            f"the average precision of a class is at least {gate.min_class_ap:g}",
            gxe.ExpectColumnValuesToBeBetween(column="ap", min_value=gate.min_class_ap, max_value=1),
            _REMEDY,
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
