"""Which patch next: at random, slide by slide, clusters first, or what teaches most.

*What teaches most* is uncertainty times diversity. Patches are drawn as k-means++ draws its centres, in proportion to
uncertainty times the squared distance to what is labelled or drawn already: the drawing of BADGE (Ash et al., "Deep
batch active learning by diverse, uncertain gradient lower bounds", ICLR 2020) with the weights of CLUE (Prabhu et al.,
"Active domain adaptation via clustering uncertainty-weighted embeddings", ICCV 2021). Taking the farthest patch each
time (k-centre: Sener and Savarese, ICLR 2018) would take folds, pen and blur first; drawing does not.

While little is known of what is uncertain, clusters come first: few labels teach most on typical patches (Hacohen et
al., "Active learning on a budget", ICML 2022; docs/results.md has what it is worth here).

A declared share is drawn at random and marked. These are the patches on which prevalence, agreement and calibration
can be measured without bias; the others were chosen for what they are.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np
import numpy.typing as npt

from wsss_mm.sampling import probe
from wsss_mm.sampling.space import SAMPLE, Floats, as_table, chunks, nearest_squared, principal_components

if TYPE_CHECKING:
    import pandas as pd

Rows = npt.NDArray[np.int64]
Mask = npt.NDArray[np.bool_]
Drawn = Literal["useful", "clusters", "random"]

RANDOM_SHARE = 0.1
"""Of the patches of an order, how many are drawn at random."""

_DIMENSIONS = 32  # of the space in which patches are near or far
_BEGINNING = 100  # labelled patches from which a probe knows what is uncertain
_POOL = 100_000  # candidates looked at; of more, that many are drawn
_CLUSTERS = 200
_CAP = 5  # the least a slide or site may give, so that a short order does not pass over a class that one slide holds
_NEVER_SURE = 0.01  # bits a class: the least uncertainty, so that a classifier that is sure of all hides nothing


@dataclass(frozen=True)
class Pick:
    """A row of the candidates, and what it was drawn by."""

    row: int
    drawn: Drawn


def random_order(n: int, seed: int = 0) -> Rows:
    """All of `n` rows in an order that the seed alone decides."""
    return np.random.default_rng(seed).permutation(n)


def random_sample(n: int, labelled: npt.ArrayLike, seed: int = 0) -> Rows:
    """The labelled rows that are a random sample of all `n`, whatever else was labelled.

    These are the rows of `random_order` up to the first that nobody labelled: `useful_order` takes its random share
    from there, and a patch that had been chosen as useful before its turn came counts as well. To leave it out would
    bend the sample towards what is easy.
    """
    order = random_order(n, seed)
    seen = as_mask(labelled, n)[order]
    return order[: n if seen.all() else int(np.argmin(seen))]


def by_slide(candidates: "pd.DataFrame") -> Rows:
    """All rows, slide after slide, and within a slide line by line."""
    slides = candidates["slide_id"].astype(str).to_numpy()
    return np.lexsort((candidates["x"].to_numpy(), candidates["y"].to_numpy(), slides)).astype(np.int64)


def useful_order(  # noqa: PLR0917  four tables, a number and a seed
    features: npt.ArrayLike,
    scores: npt.ArrayLike | None,
    candidates: "pd.DataFrame",
    labelled: npt.ArrayLike,
    n: int,
    seed: int = 0,
    *,
    random_share: float = RANDOM_SHARE,
    per_slide: int | None = None,
    per_site: int | None = None,
    states: npt.ArrayLike | None = None,
) -> list[Pick]:
    """The next patches to label: uncertain ones, unlike each other and unlike those that are labelled.

    Args:
        features: (N, D), a row a candidate; values that are not finite count as average.
        scores: (N, C) probabilities of a trained classifier, 0..1; None where there is none. Then a linear probe on
            `states` says what is uncertain, or, where fewer than 100 patches are known, or no class in both states,
            clusters come first (`clusters_order`).
        candidates: N rows with `slide_id` and `site`.
        labelled: rows that are not asked for (labelled, skipped), as indices or as (N,) bool.
        n: how many; fewer come where the candidates run out.
        seed: of what is drawn.
        random_share: how many of them are drawn at random, 0..1, and marked `random`. Caps do not count there.
        per_slide: the most of one slide. None: twice a slide's equal share, or 5 if that is more, and more still where
            there is nothing else.
        per_site: the same of sites; patches of no known site are of one site.
        states: (N, C) int8 of present 1, absent 0, unknown -1.

    Returns:
        `n` picks, no row twice, none of `labelled`; the same for the same input.
    """
    table = as_table(features)
    caps = {"random_share": random_share, "per_slide": per_slide, "per_site": per_site}
    plan = _Plan(candidates, as_mask(labelled, len(table)), n, seed, share=random_share, caps=(per_slide, per_site))
    pool = plan.pool()
    weights = _uncertainty_of(table, pool, scores, states, seed)
    if weights is None:
        return clusters_order(table, candidates, labelled, n, seed, **caps)
    points = _points(table, pool, plan.labelled, seed)
    near = nearest_squared(points[: len(pool)], points[len(pool) :])
    return plan.mixed(_drawn_apart(plan, pool, points[: len(pool)], weights, near), "useful")


def clusters_order(
    features: npt.ArrayLike,
    candidates: "pd.DataFrame",
    labelled: npt.ArrayLike,
    n: int,
    seed: int = 0,
    *,
    random_share: float = RANDOM_SHARE,
    per_slide: int | None = None,
    per_site: int | None = None,
) -> list[Pick]:
    """The next patches to label where nothing is known yet: the most typical of each cluster, then their neighbours.

    Clusters are those of k-means. Those without a labelled patch come first, large before small; the next round takes
    the next nearest to each centre. Arguments and result are those of `useful_order`.
    """
    table = as_table(features)
    plan = _Plan(candidates, as_mask(labelled, len(table)), n, seed, share=random_share, caps=(per_slide, per_site))
    pool = plan.pool()
    points = _points(table, pool, plan.labelled, seed)
    ranked = pool[_by_cluster(points, len(pool), min(_CLUSTERS, max(1, n)), seed)]
    found: list[int] = []
    while len(found) < plan.chosen:
        for row in ranked:
            if len(found) == plan.chosen:
                break
            if plan.is_open[row]:
                found.append(int(row))
                plan.take(row)
        if len(found) < plan.chosen and not plan.loosen():
            break
    return plan.mixed(found, "clusters")


def uncertainty(scores: npt.ArrayLike) -> npt.NDArray[np.float64]:
    """How uncertain a classifier is of each patch: the entropy of each class's probability, in bits, summed.

    One answer says something of every class, so what it tells is the sum (the entropy of the label set, were classes
    independent); the largest alone would rank a patch that is doubtful in one class above one that is in two.

    Args:
        scores: (N, C) probabilities, 0..1; what is not finite is not known, and counts as the patch's mean, or 1 bit.

    Returns:
        (N,) from 0 to C.
    """
    chance = np.asarray(scores, dtype=np.float64)
    known = np.isfinite(chance)
    inside = np.clip(np.where(known, chance, 0.5), 1e-12, 1 - 1e-12)
    bits = -(inside * np.log2(inside) + (1 - inside) * np.log2(1 - inside))
    count = known.sum(axis=1)
    mean = np.where(count > 0, (bits * known).sum(axis=1) / np.maximum(count, 1), 1.0)
    return np.where(known, bits, mean[:, None]).sum(axis=1)


def as_mask(rows: npt.ArrayLike, n: int) -> Mask:
    """Rows, as indices or as (n,) bool, as (n,) bool.

    Raises:
        ValueError: a mask of another length.
        IndexError: a row that is not there.
    """
    given = np.asarray(rows)
    if given.dtype == bool:
        if given.shape != (n,):
            raise ValueError(f"a mask of shape {given.shape} for {n} candidates")
        return given.copy()
    mask = np.zeros(n, dtype=bool)
    mask[given.astype(np.int64)] = True
    return mask


class _Plan:
    """What may still be taken: which rows, how many of a slide and a site, and how many at random."""

    def __init__(
        self,
        candidates: "pd.DataFrame",
        labelled: Mask,
        n: int,
        seed: int,
        *,
        share: float,
        caps: tuple[int | None, int | None],
    ) -> None:
        if len(candidates) != len(labelled):
            raise ValueError(f"{len(labelled)} rows of features for {len(candidates)} candidates")
        if not 0 <= share <= 1:
            raise ValueError(f"random_share is {share}; from 0 to 1 is needed")
        self.rng = np.random.default_rng((seed, int(labelled.sum())))
        self.labelled = labelled
        self.count = max(0, min(n, int((~labelled).sum())))
        # Drawn, so that an order of a single patch has its share of random ones, too.
        at_random = min(self.count, int(np.floor(self.count * share + self.rng.random())))
        order = random_order(len(labelled), seed)
        self._random = order[~labelled[order]][:at_random]
        self.chosen = self.count - at_random
        self._taken = labelled.copy()
        self._taken[self._random] = True
        self._groups = [_codes(candidates[name]) for name in ("slide_id", "site")]
        self._fixed = [cap is not None for cap in caps]
        self._caps = [
            max(_CAP, -(-2 * self.chosen // max(1, len(np.unique(group[~labelled]))))) if cap is None else cap
            for cap, group in zip(caps, self._groups, strict=True)
        ]
        self._used = [np.zeros(int(group.max(initial=0)) + 1, dtype=np.int64) for group in self._groups]
        self.is_open = self._opened()

    def pool(self) -> Rows:
        """Rows to choose from: all that may be taken, or as many of them as can be looked at, drawn at random."""
        rows = np.flatnonzero(~self._taken)
        return rows if len(rows) <= _POOL else np.sort(self.rng.choice(rows, _POOL, replace=False))

    def take(self, row: int) -> None:
        """Take a row, and close its slide and site where that was their last."""
        self._taken[row] = True
        self.is_open[row] = False
        for group, used, cap in zip(self._groups, self._used, self._caps, strict=True):
            used[group[row]] += 1
            if used[group[row]] >= cap:
                self.is_open &= group != group[row]

    def loosen(self) -> bool:
        """Double the caps that nobody gave until something may be taken again; say whether there is such."""
        while not self.is_open.any() and not all(self._fixed) and max(self._caps) <= 4 * len(self._taken):
            self._caps = [cap if fixed else 2 * cap for cap, fixed in zip(self._caps, self._fixed, strict=True)]
            self.is_open = self._opened()
        return bool(self.is_open.any())

    def mixed(self, rows: list[int], drawn: Drawn) -> list[Pick]:
        """The rows with those drawn at random among them, at places that nobody can foresee."""
        count = len(rows) + len(self._random)
        places = set(self.rng.choice(count, len(self._random), replace=False).tolist()) if count else set()
        chosen, random = iter(rows), iter(self._random.tolist())
        return [Pick(next(random), "random") if at in places else Pick(next(chosen), drawn) for at in range(count)]

    def _opened(self) -> Mask:
        found = ~self._taken
        for group, used, cap in zip(self._groups, self._used, self._caps, strict=True):
            found &= (used < cap)[group]
        return found


def _codes(column: "pd.Series") -> Rows:
    """A number for each value of a column; what is missing is a value of its own."""
    import pandas as pd

    return pd.factorize(column, use_na_sentinel=False)[0].astype(np.int64)


def _uncertainty_of(
    features: npt.NDArray, pool: Rows, scores: npt.ArrayLike | None, states: npt.ArrayLike | None, seed: int
) -> npt.NDArray[np.float64] | None:
    """Uncertainty of the pool's rows, by the classifier or by a probe; None where neither can say."""
    for name, given in (("scores", scores), ("states", states)):
        if given is not None and (np.ndim(given) != 2 or len(np.asarray(given)) != len(features)):
            raise ValueError(f"{name} have shape {np.shape(given)} for {len(features)} candidates")
    if scores is not None:
        values = np.asarray(scores)[pool]
    elif states is None:
        return None
    else:
        known = probe.as_states(states)
        rows = np.flatnonzero((known != probe.UNKNOWN).any(axis=1))
        two_sided = (known == probe.PRESENT).any(axis=0) & (known == probe.ABSENT).any(axis=0)
        if len(rows) < _BEGINNING or not two_sided.any():
            return None
        points = probe.probe_space(features[np.concatenate([pool, rows])], seed)
        values = probe.probabilities(points[: len(pool)], probe.fit_probe(points[len(pool) :], known[rows]))
    return np.maximum(uncertainty(values), _NEVER_SURE * values.shape[1])


def _points(features: npt.NDArray, pool: Rows, labelled: Mask, seed: int) -> Floats:
    """The pool's rows, and below them those that are labelled, in the space of distances."""
    return principal_components(features[np.concatenate([pool, np.flatnonzero(labelled)])], _DIMENSIONS, seed)


def _drawn_apart(plan: _Plan, pool: Rows, points: Floats, weights: npt.NDArray[np.float64], near: Floats) -> list[int]:
    """Rows drawn one by one in proportion to weight times squared distance to all before."""
    found: list[int] = []
    while len(found) < plan.chosen:
        allowed = plan.is_open[pool]
        if not allowed.any():
            if not plan.loosen() or not plan.is_open[pool].any():
                break
            continue
        share = np.where(allowed & np.isfinite(near), weights * np.minimum(near, 1e12), 0.0)
        if not share.sum() > 0:  # nothing is labelled yet, or all are as others already are
            share = np.where(allowed, weights, 0.0)
        summed = np.cumsum(share)
        at = int(np.searchsorted(summed, plan.rng.random() * summed[-1], side="right"))
        at = int(np.flatnonzero(allowed)[-1]) if at >= len(pool) or not allowed[at] else at
        found.append(int(pool[at]))
        plan.take(pool[at])
        away = points - points[at]
        np.minimum(near, np.einsum("ij,ij->i", away, away), out=near)
    return found


def _by_cluster(points: Floats, candidates: int, count: int, seed: int) -> Rows:
    """Indices of the first `candidates` points: the nearest to each cluster's centre, then the next nearest, ...

    Clusters without any of the other points, which are labelled, come first, large ones before small ones.
    """
    if not candidates:
        return np.zeros(0, dtype=np.int64)
    cluster, distance = _clusters(points, count, seed)
    covered = np.bincount(cluster[candidates:], minlength=count) > 0
    cluster, distance = cluster[:candidates], distance[:candidates]
    size = np.bincount(cluster, minlength=count)
    order = np.lexsort((distance, cluster))
    first = np.concatenate([[0], np.cumsum(size)[:-1]])
    rank = np.empty(candidates, dtype=np.int64)
    rank[order] = np.arange(candidates) - first[cluster[order]]
    return np.lexsort((cluster, -size[cluster], covered[cluster], rank)).astype(np.int64)


def _clusters(points: Floats, count: int, seed: int) -> tuple[Rows, Floats]:
    """The cluster of each point, and its distance to the centre; found on a sample of them."""
    from sklearn.cluster import KMeans

    rng = np.random.default_rng(seed)
    sample = points if len(points) <= SAMPLE else points[np.sort(rng.choice(len(points), SAMPLE, replace=False))]
    distinct = np.unique(sample, axis=0)
    if len(distinct) <= count:
        centres = distinct
    else:
        centres = KMeans(count, n_init=1, max_iter=50, random_state=seed).fit(sample).cluster_centers_
    which = np.empty(len(points), dtype=np.int64)
    distance = np.empty(len(points), dtype=np.float32)
    for part in chunks(len(points)):
        squared = points[part] @ (-2 * centres.T.astype(np.float32)) + (centres**2).sum(axis=1).astype(np.float32)
        which[part] = squared.argmin(axis=1)
        away = points[part] - centres[which[part]]
        distance[part] = np.einsum("ij,ij->i", away, away)
    return which, distance
