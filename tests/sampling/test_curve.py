import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from wsss_mm.sampling import curve
from wsss_mm.sampling.curve import learning_curve


def labelled(count, *, noise, dimensions=12, slides=8, seed=0):
    rng = np.random.default_rng(seed)
    features = rng.normal(size=(count, dimensions))
    states = (features[:, :2] + noise * rng.normal(size=(count, 2)) > 0.6).astype(np.int8)
    return features, states, np.array([f"s{row % slides}" for row in range(count)])


def test_counts_double_up_to_the_largest():
    assert curve._counts(400).tolist() == [25, 50, 100, 200, 400]
    assert curve._counts(10_000).tolist() == [312, 625, 1250, 2500, 5000, 10_000]
    assert curve._counts(19).tolist() == []


def test_slope_is_the_gain_per_doubling_of_the_last_points():
    assert curve._slope(np.array([25, 50, 100, 200]), np.array([0.9, 0.5, 0.6, 0.7])) == pytest.approx(0.1)
    assert curve._slope(np.array([25]), np.array([0.5])) is None


def test_clear_classes_are_learned_and_more_labels_are_worth_something():
    found = learning_curve(*labelled(500, noise=1.0), codes=["TE", "LYM"])
    table = found.table
    assert table.columns.tolist() == ["labels", "mean_ap", "low", "high", "ap.TE", "ap.LYM"]
    assert table["labels"].tolist() == [25, 49, 98, 197, 394] or table["labels"].iloc[-1] < 500
    assert table["mean_ap"].iloc[-1] > table["mean_ap"].iloc[0] + 0.05
    assert (table["low"] <= table["mean_ap"]).all()
    assert (table["mean_ap"] <= table["high"]).all()
    assert table["mean_ap"].to_numpy() == pytest.approx(table[["ap.TE", "ap.LYM"]].mean(axis=1).to_numpy())
    assert found.slope > 0
    assert found.across == "slides"
    assert "500 labelled patches: mean average precision 0." in found.advice


def test_perfect_features_reach_one_and_more_is_hardly_worth_it():
    features, states, slides = labelled(600, noise=0.0)
    found = learning_curve(np.repeat(states, 4, axis=1) + 1e-3 * features[:, :8], states, slides)
    assert found.table["mean_ap"].tolist() == pytest.approx([1.0] * len(found.table))
    assert "not worth the time" in found.advice


@pytest.mark.parametrize(
    ("slope", "error", "advice"),
    [
        (0.03, 0.01, "50 more are worth about +0.02, twice as many about +0.03; LYM gains most."),
        (0.01, 0.02, "what more are worth cannot be told from chance yet: label on, and look again."),
        (0.001, 0.001, "more of the same kind are not worth the time."),
        (-0.02, 0.01, "more of the same kind are not worth the time."),
        (None, 0.0, "with twice as many one sees where it goes."),
    ],
)
def test_advice_tells_a_flat_curve_from_one_that_is_not_known(slope, error, advice):
    found = curve._advice(100, 0.8, slope, error, {"TE": 0.01, "LYM": 0.05})
    assert found.startswith("100 labelled patches: mean average precision 0.80")
    assert found.endswith(advice)


def test_features_that_know_nothing_have_the_share_of_the_class():
    rng = np.random.default_rng(0)
    states = (rng.random((800, 1)) < 0.3).astype(np.int8)
    found = learning_curve(rng.normal(size=(800, 8)), states, np.arange(800) % 10)
    assert found.table["mean_ap"].iloc[-1] == pytest.approx(states.mean(), abs=0.08)


def test_unknown_states_neither_train_nor_count():
    features, states, slides = labelled(300, noise=0.5)
    masked = states.copy()
    masked[::3, 1] = -1
    wrong = np.where(masked == -1, 1 - states, states)  # what stands behind "unknown" would be wrong
    part = learning_curve(features, masked, slides, codes=["a", "b"]).table["ap.b"].iloc[-1]
    assert part > learning_curve(features, wrong, slides, codes=["a", "b"]).table["ap.b"].iloc[-1] + 0.1
    more = np.hstack([states, np.full((300, 1), -1)])
    table = learning_curve(features, more, slides, codes=["a", "b", "c"]).table
    assert table["ap.c"].isna().all()
    assert table["mean_ap"].to_numpy() == pytest.approx(learning_curve(features, states, slides).table["mean_ap"])


def test_patches_of_which_nothing_is_known_are_not_labels():
    features, states, slides = labelled(200, noise=0.5)
    states[150:] = -1
    assert learning_curve(features, states, slides).labels == 150


def test_with_one_slide_it_says_that_other_slides_are_unknown():
    features, states, _ = labelled(200, noise=0.5)
    found = learning_curve(features, states, ["s"] * 200)
    assert found.across == "patches"
    assert "of other slides this says nothing" in found.advice


@pytest.mark.parametrize(("count", "words"), [(0, "begins with 25"), (10, "10 labelled patches")])
def test_with_too_few_labels_it_says_so(count, words):
    found = learning_curve(*labelled(count, noise=0.5))
    assert found.table.empty
    assert found.slope is None
    assert words in found.advice


def test_with_one_state_alone_it_says_what_is_missing():
    features, _, slides = labelled(100, noise=0.5)
    found = learning_curve(features, np.ones((100, 2), int), slides, codes=["TE", "LYM"])
    assert found.table.empty
    assert "both present and absent" in found.advice


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 60), st.integers(1, 5), st.integers(0, 2**16))
def test_any_labels_have_a_curve_or_advice(count, slides, seed):
    rng = np.random.default_rng(seed)
    features = rng.normal(size=(count, 3)) * rng.integers(0, 2)
    states = rng.integers(-1, 2, (count, 2))
    found = learning_curve(features, states, rng.integers(0, slides, count), seed)
    assert found.advice
    inside = found.table["mean_ap"].dropna()
    assert ((inside >= 0) & (inside <= 1)).all()
    again = learning_curve(features, states, np.random.default_rng(seed).integers(0, 1, count), seed)
    assert again.labels == found.labels


def test_as_many_probes_are_fitted_however_many_labels_there_are(monkeypatch):
    """How long 2000 labels take: benchmarks/labelling.py."""
    fitted, fit = [], curve.probe.fit_probe
    monkeypatch.setattr(
        curve.probe, "fit_probe", lambda points, states: fitted.append(len(points)) or fit(points, states)
    )
    for count in (1000, 2000):
        learning_curve(*labelled(count, noise=1.0, dimensions=3))
        fitted.append(0)
    probes = fitted.index(0)
    assert probes == len(fitted) - probes - 2 > 0
