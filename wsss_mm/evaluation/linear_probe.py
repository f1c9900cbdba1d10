"""The first baseline of every table: a linear probe on fixed features of patches, which takes seconds.

One logistic regression a class learns from the label sets of the training patches. On a patch it knows no places: as a
map, a patch is wholly of its likeliest class. What is no better has learnt nothing that colour and texture do not tell.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from wsss_mm.evaluation.confusion import segmentation_metrics
from wsss_mm.evaluation.judge import Judgement
from wsss_mm.evaluation.multilabel import multilabel_metrics
from wsss_mm.features.patches import patch_features, statistics
from wsss_mm.patches.manifest import known_mask
from wsss_mm.sampling import probe
from wsss_mm.sampling.space import measure_scale

JUDGED = ("valid", "test")


def probed(features: npt.NDArray[Any], manifest: pd.DataFrame, codes: Sequence[str]) -> dict[str, Any]:
    """Mean average precision, and that of each class, on validation and test.

    Args:
        features: (N, D), of the rows of the manifest.
        manifest: of all patches.
        codes: of the classes.
    """
    return _figures(_scores(features, manifest, codes), manifest, codes)


def linear_probe(
    judgement: Judgement,
    manifest: pd.DataFrame,
    folder: Path,
    memory: Path,
    codes: Sequence[str],
) -> dict[str, Any]:
    """A row beside the line's own figures.

    Args:
        judgement: of the patches that the line is judged on, whose true pixels the probe is judged on, too.
        manifest: of all patches.
        folder: of the patches.
        memory: folder that keeps their features.
        codes: of the classes.

    Returns:
        `on` (what the features are), `mean_ap.valid`, `mean_ap.test`, `miou` and `iou.CODE` of the judged patches; none
        where there are no training patches.
    """
    chosen = statistics()  # colour and texture, which need no network and no file
    if not (manifest["split"] == "train").any():
        return {}
    scores = _scores(patch_features(manifest, folder, chosen, memory), manifest, codes)
    figures = _figures(scores, manifest, codes)
    row_of = {patch: row for row, patch in enumerate(manifest["patch_id"])}
    size, counts = len(codes), np.zeros((len(codes), len(codes)), np.int64)
    for patch, own in zip(judgement.patches["patch_id"], judgement.patch_ungated, strict=True):
        counts[:, int(scores[row_of[patch]].argmax())] += own.reshape(size, -1).sum(axis=1)
    means = {f"mean_ap.{split}": figures[f"mean_ap.{split}"] for split in JUDGED if f"mean_ap.{split}" in figures}
    return {"on": chosen.name, **means, **segmentation_metrics(counts, codes)}


def _scores(features: npt.NDArray[Any], manifest: pd.DataFrame, codes: Sequence[str]) -> npt.NDArray[np.float64]:
    """(N, C) probabilities of all patches, by what the training patches are labelled with."""
    train = (manifest["split"] == "train").to_numpy()
    labels, known = manifest[list(codes)].to_numpy(bool), known_mask(manifest, codes)
    scale = measure_scale(features[train])  # of training patches: what others look like is not learnt from
    points = scale(features).astype(np.float64)
    states = np.where(known, labels, probe.UNKNOWN).astype(np.int8)
    return probe.probabilities(points, probe.fit_probe(points[train], states[train]))


def _figures(scores: npt.NDArray[np.float64], manifest: pd.DataFrame, codes: Sequence[str]) -> dict[str, Any]:
    labels, known = manifest[list(codes)].to_numpy(bool), known_mask(manifest, codes)
    figures: dict[str, Any] = {}
    for name in JUDGED:
        rows = (manifest["split"] == name).to_numpy()
        if not rows.any():
            continue
        found = multilabel_metrics(labels[rows], scores[rows], codes, known=known[rows])
        figures |= {f"{key}.{name}": found[key] for key in ("mean_ap", *(f"ap.{code}" for code in codes))}
    return figures
