"""Pseudo-labels of the training patches; judged where there is pixel truth, which never trains anything."""

import runpy
from collections.abc import Iterable
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import pandas as pd

from wsss_mm import places
from wsss_mm.cam.pictures import pseudo_label_sheet
from wsss_mm.cam.store import LabelledPatch, label_patches, made_by, write_pseudo_labels
from wsss_mm.choosing import read_choice
from wsss_mm.errors import InputError
from wsss_mm.evaluation import confusion_matrix
from wsss_mm.evaluation.report import pseudo_label_metrics
from wsss_mm.evaluation.tables import count_table, write_plot
from wsss_mm.files import atomic_path, digest
from wsss_mm.formats import write_object
from wsss_mm.inference.runtime import choose_device, prepare_torch
from wsss_mm.models.members import classifiers_md5, load_classifiers
from wsss_mm.patches import read_manifest
from wsss_mm.patches.images import read_mask
from wsss_mm.patches.manifest import FILE_NAME
from wsss_mm.places import FIGURES
from wsss_mm.vocabulary import IGNORE, Vocabulary, get_vocabulary

if TYPE_CHECKING:
    from wsss_mm.settings import Params

PATCHES, OUT, MODEL = places.PATCHES, places.PSEUDO_LABELS, places.CLASSIFIER
METRICS, PICTURE = places.PSEUDO_LABEL_METRICS, places.PSEUDO_LABEL_PICTURE
COUNTS = places.PSEUDO_LABEL_COUNTS


def main(params: "Params") -> None:
    """Label the training patches, then judge labels made the same way wherever a patch has a mask."""
    prepare_torch(params.threads)
    vocabulary = get_vocabulary(params.cohort.vocabulary)
    manifest = read_manifest(PATCHES, vocabulary)
    train = manifest[manifest["split"] == "train"]
    if train.empty:
        raise InputError(f"{PATCHES}/manifest.parquet: no patch in split train; check the cohort's splits")
    classifiers, _ = load_classifiers(MODEL, choose_device(), vocabulary.codes, members=params.classifier.members)
    labeller = read_choice(places.CHOICE_FILE).labeller(*classifiers)

    made_of = {"patches": digest(PATCHES / FILE_NAME), "classifier": classifiers_md5(MODEL), **made_by(classifiers)}
    frame = write_pseudo_labels(label_patches(labeller, train, PATCHES, vocabulary), OUT, vocabulary, made_of)
    judged, counts = [], [np.zeros((0, len(vocabulary), len(vocabulary)), dtype=np.int64)]
    for _, rows in manifest[manifest["mask_path"].notna()].groupby("split"):
        known, matrices = judge(label_patches(labeller, rows, PATCHES, vocabulary), vocabulary)
        judged.append(rows[["patch_id", "split"]].assign(known=known))
        counts.append(matrices)
    patches, matrices = pd.concat([manifest.head(0)[["patch_id", "split"]], *judged]), np.concatenate(counts)
    metrics = pseudo_label_metrics(frame, patches, matrices, vocabulary.codes)
    write_object(METRICS, FIGURES, metrics | {"weights_md5": made_of["classifier"]})
    write_plot(count_table(patches["patch_id"].tolist(), vocabulary.codes, labels=matrices), COUNTS)
    with atomic_path(PICTURE) as path:
        pseudo_label_sheet(labeller, manifest, PATCHES, vocabulary).save(path)


def judge(patches: Iterable[LabelledPatch], vocabulary: Vocabulary) -> tuple[list[int], npt.NDArray[np.int64]]:
    """Pixels with a truth, and the confusion matrix (C, C) of those that have a pseudo-label too, a patch."""
    known, counts = [], []
    for patch in patches:
        truth = read_mask(PATCHES / patch.row["mask_path"], len(vocabulary))
        known.append(int((truth != IGNORE).sum()))
        truth = np.where(patch.labels == IGNORE, IGNORE, truth)
        counts.append(confusion_matrix(truth, patch.labels, len(vocabulary)))
    return known, np.stack(counts)


if __name__ == "__main__":
    runpy.run_module("pipelines", run_name="__main__")
