import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from wsss_mm.sampling import embedding
from wsss_mm.sampling.embedding import embed, similar
from wsss_mm.sampling.space import measure_scale


def blobs(each, count, seed=0):
    rng = np.random.default_rng(seed)
    which = rng.permutation(np.repeat(np.arange(count), each))
    centres = rng.normal(size=(count, 16)) * 3
    return (centres[which] + rng.normal(size=(len(which), 16))).astype(np.float32), which


def purity(points, which):
    """How many of the five nearest on the map are of the same blob."""
    away = np.linalg.norm(points[:, None] - points[None], axis=2)
    nearest = np.argsort(away, axis=1)[:, 1:6]
    return (which[nearest] == which[:, None]).mean()


@settings(max_examples=40, deadline=None)
@given(
    arrays(
        np.float32,
        st.tuples(st.integers(0, 14), st.integers(1, 4)),
        elements=st.sampled_from([0.0, 1.0, 2.5, np.nan, np.inf]),
    )
)
def test_any_features_have_a_place_on_the_map(features):
    points = embed(features)
    assert points.shape == (len(features), 2)
    assert points.dtype == np.float32
    assert ((points >= 0) & (points <= 1)).all()


def test_patches_that_are_all_alike_lie_in_the_middle():
    for count in (1, 5, 50):
        assert (embed(np.ones((count, 3))) == 0.5).all()


@pytest.mark.parametrize("landmarks", [1000, 150])
def test_what_is_alike_lies_together_among_landmarks_too(monkeypatch, landmarks):
    monkeypatch.setattr(embedding, "_LANDMARKS", landmarks)
    features, which = blobs(50, 8)
    points = embed(features, seed=1)
    assert purity(points, which) > 0.95
    assert np.ptp(points, axis=0).max() == pytest.approx(1)
    assert np.array_equal(points, embed(features, seed=1))


def test_copies_lie_on_one_place_or_near(monkeypatch):
    monkeypatch.setattr(embedding, "_LANDMARKS", 50)
    features, _ = blobs(20, 5)
    points = embed(np.vstack([features, features[:10]]))
    assert np.linalg.norm(points[:10] - points[100:], axis=1).max() < 0.05


def test_more_like_this_is_the_nearest_by_scaled_distance():
    rng = np.random.default_rng(0)
    features = rng.normal(size=(500, 6)) * [1, 10, 100, 1, 1, 1]
    scaled = measure_scale(features)(features)
    away = np.linalg.norm(scaled - scaled[7], axis=1)
    away[7] = np.inf
    assert similar(features, 7, 20).tolist() == np.argsort(away)[:20].tolist()


def test_more_like_this_where_there_is_little():
    features = np.array([[0.0], [1], [0], [np.nan], [0]])
    assert similar(features, 0, 2).tolist() == [2, 4]
    assert sorted(similar(features, 0, 99)) == [1, 2, 3, 4]
    assert similar(features, 0, 0).tolist() == []
    assert similar(features[:1], 0, 5).tolist() == []


def test_however_many_there_are_as_many_landmarks_are_laid_out(monkeypatch):
    """How long 50,000 patches take: benchmarks/labelling.py."""
    laid_out = []
    monkeypatch.setattr(embedding, "_LANDMARKS", 60)
    monkeypatch.setattr(embedding, "_tsne", lambda points, _: laid_out.append(points) or points[:, :2])
    for each in (20, 40):
        embed(blobs(each, 5)[0])
    assert [len(points) for points in laid_out] == [60, 60]
