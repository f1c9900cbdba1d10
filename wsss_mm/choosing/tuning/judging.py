"""The pixels of the validation split that a trial gets right, slide by slide."""

from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd

from wsss_mm.evaluation.judge import judge_patches
from wsss_mm.evaluation.predict import predict_patches
from wsss_mm.inference.runtime import choose_device
from wsss_mm.models import load_model
from wsss_mm.patches.digests import judged_rows
from wsss_mm.vocabulary import Vocabulary


def validation_counts(
    segmenter: Path, classifier: Path, manifest: pd.DataFrame, folder: Path, vocabulary: Vocabulary
) -> npt.NDArray[np.int64]:
    """Confusion matrices of the validation patches that have a mask, in the order of the manifest.

    Args:
        segmenter: folder of the model.
        classifier: likewise.
        manifest: of all patches; no row of another split is looked at.
        folder: where its paths start.
        vocabulary: the classes.

    Returns:
        (U, C, C), row = truth: a slide each, or a patch where there is one slide alone.
    """
    rows, device = judged_rows(manifest, "valid"), choose_device()
    models = (load_model(path, device, vocabulary.codes)[0] for path in (segmenter, classifier))
    judgement = judge_patches(predict_patches(*models, rows, folder, flip=False), vocabulary)
    unit = "slide_id" if judgement.patches["slide_id"].nunique() > 1 else "patch_id"
    numbers, names = pd.factorize(judgement.patches[unit])
    summed = np.zeros((len(names), len(vocabulary), len(vocabulary)), np.int64)
    np.add.at(summed, numbers, judgement.patch_ungated)
    return summed
