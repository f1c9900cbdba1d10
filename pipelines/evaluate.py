"""The segmenter on the test split: one global confusion matrix, ungated and gated by the classifier."""

import runpy
from functools import partial
from typing import TYPE_CHECKING, Any

from wsss_mm import places
from wsss_mm.errors import InputError
from wsss_mm.files import digest, write_json
from wsss_mm.formats import read_object, write_object
from wsss_mm.patches import read_manifest
from wsss_mm.patches.digests import judged_digest, judged_rows
from wsss_mm.places import FIGURES
from wsss_mm.vocabulary import get_vocabulary

if TYPE_CHECKING:
    import pandas as pd

    from wsss_mm.evaluation.judge import Judgement
    from wsss_mm.settings import Params
    from wsss_mm.tracking.tracker import Tracker

PATCHES, CLASSIFIER, SEGMENTER = places.PATCHES, places.CLASSIFIER, places.SEGMENTER
METRICS, SUMMARY, PICTURE = places.TEST_METRICS, places.SUMMARY_METRICS, places.TEST_PICTURE
PROBE = places.LINEAR_PROBE
CLASSES, PSEUDO_LABELS = places.CLASSIFIER_METRICS, places.PSEUDO_LABEL_METRICS


def main(params: "Params", tracker: "Tracker") -> None:
    """Predict the test patches, count pixels, and show the best, median and worst patches."""
    from wsss_mm.choosing import read_choice
    from wsss_mm.evaluation.judge import judge_patches
    from wsss_mm.evaluation.linear_probe import linear_probe
    from wsss_mm.evaluation.predict import predict_patches
    from wsss_mm.evaluation.report import typical_sheet
    from wsss_mm.inference.runtime import choose_device, prepare_torch
    from wsss_mm.models import load_model
    from wsss_mm.models.description import TEMPERATURE
    from wsss_mm.models.members import load_classifiers

    prepare_torch(params.threads)
    settings, vocabulary = params.evaluate, get_vocabulary(params.cohort.vocabulary)
    manifest = read_manifest(PATCHES, vocabulary)
    rows = judged_rows(manifest, "test")
    if rows.empty:
        raise InputError(f"{PATCHES}/manifest.parquet: no test patch has a mask; add annotated slides of split test")
    device = choose_device()
    segmenter, info = load_model(SEGMENTER, device, vocabulary.codes)
    classifiers, _ = load_classifiers(CLASSIFIER, device, vocabulary.codes)
    how = {"scales": settings.scales, "flip": settings.flip, "threshold": settings.gate_threshold}
    predict = partial(predict_patches, segmenter, classifiers[0], folder=PATCHES, **how)
    judgement = judge_patches(predict(rows), vocabulary, info.get(TEMPERATURE, 1.0))
    metrics = write_reports(judgement, manifest, params)
    write_object(PROBE, FIGURES, linear_probe(judgement, manifest, PATCHES, places.FEATURES_MEMORY, vocabulary.codes))
    labeller = read_choice(places.CHOICE_FILE).labeller(*classifiers)
    where = {"folder": PATCHES, "vocabulary": vocabulary, "mpp": params.patches.mpp, "path": PICTURE}
    typical_sheet(rows, judgement.patches, predict=predict, labeller=labeller, **where)
    shown = {"seed": params.seed, "vocabulary": params.cohort.vocabulary, "evaluate": settings}
    found = (SEGMENTER / places.WEIGHTS, metrics, judgement.ungated, vocabulary, PICTURE)
    tracker.evaluation(*found, params=shown, inputs=[PATCHES, SEGMENTER, CLASSIFIER])


def write_reports(judgement: "Judgement", manifest: "pd.DataFrame", params: "Params") -> dict[str, Any]:
    """Write the figures of the test split, the few of the whole line, and the counts they follow from."""
    from wsss_mm.evaluation.report import headline, test_metrics, write_plots

    vocabulary = get_vocabulary(params.cohort.vocabulary)
    metrics = test_metrics(judgement, judged_rows(manifest, "test"), vocabulary, params)
    metrics["test_split"] = judged_digest(manifest, "test", PATCHES)
    metrics["weights_md5"] = {path.name: digest(path / places.WEIGHTS, "md5") for path in (SEGMENTER, CLASSIFIER)}
    write_object(METRICS, FIGURES, metrics)
    pseudo_labels, classes = (read_object(path, FIGURES) for path in (PSEUDO_LABELS, CLASSES))
    write_json(SUMMARY, headline(metrics, pseudo_labels, classes, vocabulary.codes))
    write_plots(judgement, vocabulary)
    return metrics


if __name__ == "__main__":
    runpy.run_module("pipelines", run_name="__main__")
