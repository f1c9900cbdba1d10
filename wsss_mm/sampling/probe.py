"""A linear probe: one logistic regression a class on fixed features, where a class may be unknown in some patches.

Alain and Bengio, "Understanding intermediate layers using linear classifier probes" (ICLR 2017, workshop). It says how
well features tell the classes apart with the labels there are, in milliseconds, where training the network takes
minutes.
"""

import numpy as np
import numpy.typing as npt

from wsss_mm.sampling.space import principal_components

PRESENT, ABSENT, UNKNOWN = 1, 0, -1
"""Values of states: what a patch holds, by class; unsure and never asked are both unknown."""

DIMENSIONS = 48
"""Principal components that a probe looks at."""

_PENALTY = 1.0  # on squared weights, beside a sum over patches; the intercept has none
_STEPS, _ENOUGH = 25, 1e-4
_LARGEST = 30.0  # logit

Doubles = npt.NDArray[np.float64]
States = npt.NDArray[np.int8]


def probe_space(features: npt.ArrayLike, seed: int = 0) -> Doubles:
    """(N, D) features as a probe takes them, (N, d) float64: principal components, with a root mean square of 1."""
    points = principal_components(features, DIMENSIONS, seed).astype(np.float64)
    size = np.sqrt((points**2).mean()) if points.size else 0.0
    return points / size if size else points


def fit_probe(points: Doubles, states: npt.ArrayLike) -> Doubles:
    """Fit the probe by Newton's method.

    Args:
        points: (N, d).
        states: (N, C) of `PRESENT`, `ABSENT` and `UNKNOWN`, which a class's regression leaves out.

    Returns:
        (d + 1, C) weights, the intercept last. A class of which only one state is known has its smoothed share alone:
        1/2 where nothing is known of it.
    """
    known = as_states(states)
    weights = np.zeros((points.shape[1] + 1, known.shape[1]))
    for column in range(known.shape[1]):
        rows = known[:, column] != UNKNOWN
        target = known[rows, column] == PRESENT
        share = (target.sum() + 1) / (len(target) + 2)
        weights[-1, column] = np.log(share / (1 - share))
        if target.any() and not target.all():
            weights[:, column] = _logistic(points[rows], target.astype(np.float64), weights[:, column])
    return weights


def probabilities(points: Doubles, weights: Doubles) -> Doubles:
    """Probability of each class, (N, C), 0..1, by the weights of `fit_probe`."""
    return _sigmoid(points @ weights[:-1] + weights[-1])


def out_of_fold(points: Doubles, states: npt.ArrayLike, folds: npt.NDArray[np.int64]) -> Doubles:
    """Probabilities (N, C) of each fold's rows by a probe that was fitted to the other folds'."""
    known = as_states(states)
    found = np.full(known.shape, np.nan)
    for fold in np.unique(folds):
        held = folds == fold
        found[held] = probabilities(points[held], fit_probe(points[~held], known[~held]))
    return found


def deal(groups: npt.ArrayLike, count: int, rng: np.random.Generator) -> npt.NDArray[np.int64]:
    """Deal whole slides out to folds of about the same size.

    Args:
        groups: (N,) the slide of each row. With one slide alone its patches are dealt out, which say nothing about
            another slide.
        count: of folds; no more than there are slides, or rows of the one slide.
        rng: shuffles the slides.

    Returns:
        (N,) fold of each row, from 0.
    """
    _, codes = np.unique(np.asarray(groups, dtype=str), return_inverse=True)
    if len(codes) and codes.max() == 0:
        codes = np.arange(len(codes))
    sizes = np.bincount(codes)
    taken, fold_of = np.zeros(max(1, min(count, len(sizes)))), np.zeros(len(sizes), dtype=np.int64)
    for group in rng.permutation(len(sizes)):
        fold_of[group] = np.argmin(taken)
        taken[fold_of[group]] += sizes[group]
    return fold_of[codes]


def as_states(states: npt.ArrayLike) -> States:
    """States as (N, C) int8.

    Raises:
        ValueError: another shape or value.
    """
    values = np.asarray(states)
    if values.ndim != 2 or not np.isin(values, (PRESENT, ABSENT, UNKNOWN)).all():
        raise ValueError("states are a row a patch and a column a class, of 1 (present), 0 (absent) and -1 (unknown)")
    return values.astype(np.int8)


def _logistic(points: Doubles, target: Doubles, start: Doubles) -> Doubles:
    """Ridge-penalised logistic regression of one class: (d + 1,) weights, the intercept last."""
    design = np.hstack([points, np.ones((len(points), 1))])
    penalty = np.full(design.shape[1], _PENALTY)
    penalty[-1] = 1e-6
    weights = start.copy()
    loss = _loss(design, target, weights, penalty)
    for _ in range(_STEPS):
        chance = _sigmoid(design @ weights)
        gradient = design.T @ (chance - target) + penalty * weights
        curvature = (design * np.maximum(chance * (1 - chance), 1e-9)[:, None]).T @ design
        curvature[np.diag_indices_from(curvature)] += penalty
        step = np.linalg.solve(curvature, gradient)
        size = 1.0
        while (new := _loss(design, target, weights - size * step, penalty)) > loss and size > 1e-3:
            size /= 2
        if new > loss:
            break
        weights, gain, loss = weights - size * step, loss - new, new
        if gain < _ENOUGH * max(loss, 1e-9):
            break
    return weights


def _loss(design: Doubles, target: Doubles, weights: Doubles, penalty: Doubles) -> float:
    logits = design @ weights
    return float(np.logaddexp(0, logits).sum() - target @ logits + (penalty * weights**2).sum() / 2)


def _sigmoid(logits: Doubles) -> Doubles:
    return 1 / (1 + np.exp(-np.clip(logits, -_LARGEST, _LARGEST)))
