"""Candidates to label where labels cannot tell two classes apart: those that most likely hold one without the other."""

from collections.abc import Collection, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd

from wsss_mm.choosing.rules import Pair
from wsss_mm.errors import InputError
from wsss_mm.files import atomic_path
from wsss_mm.tables import read_table

MOST = 20
"""Patches in all."""

_EACH = 5  # patches a slide, at first: more of one slide teach less
COLUMNS = ("patch_id", "slide_id", "x", "y", "wanted", "without", "chance")


def wanted_patches(
    pairs: Sequence[Pair],
    candidates: pd.DataFrame,
    scores: npt.NDArray[np.float32],
    codes: Sequence[str],
    *,
    labelled: Collection[str] = (),
    most: int = MOST,
) -> pd.DataFrame:
    """Choose candidates, as many for each pair.

    Args:
        pairs: what `inseparable` found.
        candidates: N rows, see `wsss_mm.labelling.candidates.read_candidates`.
        scores: (N, C) of the classifier, 0..1; NaN where a slide cannot be read.
        codes: of the classes of the scores.
        labelled: patch ids that nobody needs to label again.
        most: in all.

    Returns:
        `COLUMNS`, the likeliest of each pair first: `chance` is the score of the class that is wanted times what the
        score of the other one leaves, of use for the order alone.
    """
    free = ~candidates["patch_id"].isin(list(labelled)).to_numpy() & np.isfinite(scores).all(axis=1)
    orders = [_order(candidates, _chance(pair, scores, codes), free) for pair in pairs]
    taken: dict[int, int] = {}
    waiting = [iter(order.tolist()) for order in orders]
    for _ in range(most):  # in turns
        for number, rows in enumerate(waiting):
            row = next((row for row in rows if row not in taken), None)
            if row is not None and len(taken) < most:
                taken[row] = number
    found = [
        (*candidates.iloc[row][["patch_id", "slide_id", "x", "y"]], pairs[number].a, pairs[number].b)
        for row, number in taken.items()
    ]
    chances = [round(float(_chance(pairs[number], scores, codes)[row]), 4) for row, number in taken.items()]
    frame = pd.DataFrame(found, columns=list(COLUMNS[:-1])).assign(chance=chances)
    return frame.sort_values(["wanted", "without", "chance"], ascending=[True, True, False], ignore_index=True)


def write_wanted(frame: pd.DataFrame, path: Path) -> None:
    """Write the table that `wsss-mm label --queue` opens."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with atomic_path(path) as temporary:
        frame.to_csv(temporary, index=False)


def in_queue(candidates: pd.DataFrame, path: Path) -> pd.DataFrame:
    """The candidates that a table of patches names, by its column patch_id.

    Raises:
        InputError: there is no such table, or none of its patches is a candidate.
    """
    again = "write it anew: wsss-mm labels wanted"
    table = read_table(path, ["patch_id"], absent=f"make it with: {again}", remedy=again)
    names = set(table["patch_id"])
    found = candidates[candidates["patch_id"].isin(names)].reset_index(drop=True)
    if found.empty:
        raise InputError(f"{path}: none of its {len(names)} patches is a candidate; {again}")
    return found


def _chance(pair: Pair, scores: npt.NDArray[np.float32], codes: Sequence[str]) -> npt.NDArray[np.float32]:
    return scores[:, list(codes).index(pair.a)] * (1 - scores[:, list(codes).index(pair.b)])


def _order(
    candidates: pd.DataFrame, chance: npt.NDArray[np.float32], free: npt.NDArray[np.bool_]
) -> npt.NDArray[np.int64]:
    """Rows, the likeliest first, but no more than a few of a slide before all others had their turn."""
    rows = np.flatnonzero(free)
    rows = rows[np.argsort(-chance[rows], kind="stable")]
    place = candidates["slide_id"].iloc[rows].groupby(candidates["slide_id"].iloc[rows]).cumcount().to_numpy()
    return rows[np.argsort(place >= _EACH, kind="stable")]
