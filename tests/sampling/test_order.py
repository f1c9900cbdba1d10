import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from wsss_mm.sampling import order
from wsss_mm.sampling.order import clusters_order, random_order, random_sample, uncertainty, useful_order


def candidates(slides, sites=None):
    count = len(slides)
    return pd.DataFrame(
        {"slide_id": slides, "site": sites or [None] * count, "x": np.arange(count), "y": np.zeros(count, int)}
    )


def blobs(each, count, *, seed=0, width=0.0):
    """`count` far blobs of `each` points, and the blob of each point."""
    rng = np.random.default_rng(seed)
    centres = rng.normal(size=(count, 8)) * 10
    which = np.repeat(np.arange(count), each)
    return (centres[which] + width * rng.normal(size=(len(which), 8))).astype(np.float32), which


@st.composite
def pools(draw):
    count = draw(st.integers(1, 40))
    rng = np.random.default_rng(draw(st.integers(0, 2**16)))
    kind = draw(st.sampled_from(["plain", "equal", "missing", "copies"]))
    features = rng.normal(size=(count, draw(st.integers(1, 6)))).astype(draw(st.sampled_from(["float16", "float32"])))
    if kind == "equal":
        features[:] = 3
    elif kind == "missing":
        features[rng.random(features.shape) < 0.5] = np.nan
    elif kind == "copies":
        features[:] = features[rng.integers(0, min(3, count), count)]
    scores = draw(st.sampled_from(["none", "some", "sure", "missing"]))
    chances = {
        "none": None,
        "some": rng.random((count, 3)),
        "sure": rng.integers(0, 2, (count, 3)).astype(float),
        "missing": np.where(rng.random((count, 3)) < 0.5, np.nan, 0.2),
    }[scores]
    states = rng.integers(-1, 2, (count, 3)) if draw(st.booleans()) else None
    names = rng.integers(0, draw(st.integers(1, 5)), count)
    table = candidates([f"s{name}" for name in names], [None if name == 0 else f"h{name % 2}" for name in names])
    labelled = np.flatnonzero(rng.random(count) < draw(st.sampled_from([0.0, 0.3, 1.0])))
    return features, chances, table, labelled, states


@settings(max_examples=150, deadline=None)
@given(pools(), st.integers(0, 50), st.integers(0, 99), st.sampled_from([0.0, 0.1, 0.5, 1.0]))
def test_as_many_as_asked_none_twice_none_labelled_and_the_same_again(pool, n, seed, share):
    features, scores, table, labelled, states = pool
    for make in (
        lambda: useful_order(features, scores, table, labelled, n, seed, random_share=share, states=states),
        lambda: clusters_order(features, table, labelled, n, seed, random_share=share),
    ):
        picks = make()
        rows = [pick.row for pick in picks]
        assert len(rows) == len(set(rows)) == min(n, len(table) - len(labelled))
        assert not set(rows) & set(labelled.tolist())
        assert all(type(row) is int and 0 <= row < len(table) for row in rows)
        at_random = sum(pick.drawn == "random" for pick in picks)
        assert abs(at_random - share * len(picks)) < 1
        assert picks == make()


@settings(max_examples=60, deadline=None)
@given(pools(), st.integers(1, 50), st.integers(1, 4), st.integers(1, 4))
def test_caps_that_are_given_hold(pool, n, per_slide, per_site):
    features, scores, table, labelled, states = pool
    given_caps = {"per_slide": per_slide, "per_site": per_site, "random_share": 0.0}
    for picks in (
        useful_order(features, scores, table, labelled, n, 0, states=states, **given_caps),
        clusters_order(features, table, labelled, n, 0, **given_caps),
    ):
        rows = table.iloc[[pick.row for pick in picks]]
        assert rows["slide_id"].value_counts().max() <= per_slide or rows.empty
        assert rows["site"].value_counts(dropna=False).max() <= per_site or rows.empty


def test_uncertainty_is_entropy_in_bits_summed_over_classes():
    scores = [[0.5, 0.5], [0, 1], [0.25, 1], [0.9, 0.5], [np.nan, 0.5], [np.nan, np.nan]]
    assert uncertainty(scores) == pytest.approx([2, 0, 0.811278, 1.468996, 2, 2], abs=1e-5)


def test_uncertain_patches_come_before_those_that_are_sure():
    rng = np.random.default_rng(0)
    features = rng.normal(size=(1000, 8))
    scores = np.where(np.arange(1000)[:, None] < 200, 0.5, 0.001)
    picks = useful_order(features, scores, candidates(["s"] * 1000), [], 100, random_share=0.0)
    assert np.mean([pick.row < 200 for pick in picks]) > 0.85


def test_what_looks_alike_is_taken_once_before_anything_is_taken_twice():
    features, which = blobs(30, 10)
    table = candidates(["s"] * 300)
    picks = useful_order(features, np.full((300, 2), 0.5), table, [], 10, random_share=0.0)
    assert sorted(which[[pick.row for pick in picks]]) == list(range(10))


def test_what_is_like_a_labelled_patch_waits():
    features, which = blobs(30, 10)
    picks = useful_order(
        features, np.full((300, 2), 0.5), candidates(["s"] * 300), which * 30 == 0, 9, random_share=0.0
    )
    assert len(picks) == 9
    labelled = [0, 30, 60, 90]  # one of each of the blobs 0 to 3
    picks = useful_order(features, np.full((300, 2), 0.5), candidates(["s"] * 300), labelled, 6, random_share=0.0)
    assert sorted(which[[pick.row for pick in picks]]) == [4, 5, 6, 7, 8, 9]


def test_a_far_outlier_is_one_pick_and_not_all():
    """Pen and folds are far from everything; greedy k-centre would take them first."""
    rng = np.random.default_rng(0)
    features = rng.normal(size=(1000, 8))
    features[:10] += rng.normal(size=(10, 8)) * 1000
    picks = useful_order(features, np.full((1000, 2), 0.5), candidates(["s"] * 1000), [], 50, random_share=0.0)
    assert sum(pick.row < 10 for pick in picks) <= 8


def test_slides_and_sites_share_an_order_unless_there_is_nothing_else():
    rng = np.random.default_rng(0)
    slides = ["large"] * 900 + [f"s{number}" for number in range(9) for _ in range(20)]
    features, scores = rng.normal(size=(1080, 8)), rng.random((1080, 2))
    picks = useful_order(features, scores, candidates(slides), [], 100, random_share=0.0)
    taken = pd.Series([slides[pick.row] for pick in picks]).value_counts()
    assert taken["large"] <= 20  # twice an equal share of 100 over ten slides
    picks = useful_order(features, scores, candidates(slides), [], 700, random_share=0.0)
    assert len(picks) == 700  # the small slides have 180
    sites = ["one"] * 1000 + ["two"] * 80
    table = candidates([f"s{number}" for number in range(1080)], sites)
    picks = useful_order(features, scores, table, [], 60, random_share=0.0, per_site=10)
    assert pd.Series([sites[pick.row] for pick in picks]).value_counts().to_dict() == {"one": 10, "two": 10}


def test_a_short_order_over_many_slides_may_take_several_patches_of_one():
    """A class that one slide holds alone would otherwise come once in an order."""
    slides = ["one"] * 100 + [f"s{row}" for row in range(60)]
    scores = np.where(np.arange(160)[:, None] < 100, 0.5, 0.0)
    picks = useful_order(
        np.random.default_rng(0).normal(size=(160, 8)), scores, candidates(slides), [], 25, random_share=0.0
    )
    assert sum(pick.row < 100 for pick in picks) == 5


def test_the_random_share_is_a_random_sample_and_the_rest_is_not():
    """A tenth of the candidates is uncertain and holds the class: chosen ones have far more of it, random ones not."""
    holds = np.arange(500) % 10 == 0
    scores = np.where(holds, 0.5, 0.01)[:, None]
    features = np.random.default_rng(0).normal(size=(500, 4))
    shares = {"random": [], "useful": []}
    for seed in range(60):
        for pick in useful_order(features, scores, candidates(["s"] * 500), [], 50, seed, random_share=0.5):
            shares[pick.drawn].append(holds[pick.row])
    assert np.mean(shares["random"]) == pytest.approx(0.1, abs=0.025)
    assert np.mean(shares["useful"]) > 0.3


def test_single_patches_have_their_random_share_too():
    features, table = np.random.default_rng(0).normal(size=(400, 4)), candidates(["s"] * 400)
    labelled, at_random = [], 0
    for _ in range(200):
        (pick,) = useful_order(features, np.full((400, 2), 0.5), table, labelled, 1)
        at_random += pick.drawn == "random"
        labelled.append(pick.row)
    assert len(set(labelled)) == 200
    assert 8 <= at_random <= 36


def test_a_random_sample_counts_what_was_chosen_before_its_turn():
    turn = random_order(10, 3)
    assert sorted(turn) == list(range(10))
    assert random_sample(10, [], 3).tolist() == []
    assert random_sample(10, turn[[0, 1, 3]], 3).tolist() == turn[:2].tolist()
    assert random_sample(10, turn[1:], 3).tolist() == []
    assert random_sample(10, turn, 3).tolist() == turn.tolist()
    picks = useful_order(np.eye(10), None, candidates(["s"] * 10), turn[1:3], 3, 3, random_share=1.0)
    assert {pick.row for pick in picks} == set(turn[[0, 3, 4]])


def test_without_a_classifier_a_probe_on_the_labels_says_what_is_uncertain():
    rng = np.random.default_rng(0)
    features = rng.uniform(-1, 1, size=(1000, 2))
    labelled = np.arange(100)
    states = np.full((1000, 1), -1)
    states[labelled, 0] = features[labelled, 0] > 0
    picks = useful_order(features, None, candidates(["s"] * 1000), labelled, 100, random_share=0.0, states=states)
    away = np.abs(features[[pick.row for pick in picks], 0]).mean()
    assert {pick.drawn for pick in picks} == {"useful"}
    assert away < 0.8 * np.abs(features[100:, 0]).mean()


@pytest.mark.parametrize(("known", "absent"), [(30, 5), (120, 0)])
def test_before_a_probe_knows_anything_clusters_come_first(known, absent):
    features, which = blobs(30, 10, width=0.3)
    states = np.full((300, 2), -1)
    states[:known, 0] = 1
    states[:absent, 0] = 0
    picks = useful_order(features, None, candidates(["s"] * 300), np.arange(30), 9, random_share=0.0, states=states)
    assert {pick.drawn for pick in picks} == {"clusters"}
    assert sorted(which[[pick.row for pick in picks]]) == list(range(1, 10))


def test_clusters_begin_with_the_middle_of_the_largest():
    rng = np.random.default_rng(0)
    sizes = {0: 50, 1: 30, 2: 20}
    which = np.repeat(list(sizes), list(sizes.values()))
    centres = np.array([[0, 0], [100, 0], [0, 100]])
    features = centres[which] + rng.normal(size=(100, 2))
    picks = clusters_order(features, candidates(["s"] * 100), [], 3, random_share=0.0)
    rows = [pick.row for pick in picks]
    assert which[rows].tolist() == [0, 1, 2]
    scaled = (features - features.mean(axis=0)) / features.std(axis=0)
    for row in rows:
        own = np.flatnonzero(which == which[row])
        away = np.linalg.norm(scaled[own] - scaled[own].mean(axis=0), axis=1)
        assert own[away.argmin()] == row


def test_slide_after_slide_and_line_by_line():
    table = pd.DataFrame({"slide_id": ["b", "a", "a", "b", "a"], "x": [0, 9, 0, 5, 0], "y": [0, 0, 0, 0, 7]})
    assert order.by_slide(table).tolist() == [2, 1, 4, 0, 3]


def test_rows_that_do_not_fit_are_refused():
    table = candidates(["s"] * 4)
    with pytest.raises(ValueError, match="5 rows of features for 4 candidates"):
        useful_order(np.eye(5), None, table, [], 2)
    with pytest.raises(ValueError, match="scores have shape"):
        useful_order(np.eye(4), np.ones((3, 2)), table, [], 2)
    with pytest.raises(ValueError, match="a mask of shape"):
        useful_order(np.eye(4), None, table, np.ones(3, bool), 2)
    with pytest.raises(ValueError, match="random_share"):
        useful_order(np.eye(4), None, table, [], 2, random_share=2)


def test_of_more_than_can_be_looked_at_as_many_are(monkeypatch):
    """How long 100,000 candidates take: benchmarks/labelling.py."""
    looked_at, measure = [], order.nearest_squared
    monkeypatch.setattr(order, "_POOL", 50)
    monkeypatch.setattr(
        order, "nearest_squared", lambda points, others: looked_at.append(len(points)) or measure(points, others)
    )
    for count in (200, 400):
        features, _ = blobs(count // 4, 4)
        assert len(useful_order(features, np.full((count, 2), 0.5), candidates(["s"] * count), [], 5)) == 5
    assert max(looked_at) == 50
    assert looked_at[: len(looked_at) // 2] == looked_at[len(looked_at) // 2 :]
