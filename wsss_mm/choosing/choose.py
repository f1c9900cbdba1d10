"""Choosing the settings of pseudo-labels for a cohort."""

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from wsss_mm.choosing.choice import BY_HAND, BY_LABELS, BY_MASKS, Choice
from wsss_mm.choosing.rules import advice, by_labels
from wsss_mm.choosing.search import Search, labels_alone
from wsss_mm.choosing.windows import validation_windows
from wsss_mm.models import PatchClassifier

if TYPE_CHECKING:
    from wsss_mm.settings import ChooseSettings

logger = logging.getLogger(__name__)


def choose(
    classifier: PatchClassifier,
    manifest: pd.DataFrame,
    folder: Path,
    codes: Sequence[str],
    *,
    settings: Mapping[str, Any],
    trying: "ChooseSettings",
    least: float,
    placed: bool,
    seed: int,
    others: Sequence[PatchClassifier] = (),
) -> Choice:
    """Choose the settings of pseudo-labels.

    Args:
        classifier: makes the class activation maps.
        manifest: of all patches.
        folder: where its paths start.
        codes: of the classes.
        settings: section pseudo_labels of params.yaml; what is not clearly worse than another stays.
        trying: whether and how.
        least: `patches.min_class_share`.
        placed: see `validation_windows`.
        seed: of the draws behind the intervals.
        others: see `wsss_mm.cam.PseudoLabeller`.
    """
    label_sets = manifest.loc[manifest["split"] == "train", list(codes)].to_numpy(bool)
    told = tuple(advice(label_sets, codes))
    for sentence in told:
        logger.warning(sentence)
    if not trying.enabled:
        return Choice(
            dict(settings), dict(settings), BY_HAND, "choose_pseudo_labels is off in params.yaml", advice=told
        )
    windows = validation_windows(manifest, folder, tuple(codes), least=least, placed=placed)
    if windows is None:
        chosen, says = by_labels(label_sets, codes, settings)
        logger.info(says)
        return Choice(chosen, dict(settings), BY_LABELS, says, advice=told)
    found = Search(classifier, windows, codes, resamples=trying.resamples, seed=seed, others=others).run(settings)
    taken = [f"{trial.element} {trial.shown}" for trial in found.trials if trial.taken]
    says = (
        f"{', '.join(taken)}: clearly better than params.yaml on the validation masks, {found.before:.3f} to "
        f"{found.after:.3f} mIoU"
        if taken
        else f"nothing tried is clearly better than params.yaml on the validation masks ({found.before:.3f} mIoU)"
    )
    logger.info(says)
    miou = {"published": found.before, "chosen": found.after, "labels_alone": labels_alone(windows, codes)}
    return Choice(
        found.settings,
        dict(settings),
        BY_MASKS,
        says,
        {name: round(value, 6) for name, value in miou.items()},
        patches=len(np.unique(windows.patches)),
        unit=found.unit,
        units=found.units,
        trials=found.trials,
        advice=told,
    )
