"""The learning curve of a linear probe: what more labels would be worth, so that one sees when to stop."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np
import numpy.typing as npt

from wsss_mm.sampling import probe

if TYPE_CHECKING:
    import pandas as pd

_FOLDS = 5
_FEWEST = 20  # labelled patches in a training part: where curves begin
_POINTS = 6
_LAST = 3  # points by which the slope is measured
_MORE = 50  # labels, of which the advice speaks
_FLAT = 0.005  # of mean average precision per doubling, for which nobody would label on


@dataclass(frozen=True)
class LearningCurve:
    """What a linear probe has learned from growing numbers of labelled patches.

    Attributes:
        table: a row a number of patches: `labels`, how many the probe was trained on; `mean_ap`, the mean average
            precision, 0..1, over classes and repeats; `low` and `high`, one standard deviation of the repeats beside
            it; `ap.<code>` of each class, NaN where it is in no patch. No row where too few patches are labelled.
        slope: gain of mean average precision per doubling of the labels, over the last points; None without.
        slopes: the same of each class that has one.
        labels: patches of which something is known.
        across: what the probe is tested across: other slides, or, where there is one slide alone, other patches of it.
        advice: a sentence on what more labels would be worth.
    """

    table: "pd.DataFrame"
    slope: float | None
    slopes: dict[str, float]
    labels: int
    across: Literal["slides", "patches"]
    advice: str


def learning_curve(
    features: npt.ArrayLike,
    states: npt.ArrayLike,
    slides: npt.ArrayLike,
    seed: int = 0,
    *,
    codes: Sequence[str] | None = None,
    repeats: int = 5,
) -> LearningCurve:
    """Train probes on growing parts of the labels and test each on slides that it has not seen.

    Average precision is that of all patches together, each scored by the probe of the other folds. Features are
    brought to a few dimensions by all rows given, which uses no label.

    Args:
        features: (N, D) of the labelled patches.
        states: (N, C) of present 1, absent 0, unknown -1 (unsure, or never asked). Unknown ones neither train nor
            count; patches of which nothing is known are left out.
        slides: (N,) the slide of each.
        seed: of folds and parts.
        codes: the C class codes; their numbers without.
        repeats: over which folds and parts are drawn anew.

    Returns:
        The curve. With too few labels for one it has no points, and its advice says so.
    """
    import pandas as pd

    known = probe.as_states(states)
    names = [str(code) for code in (codes if codes is not None else range(known.shape[1]))]
    rows = (known != probe.UNKNOWN).any(axis=1)
    points, known, groups = probe.probe_space(features, seed)[rows], known[rows], np.asarray(slides, dtype=str)[rows]
    across: Literal["slides", "patches"] = "slides" if len(np.unique(groups)) > 1 else "patches"
    parts = [probe.deal(groups, _FOLDS, np.random.default_rng((seed, repeat))) for repeat in range(repeats)]
    counts = _counts(min((len(part) - np.bincount(part).max(initial=0) for part in parts), default=0))
    if not len(counts) or not _two_sided(known).any():
        empty = pd.DataFrame(columns=["labels", "mean_ap", "low", "high", *(f"ap.{name}" for name in names)])
        return LearningCurve(empty, None, {}, len(known), across, _too_few(known, names))
    found = np.array(  # (repeats, counts, C)
        [_one_repeat(points, known, part, counts, (seed, repeat)) for repeat, part in enumerate(parts)]
    )
    means = _mean(found, axis=2)
    spread = means.std(axis=0, ddof=1) if repeats > 1 else np.zeros(len(counts))
    middle, each = means.mean(axis=0), _mean(found, axis=0)
    table = pd.DataFrame({"labels": counts, "mean_ap": middle, "low": middle - spread, "high": middle + spread})
    table = table.assign(**{f"ap.{name}": each[:, column] for column, name in enumerate(names)})
    slope = _slope(counts, middle)
    slopes = {
        name: gain
        for column, name in enumerate(names)
        if (gain := _slope(counts, each[:, column])) is not None and np.isfinite(gain)
    }
    each_slope = [gain for repeat in means if (gain := _slope(counts, repeat)) is not None]
    error = float(np.std(each_slope, ddof=1)) if len(each_slope) > 1 else 0.0
    advice = _advice(len(known), float(middle[-1]), slope, error, slopes)
    if across == "patches":
        advice += " All labels are of one slide: of other slides this says nothing."
    return LearningCurve(table, slope, slopes, len(known), across, advice)


def _counts(most: int) -> npt.NDArray[np.int64]:
    """Numbers of training patches, doubling from the largest down; none where even the largest is too few."""
    if most < _FEWEST:
        return np.zeros(0, dtype=np.int64)
    halves = most / 2.0 ** np.arange(_POINTS)
    return np.unique(np.round(halves[halves >= _FEWEST]).astype(np.int64))


def _one_repeat(
    points: probe.Doubles, states: probe.States, folds: npt.NDArray[np.int64], counts: npt.NDArray, seed: tuple
) -> npt.NDArray[np.float64]:
    """Average precision of each class, (counts, C), by the probes of all folds."""
    scores = np.full((len(counts), *states.shape), np.nan)
    rng = np.random.default_rng((*seed, 1))
    for fold in np.unique(folds):
        held = folds == fold
        train = rng.permutation(np.flatnonzero(~held))
        for at, count in enumerate(counts):
            part = train[:count]
            scores[at, held] = probe.probabilities(points[held], probe.fit_probe(points[part], states[part]))
    return np.array([average_precisions(states, values) for values in scores])


def average_precisions(states: probe.States, scores: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Average precision of each class, (C,), over the patches in which it is known; NaN where none holds it."""
    from sklearn.metrics import average_precision_score

    found = np.full(states.shape[1], np.nan)
    for column in range(states.shape[1]):
        rows = states[:, column] != probe.UNKNOWN
        truth = states[rows, column] == probe.PRESENT
        if truth.any():
            found[column] = average_precision_score(truth, scores[rows, column])
    return found


def _two_sided(states: probe.States) -> npt.NDArray[np.bool_]:
    return (states == probe.PRESENT).any(axis=0) & (states == probe.ABSENT).any(axis=0)


def _mean(values: npt.NDArray[np.float64], axis: int) -> npt.NDArray[np.float64]:
    """Mean of what is not NaN; NaN where nothing is."""
    some = np.isfinite(values)
    count = some.sum(axis=axis)
    return np.where(count > 0, np.where(some, values, 0).sum(axis=axis) / np.maximum(count, 1), np.nan)


def _slope(counts: npt.NDArray, values: npt.NDArray[np.float64]) -> float | None:
    """Gain per doubling by least squares over the last points; None with a single one."""
    if len(counts) < 2:
        return None
    return float(np.polyfit(np.log2(counts[-_LAST:]), values[-_LAST:], 1)[0])


def _advice(labels: int, reached: float, slope: float | None, error: float, slopes: dict[str, float]) -> str:
    """A sentence on what more labels are worth; `error` is how far the slope may be off."""
    text = f"{labels} labelled patches: mean average precision {reached:.2f}"
    if slope is None:
        return f"{text}; with twice as many one sees where it goes."
    if slope + error < _FLAT:
        return f"{text}, and twice as many would hardly change it: more of the same kind are not worth the time."
    if slope <= error:
        return f"{text}; what more are worth cannot be told from chance yet: label on, and look again."
    best = f"; {max(slopes, key=lambda name: slopes[name])} gains most" if len(slopes) > 1 else ""
    gain = slope * float(np.log2((labels + _MORE) / labels))
    digits = 2 if gain >= 0.01 else 3
    return f"{text}; {_MORE} more are worth about {gain:+.{digits}f}, twice as many about {slope:+.2f}{best}."


def _too_few(states: probe.States, names: Sequence[str]) -> str:
    need = -(-_FEWEST * _FOLDS // (_FOLDS - 1))
    if len(states) < need:
        return f"{len(states)} labelled patches; a learning curve begins with {need} or a few more."
    return f"No class is both present and absent so far ({', '.join(names)}); label patches with and without one."
