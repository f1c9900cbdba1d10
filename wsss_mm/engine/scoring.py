"""What a trained classifier says of a split."""

from pathlib import Path

import numpy as np
import pandas as pd
import torch

from wsss_mm.datasets import PatchLabelDataset
from wsss_mm.engine.runner import prepare_torch
from wsss_mm.models import load_model


def classifier_scores(
    model: Path | str,
    patches: Path | str,
    *,
    split: str,
    limit: int | None = None,
    batch_size: int = 16,
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
    classifier, info = load_model(model)
    dataset = PatchLabelDataset(str(patches), info["vocabulary"], split, cache_bytes=0)
    count = len(dataset) if limit is None else min(limit, len(dataset))
    chosen = [index * len(dataset) // count for index in range(count)]
    scores = []
    for start in range(0, count, batch_size):
        images = [dataset.decoded(index)["img"] for index in chosen[start : start + batch_size]]
        same_size = len({image.shape for image in images}) == 1
        for group in [images] if same_size else [[image] for image in images]:
            batch = torch.from_numpy(np.stack(group).transpose(0, 3, 1, 2).copy())
            scores.append(classifier.predict(batch).numpy())
    frame = pd.DataFrame(np.concatenate(scores), columns=[item["code"] for item in info["classes"]])
    frame.insert(0, "patch_id", [dataset.records[index]["patch_id"] for index in chosen])
    return frame
