"""Labels that a model, trained on the other slides, doubts: where a second look is worth most.

Confident learning (Northcutt, Jiang and Chuang, JAIR 2021), each class a question of its own: a label is doubtful where
the out-of-fold probability of its opposite reaches what patches labelled so have on average. That threshold is the
class's own, so a rare class, of which a model is never as sure, is judged by its own measure.
"""

from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from wsss_mm.sampling import probe

if TYPE_CHECKING:
    import pandas as pd

_FOLDS = 5


def doubtful(
    features: npt.ArrayLike | None,
    states: npt.ArrayLike,
    slides: npt.ArrayLike | None,
    seed: int = 0,
    *,
    probabilities: npt.ArrayLike | None = None,
) -> "pd.DataFrame":
    """Find labels to look at again.

    Args:
        features: (N, D) of the labelled patches; a linear probe on those of the other slides gives the probabilities.
        states: (N, C) of present 1, absent 0, unknown -1.
        slides: (N,) the slide of each.
        seed: of the folds.
        probabilities: (N, C), 0..1, instead of features and slides. They must be out-of-fold: a model that was trained
            on a label does not doubt it.

    Returns:
        A row a doubtful label, worst first: `row` and `column` of `states`, the label's `state`, the `probability`
        that the class is present, and `doubt`, above 0, by which they are sorted.
    """
    import pandas as pd

    known = probe.as_states(states)
    chances = _out_of_fold(features, known, slides, seed) if probabilities is None else np.asarray(probabilities, float)
    if chances.shape != known.shape:
        raise ValueError(f"probabilities have shape {chances.shape}, states {known.shape}")
    doubt = doubts(chances, known)
    rows, columns = np.nonzero(doubt > 0)
    order = np.lexsort((columns, rows, -doubt[rows, columns]))
    rows, columns = rows[order], columns[order]
    return pd.DataFrame(
        {
            "row": rows.astype(np.int64),
            "column": columns.astype(np.int64),
            "state": known[rows, columns],
            "probability": chances[rows, columns],
            "doubt": doubt[rows, columns],
        }
    )


def doubts(probabilities: npt.NDArray[np.float64], states: probe.States) -> npt.NDArray[np.float64]:
    """How much each label is doubted, (N, C): above 0 where confident learning takes it for its opposite.

    The doubt is by how much the opposite's probability, measured from its threshold, exceeds the label's, measured from
    its own. A label whose opposite stays below its threshold, or that is still the likelier one of two that both reach
    theirs, is not doubted. Where a class has one state alone, or nothing is known, nothing is: NaN where unknown.
    """
    found = np.full(states.shape, np.nan)
    for column in range(states.shape[1]):
        chance, state = probabilities[:, column], states[:, column]
        usable = np.isfinite(chance)
        present, absent = usable & (state == probe.PRESENT), usable & (state == probe.ABSENT)
        found[present | absent, column] = 0.0
        if not present.any() or not absent.any():
            continue
        for rows, own, other, mine, theirs in (
            (present, chance, 1 - chance, chance[present].mean(), (1 - chance[absent]).mean()),
            (absent, 1 - chance, chance, (1 - chance[absent]).mean(), chance[present].mean()),
        ):
            taken = rows & (other >= theirs) & ((own < mine) | (other > own))
            margin = (other - theirs) - (own - mine)
            found[taken, column] = np.maximum(margin[taken], np.finfo(float).tiny)
    return found


def _out_of_fold(
    features: npt.ArrayLike | None, states: probe.States, slides: npt.ArrayLike | None, seed: int
) -> npt.NDArray[np.float64]:
    """Probabilities of each patch by a probe that has not seen its slide; NaN without another one."""
    if features is None or slides is None:
        raise ValueError("features and slides are needed where probabilities are not given")
    folds = probe.deal(slides, _FOLDS, np.random.default_rng(seed))
    if len(np.unique(folds)) < 2:
        return np.full(states.shape, np.nan)
    return probe.out_of_fold(probe.probe_space(features, seed), states, folds)
