"""Choosing the settings of pseudo-labels for a cohort."""

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from wsss_mm.choosing.choice import BY_HAND, BY_LABELS, BY_MASKS, Choice
from wsss_mm.choosing.rules import LEAST_UNITS, advice, called_for
from wsss_mm.choosing.search import Search, SearchResult, labels_alone
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
    wanted, why = called_for(label_sets, codes, settings)
    if windows is None:
        says = f"no validation masks; {why}"
        logger.info(says)
        return Choice({**settings, **wanted}, dict(settings), BY_LABELS, says, advice=told)
    how = {"resamples": trying.resamples, "seed": seed, "called_for": wanted, "others": others}
    found = Search(classifier, windows, codes, **how).run(settings)
    says = _few(found, wanted, why) if found.few else _many(found)
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
        few=found.few,
        trials=found.trials,
        advice=told,
    )


def _many(found: SearchResult) -> str:
    """Why, where masks of enough slides decided."""
    if taken := _taken(found):
        return (
            f"{', '.join(taken)}: clearly better than params.yaml on the validation masks, {found.before:.3f} to "
            f"{found.after:.3f} mIoU"
        )
    return f"nothing tried is clearly better than params.yaml on the validation masks ({found.before:.3f} mIoU)"


def _few(found: SearchResult, wanted: Mapping[str, Any], why: str) -> str:
    """Why, where masks of few slides could only confirm what label sets call for."""
    noun = found.unit if found.units == 1 else f"{found.unit}s"
    says = (
        f"masks of {found.units} validation {noun}, and fewer than {LEAST_UNITS} decide nothing alone: only what label "
        "sets call for and each of them confirms is taken"
    )
    if taken := _taken(found):
        return f"{says}; {', '.join(taken)}: {why}, and masks agree, {found.before:.3f} to {found.after:.3f} mIoU"
    if wanted:
        named = ", ".join(f"{element} {value}" for element, value in wanted.items())
        return f"{says}; label sets call for {named}, and masks do not confirm it: params.yaml stays"
    return f"{says}; {why}"


def _taken(found: SearchResult) -> list[str]:
    return [f"{trial.element} {trial.shown}" for trial in found.trials if trial.taken]
