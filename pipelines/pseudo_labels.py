"""Pseudo-labels of the training patches; judged where there is pixel truth, which never trains anything."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import torch

from pipelines import run_stage
from wsss_mm.cam import PseudoLabeller
from wsss_mm.cam.pictures import pseudo_label_sheet
from wsss_mm.cam.store import LabelledPatch, label_patches, write_pseudo_labels
from wsss_mm.engine.runner import prepare_torch
from wsss_mm.errors import InputError
from wsss_mm.evaluation import confusion_matrix, segmentation_metrics
from wsss_mm.files import atomic_path, write_json
from wsss_mm.models import load_model
from wsss_mm.patches import IGNORE, Vocabulary, get_vocabulary, read_manifest
from wsss_mm.patches.images import read_mask
from wsss_mm.settings import Params

PATCHES, OUT, MODEL = Path("data/patches"), Path("data/pseudo_labels"), Path("models/classifier")
METRICS, PICTURE = Path("reports/metrics/pseudo_labels.json"), Path("reports/pictures/pseudo_labels.png")


def main(params: Params) -> None:
    """Label the training patches, then judge labels made the same way wherever a patch has a mask."""
    prepare_torch(params.threads)
    vocabulary = get_vocabulary(params.cohort.vocabulary)
    manifest = read_manifest(PATCHES, vocabulary)
    train = manifest[manifest["split"] == "train"]
    if train.empty:
        raise InputError(f"{PATCHES}/manifest.parquet: no patch in split train; check the cohort's splits")
    device = "cuda" if torch.cuda.is_available() else "cpu"
    options = params.pseudo_labels.model_dump()
    classifier, _ = load_model(MODEL, device, vocabulary.codes)
    labeller = PseudoLabeller(classifier, **options, device=device)

    frame = write_pseudo_labels(label_patches(labeller, train, PATCHES, vocabulary), OUT, vocabulary)
    metrics: dict[str, Any] = frame.drop(columns=["patch_id", "path"]).mean().to_dict()
    for split, rows in manifest[manifest["mask_path"].notna()].groupby("split"):
        metrics[str(split)] = judge(label_patches(labeller, rows, PATCHES, vocabulary), vocabulary)
    write_json(METRICS, metrics)
    with atomic_path(PICTURE) as path:
        pseudo_label_sheet(labeller, manifest, PATCHES, vocabulary).save(path)


def judge(patches: Iterable[LabelledPatch], vocabulary: Vocabulary) -> dict[str, float | None]:
    """Segmentation metrics over the pixels with both a pseudo-label and a truth, and the share of truth covered."""
    size = len(vocabulary)
    confusion, covered, known = np.zeros((size, size), dtype=np.int64), 0, 0
    for patch in patches:
        truth = read_mask(PATCHES / patch.row["mask_path"], size)
        known += int((truth != IGNORE).sum())
        truth = np.where(patch.labels == IGNORE, IGNORE, truth)
        covered += int((truth != IGNORE).sum())
        confusion += confusion_matrix(truth, patch.labels, size)
    return {"coverage": covered / known if known else None, **segmentation_metrics(confusion, vocabulary.codes)}


if __name__ == "__main__":
    run_stage(main)
