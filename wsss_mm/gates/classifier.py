"""Gate after `train_classifier`: has it learnt every class, from the patches that were let through?

Reads reports/metrics/classifier.json, metrics on the validation split. Keys used: `mean_ap`, `calibration_error`,
`train.mean_ap`, and per class `ap.<code>`, `prior.<code>` (share of patches that have the class) and
`predicted_positive.<code>` (share of patches where its probability is at least 0.5). None means undefined, for a class
no patch has, and is passed over; a class every patch has tells nothing either. models/classifier/model.json says which
manifest it was trained on, reports/gates/patches.json which one passed.
"""

from collections.abc import Iterator
from pathlib import Path

import pandas as pd

from wsss_mm.gates.checks import Check, Measured, Table, input_row, same_inputs
from wsss_mm.gates.reading import gated_digest, metric, read_metrics, read_object
from wsss_mm.patches.manifest import get_vocabulary
from wsss_mm.settings import Params

METRICS = Path("reports/metrics/classifier.json")
MODEL = Path("models/classifier/model.json")

_MAKE = "dvc repro -f train_classifier"
_LEARN = "train longer (classifier.epochs), lower classifier.lr, or label more patches"

INPUTS = same_inputs(
    "trained_on_gated_patches",
    "the classifier was trained on the manifest that gate patches let through",
    f"train it again: {_MAKE}",
)
METRICS_TABLE = Table(
    "metrics",
    "split",
    (
        Check(
            "mean_ap",
            "mean_ap",
            "mean average precision on the validation split is at least {min_mean_ap:g}",
            _LEARN,
            low="min_mean_ap",
            high=1,
        ),
        Check(
            "calibration",
            "calibration_error",
            "probabilities differ from frequencies by at most {max_calibration_error:g}, on average",
            "train for fewer epochs, raise classifier.dropout, or label more patches",
            low=0,
            high="max_calibration_error",
        ),
        Check(
            "train_gap",
            "train_gap",
            "mean average precision on training patches is at most {max_train_gap:g} above the validation's",
            "it learnt patches by heart: label slides of more patients, raise classifier.dropout or color_jitter",
            high="max_train_gap",
        ),
    ),
)
CLASSES = Table(
    "classes",
    "class",
    (
        Check(
            "some_class_is_judged",
            None,
            "validation patches differ in at least {min_judged_classes} of the classes",
            "move slides into the validation split until its patches differ in their labels",
            low="min_judged_classes",
        ),
        Check(
            "class_ap",
            "ap",
            "the average precision of a class is at least {min_class_ap:g}",
            f"{_LEARN} of it",
            low="min_class_ap",
            high=1,
        ),
        Check(
            "better_than_chance",
            "gain",
            "the average precision of a class exceeds its prior by at least {min_ap_gain:g}",
            f"{_LEARN} of it",
            low="min_ap_gain",
        ),
        Check(
            "predicted_in_some",
            "predicted_positive",
            "a class is predicted in at least {min_predicted:.1%} of the patches",
            f"{_LEARN} of it",
            low="min_predicted",
        ),
        Check(
            "not_predicted_in_all",
            "predicted_positive",
            "a class is predicted in at most {max_predicted:.1%} of the patches",
            f"{_LEARN} of it",
            high="max_predicted",
        ),
    ),
)
TABLES = (INPUTS, METRICS_TABLE, CLASSES)


def measure(params: Params, root: Path) -> Iterator[Measured]:
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
    yield INPUTS.of(input_row("patches", trained_on, gated_digest(root, "manifest")))
    yield METRICS_TABLE.of(pd.DataFrame([{"split": "valid", **measured}]))
    yield CLASSES.of(classes)
