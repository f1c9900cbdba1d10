"""A map of the candidates: two dimensions in which patches that look alike lie together; and "more like this".

t-SNE (van der Maaten and Hinton, JMLR 2008; Barnes-Hut, JMLR 2014) of some thousand landmarks, from principal
components; the others are placed among the landmarks that they resemble most. t-SNE of all would take minutes.
"""

import numpy as np
import numpy.typing as npt

from wsss_mm.sampling.space import Floats, as_table, chunks, measure_scale, principal_components

Rows = npt.NDArray[np.int64]

_DIMENSIONS = 30
_LANDMARKS = 4000
_PERPLEXITY = 30.0
_ITERATIONS = 400
_AMONG = 5  # landmarks by which another patch is placed
_FEW = 10  # patches, for which t-SNE has no neighbourhoods


def embed(features: npt.ArrayLike, seed: int = 0) -> Floats:
    """Place each patch on a map.

    Args:
        features: (N, D), any float type; values that are not finite count as average.
        seed: of landmarks and of t-SNE.

    Returns:
        (N, 2) float32, 0..1, the same for the same input; both axes have one scale. Patches that are all alike lie in
        the middle.
    """
    points = principal_components(features, _DIMENSIONS, seed)
    if len(points) <= _FEW:
        flat = np.zeros((len(points), 2), dtype=np.float32)
        flat[:, : min(2, points.shape[1])] = points[:, :2]
        return _framed(flat)
    rng = np.random.default_rng(seed)
    chosen = np.sort(rng.choice(len(points), min(_LANDMARKS, len(points)), replace=False))
    landmarks = points[chosen]
    if not landmarks.any():
        return _framed(np.zeros((len(points), 2), dtype=np.float32))
    places = _tsne(landmarks, seed)
    if len(chosen) == len(points):
        return _framed(places)
    found = _placed(points, landmarks, places)
    found[chosen] = places
    return _framed(found)


def similar(features: npt.ArrayLike, row: int, n: int) -> Rows:
    """The patches most like one.

    Args:
        features: (N, D), any float type; values that are not finite count as average.
        row: the one.
        n: how many.

    Returns:
        Up to `n` other rows, nearest first, by the Euclidean distance of scaled features; of equals the earlier row.
    """
    values = as_table(features)
    scale = measure_scale(values, 1000)
    this = scale(values[[row]])
    squared = np.empty(len(values), dtype=np.float32)
    for part in chunks(len(values), 2048):
        away = scale(values[part])
        away -= this
        squared[part] = np.einsum("ij,ij->i", away, away)
    squared[row] = np.inf
    count = max(0, min(n, len(values) - 1))
    if not count:
        return np.zeros(0, dtype=np.int64)
    border = np.partition(squared, count - 1)[count - 1]
    near = np.flatnonzero(squared <= border)
    return near[np.argsort(squared[near], kind="stable")][:count].astype(np.int64)


def _tsne(points: Floats, seed: int) -> Floats:
    from sklearn.manifold import TSNE
    from threadpoolctl import threadpool_limits

    perplexity = min(_PERPLEXITY, (len(points) - 1) / 3)
    model = TSNE(perplexity=perplexity, init=_start(points), max_iter=_ITERATIONS, random_state=seed)
    with threadpool_limits(1):  # sums over threads come in another order each time
        return model.fit_transform(points)


def _start(points: Floats) -> Floats:
    """The first two components, as wide as t-SNE begins; the second is nought where there is one alone."""
    start = np.zeros((len(points), 2), dtype=np.float32)
    start[:, : min(2, points.shape[1])] = points[:, :2]
    return start / max(float(start[:, 0].std()), 1e-12) * np.float32(1e-4)


def _placed(points: Floats, landmarks: Floats, places: Floats) -> Floats:
    """Each point in the middle of the landmarks it resembles most, the nearer the more."""
    found = np.empty((len(points), 2), dtype=np.float32)
    among = min(_AMONG, len(landmarks))
    lengths = np.einsum("ij,ij->i", landmarks, landmarks)
    for part in chunks(len(points), 1024):
        block = points[part]
        squared = block @ (-2 * landmarks.T) + lengths
        nearest = np.argpartition(squared, among - 1, axis=1)[:, :among]
        squared = np.take_along_axis(squared, nearest, axis=1) + np.einsum("ij,ij->i", block, block)[:, None]
        squared = np.maximum(squared, 0)
        weight = 1 / (squared + 1e-6 + 1e-3 * squared.mean(axis=1, keepdims=True)) ** 2
        weight /= weight.sum(axis=1, keepdims=True)
        found[part] = np.einsum("ij,ijk->ik", weight, places[nearest])
    return found


def _framed(points: Floats) -> Floats:
    """Points within 0..1, both axes on one scale, in the middle of the shorter one."""
    if not len(points):
        return points
    low, high = points.min(axis=0), points.max(axis=0)
    size = float((high - low).max())
    if not size > 0:
        return np.full_like(points, 0.5)
    return np.clip((points - (low + high) / 2) / size + 0.5, 0, 1).astype(np.float32)
