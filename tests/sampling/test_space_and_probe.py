import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from sklearn.linear_model import LogisticRegression

from wsss_mm.sampling import probe, space

ODD = st.one_of(st.floats(-1e3, 1e3, width=16), st.sampled_from([np.nan, np.inf, -np.inf, 0.0]))


@settings(max_examples=60, deadline=None)
@given(arrays(np.float16, st.tuples(st.integers(0, 12), st.integers(0, 5)), elements=ODD), st.integers(1, 6))
def test_any_features_become_finite_points(features, dimensions):
    points = space.principal_components(features, dimensions)
    assert points.shape[0] == len(features)
    assert 1 <= points.shape[1] <= dimensions
    assert points.dtype == np.float32
    assert np.isfinite(points).all()
    assert np.array_equal(points, space.principal_components(features, dimensions))


def test_scale_is_that_of_the_finite_values_and_a_constant_says_nothing():
    features = np.array([[1, 5, 0], [3, 5, np.nan], [np.inf, 5, 0], [2, 5, 6]], np.float32)
    scale = space.measure_scale(features)
    assert scale.mean == pytest.approx([2, 5, 2])
    assert scale.inverse == pytest.approx([1 / np.sqrt(2 / 3), 0, 1 / np.sqrt(8)])
    assert scale(features)[1] == pytest.approx([np.sqrt(1.5), 0, 0])
    assert scale(features)[2, 0] == space.FAR


def test_half_precision_does_not_overflow():
    features = np.linspace(0, 60000, 1000, dtype=np.float16)[:, None]
    assert space.measure_scale(features)(features).std() == pytest.approx(1, rel=1e-3)


def test_principal_components_keep_distances():
    rng = np.random.default_rng(0)
    features = rng.normal(size=(50, 6))
    scaled = space.measure_scale(features)(features)
    points = space.principal_components(features, 6)
    pairs = rng.integers(0, 50, (20, 2))
    expected = np.linalg.norm(scaled[pairs[:, 0]] - scaled[pairs[:, 1]], axis=1)
    assert np.linalg.norm(points[pairs[:, 0]] - points[pairs[:, 1]], axis=1) == pytest.approx(expected, abs=1e-4)


def test_nearest_squared_is_that_of_all_pairs():
    rng = np.random.default_rng(0)
    points, others = (rng.normal(size=(count, 4)).astype(np.float32) for count in (300, 600))
    expected = ((points[:, None] - others[None]) ** 2).sum(axis=2).min(axis=1)
    assert space.nearest_squared(points, others) == pytest.approx(expected, abs=1e-4)
    assert np.isinf(space.nearest_squared(points, others[:0])).all()


def test_spaced_rows_reach_from_the_first_to_the_last():
    assert space.spaced(11, 3).tolist() == [0, 5, 10]
    assert space.spaced(2, 5).tolist() == [0, 1]
    assert space.spaced(0, 5).tolist() == []


def test_a_probe_is_ridge_logistic_regression_of_what_is_known():
    rng = np.random.default_rng(0)
    points = rng.normal(size=(200, 5))
    states = (points[:, :2] + rng.normal(size=(200, 2)) > 0.5).astype(np.int8)
    states[:60, 1] = probe.UNKNOWN
    found = probe.probabilities(points, probe.fit_probe(points, states))
    for column, rows in ((0, slice(None)), (1, slice(60, None))):
        reference = LogisticRegression(C=1.0, tol=1e-8, max_iter=1000).fit(points[rows], states[rows, column])
        assert found[:, column] == pytest.approx(reference.predict_proba(points)[:, 1], abs=2e-3)


def test_what_is_unknown_does_not_train():
    rng = np.random.default_rng(0)
    points = rng.normal(size=(80, 3))
    states = (points[:, :1] > 0).astype(np.int8)
    states[40:] = probe.UNKNOWN
    assert np.array_equal(probe.fit_probe(points, states), probe.fit_probe(points[:40], states[:40]))


def test_a_class_with_one_state_alone_has_its_smoothed_share():
    points = np.random.default_rng(0).normal(size=(8, 3))
    states = np.array([[1, -1, 0]] * 8)
    expected = [9 / 10, 1 / 2, 1 / 10]
    assert probe.probabilities(points, probe.fit_probe(points, states))[0] == pytest.approx(expected)


def test_separable_classes_stay_finite():
    points = np.array([[-1e3], [-1.0], [1.0], [1e3]])
    chance = probe.probabilities(points, probe.fit_probe(points, [[0], [0], [1], [1]]))[:, 0]
    assert np.isfinite(chance).all()
    assert (np.diff(chance) >= 0).all()
    assert chance[0] < 0.1 < 0.9 < chance[3]


@settings(max_examples=50, deadline=None)
@given(st.lists(st.sampled_from("abcdefgh"), min_size=1, max_size=40), st.integers(1, 6), st.integers(0, 99))
def test_no_slide_is_in_two_folds(slides, count, seed):
    folds = probe.deal(slides, count, np.random.default_rng(seed))
    names = np.array(slides)
    distinct = len(set(slides))
    if distinct > 1:
        assert all(len(set(folds[names == name])) == 1 for name in set(slides))
        assert len(set(folds)) == min(count, distinct)
    else:
        assert len(set(folds)) == min(count, len(slides))
        assert np.bincount(folds).max() - np.bincount(folds).min() <= 1


def test_out_of_fold_probabilities_have_not_seen_the_slide():
    """Each slide is alike in itself and labelled against the others: known, it would be right; unseen, it is wrong."""
    slides = np.repeat(["a", "b"], 20)
    points = np.repeat([[1.0], [1.1]], 20, axis=0)
    states = np.repeat([[1], [0]], 20, axis=0)
    found = probe.out_of_fold(points, states, probe.deal(slides, 2, np.random.default_rng(0)))
    assert (found[:20] < 0.1).all()
    assert (found[20:] > 0.9).all()


@pytest.mark.parametrize("states", [[1, 0], [[2, 0]], [[0.5]]])
def test_other_states_are_refused(states):
    with pytest.raises(ValueError, match="present"):
        probe.as_states(states)


def test_a_few_far_patches_do_not_press_the_others_together():
    rng = np.random.default_rng(0)
    features = rng.normal(size=(1000, 2))
    features[:5] = 1e4
    features[:, 1] = 0
    features[:5, 1] = 7  # rare, and the only thing that this column says
    scaled = space.measure_scale(features)(features)
    assert scaled[5:, 0].std() == pytest.approx(1, abs=0.05)
    assert (scaled[:5] == space.FAR).all()
