"""Gate after `train_classifier`: has it learnt every class, from the patches that were let through?

Reads reports/metrics/classifier.json, metrics on the validation split. Keys used: `mean_ap`, `calibration_error`,
`train.mean_ap`, and per class `ap.<code>`, `prior.<code>` (share of patches that have the class) and
`predicted_positive.<code>` (share of patches where its probability is at least 0.5). None means undefined, for a class
no patch has, and is passed over; a class every patch has tells nothing either. All of them are computed again, from
reports/plots/classifier_scores.csv (each patch's probabilities) and the label sets in data/patches.
models/classifier/model.json says which manifest it was trained on, reports/gates/patches.json which one passed.
"""

from collections.abc import Iterator
from pathlib import Path

import pandas as pd

from wsss_mm import places
from wsss_mm.evaluation.multilabel import classifier_metrics
from wsss_mm.formats import read_object
from wsss_mm.gates.checks import Measured, gate_tables
from wsss_mm.gates.reading import figures, gated_digest, metric, read_metrics, read_numbers, weights_md5
from wsss_mm.patches.manifest import read_manifest
from wsss_mm.places import MODEL as DESCRIPTION
from wsss_mm.settings import Params
from wsss_mm.vocabulary import get_vocabulary

METRICS = places.CLASSIFIER_METRICS
SCORES = places.CLASSIFIER_SCORES
MODEL = places.CLASSIFIER
PATCHES = places.PATCHES

_MAKE = "dvc repro -f train_classifier"

INPUTS, METRICS_TABLE, CLASSES, SCORES_TABLE, FIGURES = gate_tables("classifier").values()


def measure(params: Params, root: Path) -> Iterator[Measured]:
    """Measure the validation metrics: the mean, then each class that some patches have and others lack; then again."""
    path, codes = root / METRICS, get_vocabulary(params.cohort.vocabulary).codes
    metrics = read_metrics(path, _MAKE)
    names = ("ap", "prior", "predicted_positive")
    rows = [
        {"class": code, **{name: metric(metrics, f"{name}.{code}", path, _MAKE) for name in names}} for code in codes
    ]
    classes = pd.DataFrame(rows).query("ap.notna() and 0 < prior < 1").eval("gain = ap - prior")
    values = {name: metric(metrics, name, path, _MAKE) for name in ("mean_ap", "calibration_error", "train.mean_ap")}
    measured = {
        "mean_ap": values["mean_ap"],
        "calibration_error": values["calibration_error"],
        "train_gap": values["train.mean_ap"] - values["mean_ap"],
    }
    inputs = {
        "model": "classifier",
        "patches": read_object(root / MODEL / places.DESCRIPTION, DESCRIPTION, remedy=_MAKE).get("patches", "not said"),
        "gated_patches": gated_digest(root, "manifest"),
        "metrics": metrics.get("weights_md5", "not said"),
        "gated_metrics": weights_md5(root / MODEL, _MAKE),
    }
    yield INPUTS.of(pd.DataFrame([inputs], dtype=object))
    yield METRICS_TABLE.of(pd.DataFrame([{"split": "valid", **measured}]))
    yield CLASSES.of(classes)
    scores = read_numbers(root / SCORES, codes, _MAKE)
    manifest = read_manifest(root / PATCHES, get_vocabulary(params.cohort.vocabulary))
    yield SCORES_TABLE.of(_scores(scores, manifest, codes))
    yield FIGURES.of(figures(path, metrics, classifier_metrics(scores, manifest, codes)))


def _scores(scores: pd.DataFrame, manifest: pd.DataFrame, codes: tuple[str, ...]) -> pd.DataFrame:
    """One row a patch that has, or ought to have, probabilities; those of the test split ought not to."""
    splits = manifest.set_index("patch_id")["split"]
    values = scores[list(codes)]
    low, high = values.min(axis=1, skipna=False), values.max(axis=1, skipna=False)
    found = scores[["patch_id"]].assign(scores=1, lowest=low, highest=high)
    found = found.groupby("patch_id", as_index=False).agg({"scores": "sum", "lowest": "min", "highest": "max"})
    found["scores"] = found["scores"].where(found["patch_id"].map(splits).isin(["train", "valid"]), 0)
    without = splits.index[splits == "valid"].difference(found["patch_id"])
    return pd.concat([found, pd.DataFrame({"patch_id": without, "scores": 0, "lowest": 0.0, "highest": 0.0})])
