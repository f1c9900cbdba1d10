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

_FOLDS, _REPEATS = 5, 3  # the mean over repeats finds somewhat more


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
        that the class is present, and `doubt`, the probability that the label is wrong, by which they are sorted.
    """
    import pandas as pd

    known = probe.as_states(states)
    chances = _out_of_fold(features, known, slides, seed) if probabilities is None else np.asarray(probabilities, float)
    if chances.shape != known.shape:
        raise ValueError(f"probabilities have shape {chances.shape}, states {known.shape}")
    doubt = label_doubts(chances, known)
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


def label_doubts(probabilities: npt.NDArray[np.float64], states: probe.States) -> npt.NDArray[np.float64]:
    """How much each label is doubted, (N, C): the probability of its opposite where confident learning doubts it.

    It does where the opposite's probability reaches its class's threshold, and the label's own does not, or is the
    smaller of the two. Ranking by that probability finds more wrong labels than by its distance to the threshold.

    Returns:
        0 where a label is not doubted, which none is of a class that has one state alone; NaN where nothing is known.
    """
    found = np.full(states.shape, np.nan)
    for column in range(states.shape[1]):
        chance, state = probabilities[:, column], states[:, column]
        usable = np.isfinite(chance)
        present, absent = usable & (state == probe.PRESENT), usable & (state == probe.ABSENT)
        found[state != probe.UNKNOWN, column] = 0.0
        if not present.any() or not absent.any():
            continue
        sure_present, sure_absent = chance[present].mean(), 1 - chance[absent].mean()
        is_present, is_absent = chance >= sure_present, 1 - chance >= sure_absent
        wrong = (present & is_absent & (~is_present | (chance < 0.5))) | (
            absent & is_present & (~is_absent | (chance > 0.5))
        )
        found[wrong, column] = np.where(state == probe.PRESENT, 1 - chance, chance)[wrong]
    return found


def _out_of_fold(
    features: npt.ArrayLike | None, states: probe.States, slides: npt.ArrayLike | None, seed: int
) -> npt.NDArray[np.float64]:
    """Probabilities of each patch by a probe that has not seen its slide; NaN without another one."""
    if features is None or slides is None:
        raise ValueError("features and slides are needed where probabilities are not given")
    points = probe.probe_space(features, seed)
    deals = [probe.deal(slides, _FOLDS, np.random.default_rng((seed, repeat))) for repeat in range(_REPEATS)]
    if len(np.unique(deals[0])) < 2:
        return np.full(states.shape, np.nan)
    return np.mean([probe.out_of_fold(points, states, folds) for folds in deals], axis=0)
