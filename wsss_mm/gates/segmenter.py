"""Gate after `evaluate`: is the segmenter good enough to segment slides with, and no step back?

Reads reports/metrics/test.json, metrics of the test split. Keys used: `test_split`, the digest of what was judged,
`weights_md5`, and under `ungated` `miou` and per class `iou.<code>`; None means undefined, for a class without a pixel
of truth, and is passed over. reports/metrics/pseudo_labels.json says how good the labels it learnt from are on the same
patches. All figures of test.json, summary.json, test_iou.csv and test_confusion.csv are computed again, from
reports/plots/test_counts.csv, whose true pixels are counted again in the masks of data/patches, and calibration from
reports/plots/test_calibration.csv.
models/segmenter/model.json says which pseudo-labels it was trained on, reports/gates which ones passed. champion.json
pins what it is compared with.
"""

import math
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from wsss_mm import places
from wsss_mm.errors import InputError
from wsss_mm.evaluation.calibration import Calibration
from wsss_mm.evaluation.judge import Judgement
from wsss_mm.evaluation.report import headline, test_metrics
from wsss_mm.evaluation.tables import confusion_table, count_columns, counts_of, iou_table
from wsss_mm.formats import read_object
from wsss_mm.gates.champion import read_pin, rival
from wsss_mm.gates.checks import Measured, gate_tables
from wsss_mm.gates.reading import (
    figures,
    gated_digest,
    metric,
    read_metrics,
    read_numbers,
    table_cells,
    weights_md5,
)
from wsss_mm.models.description import TEMPERATURE
from wsss_mm.patches.digests import judged_rows
from wsss_mm.patches.images import read_mask
from wsss_mm.patches.manifest import read_manifest
from wsss_mm.patches.parallel import map_files
from wsss_mm.places import FIGURES as READ_BACK
from wsss_mm.places import MODEL
from wsss_mm.settings import Params
from wsss_mm.vocabulary import get_vocabulary

METRICS, PSEUDO_LABELS = places.TEST_METRICS, places.PSEUDO_LABEL_METRICS
CLASSES, SUMMARY = places.CLASSIFIER_METRICS, places.SUMMARY_METRICS
TRAINING = places.SEGMENTER_METRICS
PLOTS = places.PLOTS
PATCHES, SEGMENTER, CLASSIFIER = places.PATCHES, places.SEGMENTER, places.CLASSIFIER

_MAKE, _TRAIN = "dvc repro -f evaluate", "dvc repro -f train_segmenter"
_KINDS = ("ungated", "gated")

INPUTS, METRICS_TABLE, CLASSES_TABLE, COUNTS, FIGURES = gate_tables("segmenter").values()


def measure(params: Params, root: Path) -> Iterator[Measured]:
    """Measure the test metrics: what was judged, the mean, each class that has pixels of truth; then all of it again.

    Args:
        params: All of params.yaml.
        root: The project's root.
    """
    path, vocabulary = root / METRICS, get_vocabulary(params.cohort.vocabulary)
    metrics = read_metrics(path, _MAKE)
    model = read_object(root / SEGMENTER / places.DESCRIPTION, MODEL, remedy=_TRAIN)
    inputs = _inputs(root, metrics, model)
    yield INPUTS.of(pd.DataFrame([inputs], dtype=object))
    miou = metric(metrics, "ungated.miou", path, _MAKE)
    pseudo = {"test.miou": None} | read_metrics(root / PSEUDO_LABELS, "dvc repro -f pseudo_labels")
    champion = rival(read_pin(root), params.register_.model_name, inputs["gated_segmenter"], inputs["split"])
    measured = {
        "split": "test",
        "miou": miou,
        "below_pseudo_labels": metric(pseudo, "test.miou", root / PSEUDO_LABELS, "dvc repro -f pseudo_labels") - miou,
        "below_champion": math.nan if champion is None else champion - miou,
    }
    yield METRICS_TABLE.of(pd.DataFrame([measured]))
    confusion = _read_plot(root / PLOTS / "test_confusion.csv", ["actual", "predicted"], "pixels")
    ratio = confusion.groupby("predicted")["pixels"].sum() / confusion.groupby("actual")["pixels"].sum()
    rows = [
        {
            "class": code,
            "iou": metric(metrics, f"ungated.iou.{code}", path, _MAKE),
            "predicted_ratio": ratio.get(code, math.nan),
        }
        for code in vocabulary.codes
    ]
    yield CLASSES_TABLE.of(pd.DataFrame(rows).dropna(subset="iou"))
    counts = read_numbers(root / PLOTS / "test_counts.csv", count_columns(_KINDS, vocabulary.codes), _MAKE)
    judged = judged_rows(read_manifest(root / PATCHES, vocabulary), "test")
    yield COUNTS.of(_counted(counts, judged, root, vocabulary.codes))
    rows = judged.set_index("patch_id").loc[counts["patch_id"]].reset_index()
    judgement = Judgement.of(rows, *(counts_of(counts, kind, vocabulary.codes) for kind in _KINDS), vocabulary.codes)
    calibration = _calibration(root / places.TEST_CALIBRATION, model.get(TEMPERATURE, 1.0))
    expected = test_metrics(replace(judgement, calibration=calibration), judged, vocabulary, params)
    classifier = {"mean_ap": None} | read_object(root / CLASSES, READ_BACK, remedy="dvc repro -f train_classifier")
    summary = headline(expected, {"test": {"miou": pseudo["test.miou"]}}, classifier, vocabulary.codes)
    iou = _read_plot(root / PLOTS / "test_iou.csv", ["class"], "iou")[["class", "iou"]]
    tables = (
        figures(path, metrics, expected),
        figures(root / SUMMARY, read_metrics(root / SUMMARY, _MAKE), summary),
        figures(root / TRAINING, read_metrics(root / TRAINING, _TRAIN), model.get("valid", {})),
        figures(
            root / PLOTS / "test_confusion.csv",
            table_cells(confusion, ["actual", "predicted"]),
            table_cells(confusion_table(judgement.ungated, vocabulary.codes), ["actual", "predicted"]),
        ),
        figures(
            root / PLOTS / "test_iou.csv",
            table_cells(iou, ["class"]),
            table_cells(iou_table(expected["ungated"], vocabulary.codes), ["class"]),
        ),
    )
    yield FIGURES.of(pd.concat(tables, ignore_index=True))


def _inputs(root: Path, metrics: Mapping[str, Any], model: Mapping[str, Any]) -> dict[str, Any]:
    """What was trained and judged, beside what the gates let through and what is there."""
    return {
        "model": "segmenter",
        "split": metrics.get("test_split", "not said"),
        "gated_split": gated_digest(root, "test"),
        "labels": model.get("pseudo_labels", "not said"),
        "gated_labels": gated_digest(root, "manifest", "pseudo_labels"),
        "patches": model.get("patches", "not said"),
        "gated_patches": gated_digest(root, "manifest"),
        **{folder.name: metrics.get(f"weights_md5.{folder.name}", "not said") for folder in (SEGMENTER, CLASSIFIER)},
        **{f"gated_{folder.name}": weights_md5(root / folder, "dvc repro") for folder in (SEGMENTER, CLASSIFIER)},
    }


def _calibration(path: Path, temperature: float) -> Calibration | None:
    """What the calibration is computed of; None where there is no such table, and then no figure of it may be stated.

    Raises:
        InputError: it is no such table.
    """
    if not path.is_file():
        return None
    try:
        return Calibration.of_table(pd.read_csv(path), temperature)
    except (OSError, ValueError, KeyError, TypeError) as error:
        why = " ".join(str(error).split())
        raise InputError(f"{path}: not a table of confidence ({why}); make it again: {_MAKE}") from None


def _counted(counts: pd.DataFrame, judged: pd.DataFrame, root: Path, codes: tuple[str, ...]) -> pd.DataFrame:
    """One row a patch that has, or ought to have, counts: how many pixels they are off its mask."""
    masks = map_files(lambda path: read_mask(root / PATCHES / path, len(codes)), judged["mask_path"], "count masks")
    pixels = [np.bincount(mask.ravel(), minlength=256)[: len(codes)] for mask in masks]
    truth, nothing = dict(zip(judged["patch_id"], pixels, strict=True)), np.zeros(len(codes), dtype=np.int64)
    found = counts.fillna(-1)
    sums = np.stack([counts_of(found, kind, codes).sum(axis=2) for kind in _KINDS])
    off = [int(abs(sums[:, row] - truth.get(name, nothing)).sum()) for row, name in enumerate(counts["patch_id"])]
    repeats = counts.groupby("patch_id")["patch_id"].transform("size")
    rows = counts[["patch_id"]].assign(off=off, rows=repeats.where(counts["patch_id"].isin(truth), 0))
    without = [name for name, pixels in truth.items() if pixels.any() and name not in set(counts["patch_id"])]
    return pd.concat([rows, pd.DataFrame({"patch_id": without, "off": 0, "rows": 0})], ignore_index=True)


def _read_plot(path: Path, index: list[str], value: str) -> pd.DataFrame:
    """A small table: columns of text, and one of numbers, among others.

    Raises:
        InputError: it is missing or no such table.
    """
    try:
        frame = pd.read_csv(path, dtype=dict.fromkeys(index, str), keep_default_na=False)
        if frame.duplicated(index).any():
            raise ValueError("a row is there twice")
        return frame.astype({value: float})
    except FileNotFoundError:
        raise InputError(f"{path}: not found; make it with: {_MAKE}") from None
    except (OSError, ValueError, KeyError, TypeError) as error:
        why = " ".join(str(error).split())
        raise InputError(f"{path}: not a table of pixels ({why}); make it again: {_MAKE}") from None
