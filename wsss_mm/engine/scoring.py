"""What a trained classifier says of a split, and what it sees in patches."""

from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd

from wsss_mm.inference.patches import BATCH_SIZE, Batch, predict
from wsss_mm.inference.runtime import choose_device, device_of, prepare_torch
from wsss_mm.models import load_model
from wsss_mm.patches import get_vocabulary, read_manifest


def classifier_scores(
    model: Path | str,
    patches: Path | str,
    *,
    split: str,
    limit: int | None = None,
    batch_size: int = BATCH_SIZE,
    threads: int = 0,
) -> pd.DataFrame:
    """`patch_id` and each class's probability, a row a patch of a split, in the order of the manifest.

    Args:
        model: Folder of the classifier.
        patches: Folder of the patches' manifest.
        split: train, valid or test.
        limit: So many patches, evenly taken, instead of all.
        batch_size: Patches at a time.
        threads: CPU threads of torch, 0 for all cores.
    """
    prepare_torch(threads)
    classifier, info = load_model(model, choose_device())
    frame = read_manifest(patches, get_vocabulary(info["vocabulary"]))
    rows = frame[frame["split"] == split]
    count = len(rows) if limit is None else min(limit, len(rows))
    rows = rows.iloc[[index * len(rows) // count for index in range(count)]]
    shown = predict(
        rows,
        Path(patches),
        lambda batch: classifier.predict(batch.images).cpu().numpy(),
        device_of(classifier),
        name=f"scores {split}",
        batch_size=batch_size,
    )
    scores = pd.DataFrame(
        np.stack([patch.found for patch in shown]), columns=[item["code"] for item in info["classes"]]
    )
    scores.insert(0, "patch_id", rows["patch_id"].tolist())
    return scores


def classifier_features(
    model: Path | str, patches: Path | str, rows: pd.DataFrame, *, threads: int = 0
) -> npt.NDArray[np.float32]:
    """What a classifier sees in patches before its head, averaged over each, (N, D).

    Args:
        model: Folder of the classifier.
        patches: Folder of the patches' manifest.
        rows: Of it.
        threads: CPU threads of torch, 0 for all cores.
    """
    prepare_torch(threads)
    classifier, _ = load_model(model, choose_device())

    def step(batch: Batch) -> list[npt.NDArray[np.float32]]:
        return list(classifier.describe(batch.images)[0].float().cpu().numpy())

    shown = predict(rows, Path(patches), step, device_of(classifier), name="features")
    return np.stack([patch.found for patch in shown])
