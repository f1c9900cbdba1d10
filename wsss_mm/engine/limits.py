"""What a trained segmenter says of its own limits: what its training looked like, how sure it may be, and of areas."""

from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from torch import Tensor

from wsss_mm.evaluation.areas import JudgedPatch, area_errors
from wsss_mm.evaluation.calibration import fit_temperature
from wsss_mm.inference.patches import Batch, predict
from wsss_mm.inference.runtime import device_of
from wsss_mm.models.description import APPEARANCE, AREA_ERRORS, TEMPERATURE
from wsss_mm.models.segmenter import Segmenter
from wsss_mm.patches.images import read_image, read_label_map, read_listed
from wsss_mm.patches.likeness import appearance_of

_PIXELS = 2_000_000  # of all validation patches together, about, which are looked at


def limits(segmenter: Segmenter, frame: pd.DataFrame, folder: Path, *, split: str, size: int) -> dict[str, Any]:
    """For model.json: `appearance`, `temperature` and `area_errors`, each where the patches tell.

    Args:
        segmenter: as it is saved, in eval mode.
        frame: the manifest of the patches.
        folder: it lies in.
        split: that it was trained on.
        size: of the patches, px.
    """
    learnt = frame[frame["split"] == split]
    read = (partial(read_listed, read_image, folder / path) for path in learnt["path"])
    appearance = appearance_of(zip(learnt["slide_id"].astype(str), read, strict=True), size)
    judged = frame[(frame["split"] == "valid") & frame["mask_path"].notna()]
    return {
        **({} if appearance is None else {APPEARANCE: appearance.to_json()}),
        **({} if judged.empty else _judged(segmenter, judged, folder)),
    }


def _judged(segmenter: Segmenter, rows: pd.DataFrame, folder: Path) -> dict[str, Any]:
    """What pixels tell that lie evenly in the validation patches."""
    pixels = int((rows["size"].astype(np.int64) ** 2).sum())
    step = max(1, int(np.ceil(np.sqrt(pixels / _PIXELS))))
    patients, logits, truth = zip(*_known_pixels(segmenter, rows, folder, step), strict=True)
    temperature = fit_temperature(np.concatenate(logits), np.concatenate(truth))
    if temperature is None:
        return {}
    patches = (JudgedPatch.of(*patch, temperature) for patch in zip(patients, logits, truth, strict=True))
    errors = area_errors(patches, per_pixel=step**2)
    return {TEMPERATURE: temperature, **({} if errors is None else {AREA_ERRORS: errors.to_json()})}


def _known_pixels(
    segmenter: Segmenter, rows: pd.DataFrame, folder: Path, step: int
) -> Iterator[tuple[str, np.ndarray, np.ndarray]]:
    """Patient, logits and truth of each patch."""

    def look(batch: Batch) -> list[np.ndarray]:
        found: Tensor = segmenter.logits(batch.images)[..., ::step, ::step]
        return list(found.permute(0, 2, 3, 1).float().cpu().numpy())

    for patch in predict(rows, folder, look, device_of(segmenter), name="temperature", quiet=True):
        truth = read_listed(read_label_map, folder / patch.row["mask_path"])[::step, ::step]
        if truth.shape == patch.found.shape[:2]:
            known = truth < segmenter.classes
            yield str(patch.row["patient_id"]), patch.found[known], truth[known]
