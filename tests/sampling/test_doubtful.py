import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from wsss_mm.sampling.doubtful import doubtful, label_doubts


def column(*values):
    return np.array(values, float)[:, None]


def test_hand_made_case():
    """Present labels have 0.7 on average, absent ones 0.3: thresholds of 0.7 for both."""
    chances = column(0.9, 0.9, 0.9, 0.1, 0.1, 0.1, 0.1, 0.9)
    states = column(1, 1, 1, 1, 0, 0, 0, 0).astype(np.int8)
    assert label_doubts(chances, states)[:, 0] == pytest.approx([0, 0, 0, 0.9, 0, 0, 0, 0.9])
    found = doubtful(None, states, None, probabilities=chances)
    assert found.columns.tolist() == ["row", "column", "state", "probability", "doubt"]
    assert found[["row", "column", "state"]].to_numpy().tolist() == [[3, 0, 1], [7, 0, 0]]
    assert found["probability"].tolist() == [0.1, 0.9]


def test_a_rare_class_is_judged_by_its_own_measure():
    """Nobody is surer of it than 0.45, and still the patch that is called absent stands out."""
    chances = column(0.4, 0.4, 0.4, 0.05, 0.05, 0.05, 0.05, 0.45)
    states = column(1, 1, 1, 0, 0, 0, 0, 0).astype(np.int8)
    found = doubtful(None, states, None, probabilities=chances)
    assert found["row"].tolist() == [7]
    assert found["doubt"].tolist() == [0.45]


def test_of_two_states_that_both_reach_their_threshold_the_likelier_counts():
    """Thresholds of 0.45 (present) and 0.55 (absent): 0.45 reaches both, and absent is the likelier."""
    chances = column(0.45, 0.45, 0.45, 0.45)
    states = column(1, 1, 0, 0).astype(np.int8)
    assert label_doubts(chances, states)[:, 0].tolist() == [0.55, 0.55, 0, 0]


def test_what_is_unknown_is_not_doubted_and_moves_no_threshold():
    chances = column(0.9, 0.9, 0.1, 0.1, 0.99, 0.01)
    states = column(1, 1, 0, 0, -1, -1).astype(np.int8)
    found = label_doubts(chances, states)[:, 0]
    assert np.isnan(found[4:]).all()
    assert np.array_equal(found[:4], label_doubts(chances[:4], states[:4])[:, 0])


def test_a_class_with_one_state_alone_or_one_slide_alone_in_doubt_says_nothing():
    assert doubtful(None, np.ones((5, 1)), None, probabilities=np.full((5, 1), 0.01)).empty
    assert doubtful(np.eye(1), [[1]], ["s"]).empty
    assert doubtful(np.zeros((0, 3)), np.zeros((0, 2)), []).empty


@pytest.mark.parametrize("share", [0.05, 0.1, 0.2])
def test_spoiled_labels_come_first(share):
    rng = np.random.default_rng(0)
    features = rng.normal(size=(600, 16))
    truth = (features[:, :3] > 0.5).astype(np.int8)
    wrong = rng.random(truth.shape) < share
    found = doubtful(features, np.where(wrong, 1 - truth, truth), np.arange(600) % 12)
    is_wrong = wrong[found["row"], found["column"]]
    assert is_wrong[:30].mean() > 0.9
    assert is_wrong.sum() > 0.7 * wrong.sum()


@settings(max_examples=80, deadline=None)
@given(st.integers(0, 30), st.integers(1, 4), st.integers(0, 2**16))
def test_found_labels_are_known_ones_each_once_worst_first(count, classes, seed):
    rng = np.random.default_rng(seed)
    chances = rng.random((count, classes)).round(1)
    chances[rng.random(chances.shape) < 0.1] = np.nan
    states = rng.integers(-1, 2, chances.shape)
    found = doubtful(None, states, None, probabilities=chances)
    pairs = list(zip(found["row"], found["column"], strict=True))
    assert len(set(pairs)) == len(pairs)
    assert all(states[pair] != -1 for pair in pairs)
    assert (np.diff(found["doubt"]) <= 0).all()
    assert ((found["doubt"] > 0) & (found["doubt"] <= 1)).all()


def test_what_does_not_fit_is_refused():
    with pytest.raises(ValueError, match="probabilities have shape"):
        doubtful(None, [[1, 0]], None, probabilities=[[0.5]])
    with pytest.raises(ValueError, match="features and slides"):
        doubtful(None, [[1, 0]], None)
