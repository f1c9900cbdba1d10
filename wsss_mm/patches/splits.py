"""Holding out a validation split where a cohort comes without one."""

import hashlib
from collections.abc import Iterable

from wsss_mm.errors import InputError
from wsss_mm.names import likeness


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
        raise InputError(
            "the cohort has no valid split and its training patches come from one patient; "
            "add a valid split, or patches of another patient"
        )
    count = min(max(1, round(share * len(order))), len(order) - 1)
    return {name for names in order[:count] for name in names}
