"""The segmenter on the test split: one global confusion matrix, ungated and gated by the classifier."""

import runpy
from functools import partial
from typing import TYPE_CHECKING, Any

from wsss_mm import places
from wsss_mm.errors import InputError
from wsss_mm.files import digest
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
METRICS, PICTURE = places.TEST_METRICS, places.TEST_PICTURE
CLASSES, PSEUDO_LABELS = places.CLASSIFIER_METRICS, places.PSEUDO_LABEL_METRICS
SUMMARY = places.SUMMARY_METRICS
IOU, CONFUSION = places.TEST_IOU, places.TEST_CONFUSION
COUNTS = places.TEST_COUNTS


def main(params: "Params", tracker: "Tracker") -> None:
    """Predict the test patches, count pixels, and show the best, median and worst patches."""
    from wsss_mm.choosing import read_choice
    from wsss_mm.evaluation.judge import judge
    from wsss_mm.evaluation.predict import predict_patches
    from wsss_mm.evaluation.report import typical_sheet
    from wsss_mm.inference.runtime import choose_device, prepare_torch
    from wsss_mm.models import load_model

    prepare_torch(params.threads)
    settings, vocabulary = params.evaluate, get_vocabulary(params.cohort.vocabulary)
    manifest = read_manifest(PATCHES, vocabulary)
    rows = judged_rows(manifest, "test")
    if rows.empty:
        raise InputError(f"{PATCHES}/manifest.parquet: no test patch has a mask; add annotated slides of split test")
    device = choose_device()
    segmenter, classifier = (load_model(path, device, vocabulary.codes)[0] for path in (SEGMENTER, CLASSIFIER))
    predict = partial(
        predict_patches,
        segmenter,
        classifier,
        folder=PATCHES,
        scales=settings.scales,
        flip=settings.flip,
        threshold=settings.gate_threshold,
    )
    judgement = judge(predict(rows), vocabulary)
    metrics = write_reports(judgement, manifest, params)
    typical_sheet(
        rows,
        judgement.patches,
        predict=predict,
        labeller=read_choice(places.CHOICE_FILE).labeller(classifier),
        folder=PATCHES,
        vocabulary=vocabulary,
        path=PICTURE,
    )
    tracker.evaluation(
        SEGMENTER / places.WEIGHTS,
        metrics,
        judgement.ungated,
        vocabulary,
        PICTURE,
        params={"seed": params.seed, "vocabulary": params.cohort.vocabulary, "evaluate": settings},
        inputs=[PATCHES, SEGMENTER, CLASSIFIER],
    )


def write_reports(judgement: "Judgement", manifest: "pd.DataFrame", params: "Params") -> dict[str, Any]:
    """Write the figures of the test split, the few of the whole line, and the counts they follow from."""
    from wsss_mm.evaluation.report import headline, test_metrics
    from wsss_mm.evaluation.tables import confusion_table, count_table, iou_table, with_colors, write_plot

    vocabulary = get_vocabulary(params.cohort.vocabulary)
    metrics = test_metrics(judgement, judged_rows(manifest, "test"), vocabulary, params)
    metrics["test_split"] = judged_digest(manifest, "test", PATCHES)
    metrics["weights_md5"] = {path.name: digest(path / places.WEIGHTS, "md5") for path in (SEGMENTER, CLASSIFIER)}
    write_object(METRICS, FIGURES, metrics)
    pseudo_labels, classes = (read_object(path, FIGURES) for path in (PSEUDO_LABELS, CLASSES))
    write_object(SUMMARY, FIGURES, headline(metrics, pseudo_labels, classes, vocabulary.codes))
    write_plot(with_colors(iou_table(metrics["ungated"], vocabulary.codes), vocabulary), IOU)
    write_plot(confusion_table(judgement.ungated, vocabulary.codes), CONFUSION)
    counts = {"ungated": judgement.patch_ungated, "gated": judgement.patch_gated}
    write_plot(count_table(judgement.patches["patch_id"].tolist(), vocabulary.codes, **counts), COUNTS)
    return metrics


if __name__ == "__main__":
    runpy.run_module("pipelines", run_name="__main__")
