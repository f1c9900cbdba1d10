"""Pseudo-labels of the training patches; judged where there is pixel truth, which never trains anything."""

import runpy
from functools import partial
from itertools import chain
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from wsss_mm import places
from wsss_mm.cam.nodes import PseudoLabelling, load_labeller
from wsss_mm.cam.pictures import pseudo_label_sheet
from wsss_mm.cam.store import finish_pseudo_labels, made_by, write_label
from wsss_mm.choosing import read_choice
from wsss_mm.clusters import named_cluster
from wsss_mm.errors import InputError
from wsss_mm.evaluation.judge import judge_label
from wsss_mm.evaluation.report import pseudo_label_metrics
from wsss_mm.evaluation.tables import count_table, write_plot
from wsss_mm.files import atomic_folder, atomic_path, digest, remove_unfinished
from wsss_mm.formats import write_object
from wsss_mm.inference.runtime import prepare_torch
from wsss_mm.models.members import classifiers_md5
from wsss_mm.patches import read_manifest
from wsss_mm.patches.manifest import FILE_NAME
from wsss_mm.places import FIGURES
from wsss_mm.vocabulary import get_vocabulary

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
    make = read_choice(places.CHOICE_FILE).labeller
    load = partial(load_labeller, MODEL, make, vocabulary.codes, params.classifier.members)
    labelling = PseudoLabelling(load, PATCHES, vocabulary)
    labeller = labelling.labeller

    classifiers = (labeller.model, *labeller.others)
    made_of = {"patches": digest(PATCHES / FILE_NAME), "classifier": classifiers_md5(MODEL), **made_by(classifiers)}
    masked = [rows for _, rows in manifest[manifest["mask_path"].notna()].groupby("split")]
    judge = partial(judge_label, folder=PATCHES, classes=len(vocabulary))
    with atomic_folder(OUT) as folder:
        write = partial(write_label, folder=folder, vocabulary=vocabulary)
        records, *judged = labelling.each([(train, write), *((rows, judge) for rows in masked)])
        records = list(records)
        if named_cluster():
            remove_unfinished(folder)  # of a node that died
        frame = finish_pseudo_labels(records, folder, vocabulary, made_of)
    found = list(chain.from_iterable(judged))
    patches = pd.concat([manifest.head(0), *masked])[["patch_id", "split"]].assign(known=[known for known, _ in found])
    matrices = np.array([counts for _, counts in found], np.int64).reshape(-1, len(vocabulary), len(vocabulary))
    metrics = pseudo_label_metrics(frame, patches, matrices, vocabulary.codes)
    write_object(METRICS, FIGURES, metrics | {"weights_md5": made_of["classifier"]})
    write_plot(count_table(patches["patch_id"].tolist(), vocabulary.codes, labels=matrices), COUNTS)
    with atomic_path(PICTURE) as path:
        pseudo_label_sheet(labeller, manifest, PATCHES, vocabulary).save(path)


if __name__ == "__main__":
    runpy.run_module("pipelines", run_name="__main__")
