"""Classifiers of several seeds as one model folder: the first is the model, further ones lie in it as its members."""

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from wsss_mm import places
from wsss_mm.errors import InputError
from wsss_mm.files import digest
from wsss_mm.models.classifier import PatchClassifier
from wsss_mm.models.description import DESCRIPTION, DIGEST, described
from wsss_mm.models.store import load_model
from wsss_mm.models.trust import CONFIGS

MEMBERS = "members"
"""Key of the first one's model.json: digests of the further ones, in the order of their folders."""

_AGAIN = "train all again: dvc repro -f train_classifier"


def member_folders(folder: Path, further: int) -> list[Path]:
    """Where the further classifiers of a model folder lie."""
    return [folder / places.MEMBERS / str(number) for number in range(1, further + 1)]


def load_classifiers(
    folder: Path,
    device: str | torch.device = "cpu",
    codes: Sequence[str] | None = None,
    *,
    members: int | None = None,
    configs: Path = CONFIGS,
) -> tuple[list[PatchClassifier], dict[str, Any]]:
    """Load a classifier with its members, whose activation maps are averaged (`wsss_mm.cam.PseudoLabeller.others`).

    Args:
        folder: of the classifier.
        device: Where to put them.
        codes: The classes they must have, in order; any if None.
        members: How many classifiers params.yaml asks for; as many as there are if None.
        configs: See `load_model`.

    Returns:
        The classifiers, the first one first, and the content of its model.json.

    Raises:
        InputError: one is missing or damaged, or they do not belong together, or there are more or fewer than asked.
    """
    first, info = load_model(folder, device, codes, configs=configs)
    digests = _digests(folder, info)
    if members is not None and len(digests) + 1 != members:
        raise InputError(
            f"{folder}: has {len(digests)} further classifiers, not {members - 1}, as params.yaml asks for (classifier."
            f"members: {members}); train them: dvc repro train_classifier"
        )
    found = [first]
    for place, expected in zip(member_folders(folder, len(digests)), digests, strict=True):
        if not place.is_dir():
            raise InputError(f"{place}: not found; bring it back: dvc checkout {folder}, or {_AGAIN}")
        member, own = load_model(place, device, [item["code"] for item in info["classes"]], configs=configs)
        if own["kind"] != info["kind"] or own["model"] != info["model"]:
            raise InputError(f"{place}: another network than that of {folder}; {_AGAIN}")
        if own[DIGEST] != expected:
            raise InputError(
                f"{place}: not the classifier that {folder / DESCRIPTION} names, digest {own[DIGEST][:12]} instead of "
                f"{expected[:12]}; bring all from one place: dvc checkout {folder}, or {_AGAIN}"
            )
        found.append(member)
    return found, info


def _digests(folder: Path, info: dict[str, Any]) -> list[str]:
    """What model.json says of the members."""
    digests = info.get(MEMBERS, [])
    if not isinstance(digests, list) or not all(isinstance(item, str) for item in digests):
        raise InputError(f"{folder / DESCRIPTION}: damaged: {MEMBERS} are no digests; {_AGAIN}")
    return digests


def count_classifiers(folder: Path) -> int:
    """How many classifiers a folder holds, the first one included."""
    return 1 + len(_digests(folder, described(folder)))


def classifiers_md5(folder: Path) -> str:
    """What tells the weights that make pseudo-labels apart: the md5 of the one file, or of the md5s of all of them."""
    members = sorted((folder / places.MEMBERS).glob(f"*/{places.WEIGHTS}"))
    found = [digest(path, "md5") for path in (folder / places.WEIGHTS, *members)]
    return found[0] if not members else hashlib.md5(" ".join(found).encode(), usedforsecurity=False).hexdigest()
