"""Holding out a validation split where a cohort comes without one: decided in stage `cohort`, and nowhere else."""

import hashlib
import logging
from collections.abc import Iterable

import pandas as pd

from wsss_mm.errors import InputError
from wsss_mm.names import likeness

logger = logging.getLogger(__name__)

_ONE_PATIENT = (
    "the cohort has no valid split and its training patches come from one patient; "
    "add a valid split, or patches of another patient"
)


def held_out(groups: Iterable[str], share: float, seed: int) -> set[str]:
    """Choose the groups (patients) to hold out.

    The choice depends on the names and the seed alone: a group keeps its place in the order when others come or go.

    Args:
        groups: names of the training groups; repeats do not matter, and what looks alike stays together.
        share: share of the groups to hold out, 0..1. At least one is held out and at least one kept.
        seed: changes the choice.

    Raises:
        InputError: there are fewer than two groups.
    """
    alike: dict[str, list[str]] = {}
    for group in sorted(set(groups)):
        alike.setdefault(likeness(group), []).append(group)
    order = sorted(alike.values(), key=lambda names: hashlib.sha256(f"{seed}:{names[0]}".encode()).digest())
    if len(order) < 2:
        raise InputError(_ONE_PATIENT)
    count = min(max(1, round(share * len(order))), len(order) - 1)
    return {name for names in order[:count] for name in names}


def hold_out(slides: pd.DataFrame, share: float, seed: int, where: str) -> pd.DataFrame:
    """Give the split `valid` to training patients where no slide has it; `held_out` chooses them.

    Where all training slides are of one patient, nothing is held out: see `check_valid`.

    Args:
        slides: patient_id and split of each slide; slides that are not `labelled`, if there is such a column, are of no
            use for validation, and their patients do not count.
        share: as for `held_out`.
        seed: likewise.
        where: what the message names.
    """
    training = slides["split"] == "train"
    if (slides["split"] == "valid").any() or not training.any():
        return slides
    useful = slides.get("labelled", training)
    try:
        held = held_out(slides.loc[training & useful, "patient_id"], share, seed)
    except InputError as error:
        logger.warning("%s: %s", where, error)
        return slides
    logger.warning("%s: no valid split; holding out %d training patients", where, len(held))
    return slides.assign(split=slides["split"].mask(training & slides["patient_id"].isin(held), "valid"))


def check_valid(splits: Iterable[str], where: str) -> None:
    """Refuse a cohort that is to be trained on and has nothing to validate with.

    Raises:
        InputError: there is a training split, and no valid one.
    """
    if "train" in (there := set(splits)) and "valid" not in there:
        raise InputError(f"{where}: {_ONE_PATIENT}")
