"""What label sets alone say: which setting suits them where there is no mask, and what they cannot teach."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

RARELY_ALONE = 0.1
"""A class that is the only one in fewer of its patches than this share is always seen beside another."""

NEARLY_ALL = 0.95
"""Of the patches of a class: where more hold another one, too, labels hardly tell the two apart."""

LEAST_UNITS = 6
"""Patients, or slides where nobody knows of patients, that masks of may decide alone.

If a setting were worth nothing, each of n slides would gain from it with a chance of a half, and all of them with
2^-n: of five slides, 3.1 %, more than the 2.5 % that lie above a 95 % interval; of six, 1.6 %. So fewer than six are no
evidence even where they agree, and can only confirm what label sets call for.
"""

_MIXED = 0.5


def called_for(
    label_sets: npt.NDArray[np.bool_], codes: Sequence[str], settings: Mapping[str, Any]
) -> tuple[dict[str, Any], str]:
    """What the label sets of a cohort call for: all there is without validation masks, and where few slides have any.

    Where most patches are mixed and a class is hardly ever alone, the classifier can be sure of it only by what stands
    beside it, and a joint scale of the CAMs lets that outshine it everywhere: each class is then normalised by itself.

    Args:
        label_sets: (N, C) bool, of the training patches.
        codes: of the classes.
        settings: the published ones.

    Returns:
        The elements that are to change, none or one, and why, to be read behind what decides.
    """
    mixed = float((label_sets.sum(axis=1) > 1).mean())
    crowded = [code for code, share in zip(codes, single_class_shares(label_sets), strict=True) if share < RARELY_ALONE]
    if mixed <= _MIXED or not crowded or settings["gating"] == "off":
        return {}, "label sets give no reason to leave the settings of params.yaml"
    says = (
        f"{mixed:.0%} of the training patches hold several classes, and {', '.join(crowded)} hardly ever "
        f"{'stands' if len(crowded) == 1 else 'stand'} alone"
    )
    if settings["normalization"] == "class":
        return {}, f"{says}: each class is normalised by itself, as in params.yaml"
    return {"normalization": "class"}, f"{says}: each class is normalised by itself"


def single_class_shares(label_sets: npt.NDArray[np.bool_]) -> npt.NDArray[np.float64]:
    """(C,) share of the patches of each class that hold no other; NaN of a class that no patch has."""
    single = label_sets[label_sets.sum(axis=1) == 1].sum(axis=0)
    total = label_sets.sum(axis=0)
    return np.where(total > 0, single / np.maximum(total, 1), np.nan)


@dataclass(frozen=True)
class Pair:
    """A class, and one that nearly all of its patches hold, too.

    Attributes:
        a: code of the class.
        b: code of the other one.
        patches: training patches with a.
        separate: of these, those without b.
    """

    a: str
    b: str
    patches: int
    separate: int

    def __str__(self) -> str:
        """The advice."""
        how = (
            f"{self.a} stands in no training patch without {self.b}: labels cannot tell them apart"
            if not self.separate
            else f"{self.a} stands in {self.separate} of its {self.patches} training patches without {self.b}: labels "
            "can hardly tell them apart"
        )
        return f"{how}; label patches that hold {self.a} alone (wsss-mm labels wanted finds 20), or smaller patches"


def inseparable(label_sets: npt.NDArray[np.bool_], codes: Sequence[str]) -> list[Pair]:
    """Pairs a, b where more than `NEARLY_ALL` patches with a hold b, too: labels hardly say which of them is which."""
    together = label_sets.T.astype(np.int64) @ label_sets
    total = np.diagonal(together)
    return [
        Pair(codes[a], codes[b], int(total[a]), int(total[a] - together[a, b]))
        for a in range(len(codes))
        for b in range(len(codes))
        if a != b and total[a] and together[a, b] > NEARLY_ALL * total[a]
    ]


def advice(label_sets: npt.NDArray[np.bool_], codes: Sequence[str]) -> list[str]:
    """A sentence for each pair of `inseparable`."""
    return [str(pair) for pair in inseparable(label_sets, codes)]
