"""What is known of the model that drew the maps, as readers of a page are told: what it learnt, how well it does."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from wsss_mm.errors import InputError
from wsss_mm.evaluation.areas import AreaErrors
from wsss_mm.files import digest
from wsss_mm.models.description import AREA_ERRORS, DESCRIPTION, WEIGHTS, check_digest, described
from wsss_mm.vocabulary import Vocabulary

_MOST_NAMED = 12


@dataclass(frozen=True)
class Program:
    """The model of some maps.

    Attributes:
        weights_md5: by which maps name it.
        vocabulary: its classes with their roles.
        errors: what it mistakes for what; None where that was not measured.
        sentences: two, for people.
        folder: it was read from.
    """

    weights_md5: str
    vocabulary: Vocabulary
    errors: AreaErrors | None
    sentences: tuple[str, str]
    folder: Path

    def members(self, role: str) -> list[int]:
        """Numbers of the classes of a role."""
        return [index for index, item in enumerate(self.vocabulary.classes) if item.role == role]


def read_program(folder: Path) -> Program:
    """Read what a model's folder says of it; no network is built.

    Raises:
        InputError: it holds none, or one that is damaged or was changed.
    """
    source = folder / DESCRIPTION
    info = described(folder)
    check_digest(folder, info, warn=False)
    vocabulary = Vocabulary.from_json(info, source)
    mpp = info.get("mpp")
    if info.get("kind") != "segmenter" or not isinstance(mpp, int | float) or not 0 < mpp < math.inf:
        raise InputError(f"{source}: is not the description of a segmenter; name its folder with --model")
    errors = AreaErrors.from_json(info.get(AREA_ERRORS), len(vocabulary), source)
    return Program(digest(folder / WEIGHTS, "md5"), vocabulary, errors, _sentences(info, vocabulary), folder)


def _sentences(info: Mapping[str, Any], vocabulary: Vocabulary) -> tuple[str, str]:
    names = [item.name for item in vocabulary.classes]
    fields = info.get("train_patches")
    learnt = f"{fields:,} small fields" if isinstance(fields, int) and fields > 0 else "small fields"
    first = (
        f"The tissues were told apart by a computer program that learnt from {learnt} of other slides, of which "
        f"people had only said which tissues they hold; it knows {listed(names)}, and looks at slides at "
        f"{info['mpp']:g} \u00b5m per pixel."
    )
    return first, _agreement(info.get("valid"), vocabulary)


def _agreement(valid: Any, vocabulary: Vocabulary) -> str:
    """How far validation masks and the model agree."""
    found = valid if isinstance(valid, Mapping) else {}
    shares = {item.name: found.get(f"iou.{item.code}") for item in vocabulary.classes}
    known = {name: share for name, share in shares.items() if isinstance(share, int | float) and 0 <= share <= 1}
    if not known:
        return "How well it does so was not measured against outlines drawn by hand."
    worst = min(known, key=lambda name: known[name])
    mean = sum(known.values()) / len(known)
    return (
        f"On outlined fields of patients from whom it learnt nothing, its areas and the outlines overlap by "
        f"{100 * mean:.0f}\u00a0% on average of the tissues (100\u00a0% where they are the same), and least for "
        f"{worst}, by {100 * known[worst]:.0f}\u00a0%."
    )


def listed(names: Sequence[str]) -> str:
    """Names in a sentence."""
    shown = list(names[:_MOST_NAMED])
    if len(names) > _MOST_NAMED:
        shown.append(f"{len(names) - _MOST_NAMED} more")
    return shown[0] if len(shown) == 1 else f"{', '.join(shown[:-1])} and {shown[-1]}"
