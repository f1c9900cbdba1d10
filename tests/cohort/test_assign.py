"""Splits: by patient, alike in sites and classes, the same for a seed, and kept."""

import random
from collections import Counter
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wsss_mm.cohort.assign import SlideFacts, SplitPlan, divide, split_counts, split_doubts
from wsss_mm.errors import InputError
from wsss_mm.names import likeness


def slide(number, patient=None, site="", split="", classes=(), annotated=False):
    return SlideFacts(f"S{number}", patient or f"P{number}", site, split, frozenset(classes), annotated)


def many(count=40):
    """Two sites of one to three, and a class that a quarter of the patients have."""
    return [
        slide(n, site="A" if n % 4 else "B", classes={"TE"} if n % 4 == 1 else {"TAS"}) for n in range(1, count + 1)
    ]


def shares(slides, splits, which):
    return Counter(splits[item.slide_id] for item in slides if which(item))


def test_every_split_gets_its_share_of_each_site_and_class():
    slides = many()
    splits = divide(slides, SplitPlan())
    assert Counter(splits.values()) == {"train": 24, "valid": 8, "test": 8}
    for which in (lambda s: s.site == "B", lambda s: "TE" in s.classes):
        assert shares(slides, splits, which) == {"train": 6, "valid": 2, "test": 2}


def test_it_is_the_same_for_a_seed_in_any_order():
    slides = many()
    mixed = random.Random(1).sample(slides, len(slides))
    assert divide(slides, SplitPlan(seed=3)) == divide(mixed, SplitPlan(seed=3))
    assert divide(slides, SplitPlan(seed=3)) != divide(slides, SplitPlan(seed=4))


def test_a_patient_keeps_its_split_when_slides_are_added():
    before = many(20)
    splits = divide(before, SplitPlan())
    now = [replace(item, split=splits[item.slide_id]) for item in before]
    more = [*now, slide(99, patient="P3"), *(slide(n) for n in range(50, 70))]
    after = divide(more, SplitPlan(seed=9))
    assert {name: after[name] for name in splits} == splits
    assert after["S99"] == splits["S3"]
    assert Counter(after.values())["test"] == 8


def test_again_decides_anew():
    slides = [replace(item, split="test") for item in many()]
    assert divide(slides, SplitPlan()) == {item.slide_id: "test" for item in slides}
    assert divide(slides, SplitPlan(again=True)) == divide(many(), SplitPlan())


@given(
    patients=st.lists(
        st.tuples(
            st.sampled_from(["P1", "p1", "P01", "P2", "P3", "Q", "R", "s", "S"]),
            st.sampled_from(["", "A", "B"]),
            st.sets(st.sampled_from("xyz")),
            st.booleans(),
        ),
        min_size=1,
        max_size=25,
    ),
    seed=st.integers(0, 3),
    valid=st.sampled_from([0, 0.2, 0.5]),
    test=st.sampled_from([0, 0.2, 0.4]),
)
def test_no_patient_is_ever_in_two_splits_and_train_is_never_empty(patients, seed, valid, test):
    slides = [slide(n, *cells[:2], "", *cells[2:]) for n, cells in enumerate(patients)]
    splits = divide(slides, SplitPlan(valid, test, seed))
    of = {}
    for item in slides:
        assert of.setdefault(likeness(item.patient_id), splits[item.slide_id]) == splits[item.slide_id]
    assert "train" in splits.values()
    if len(of) > 1 and test:
        assert "test" in splits.values()


@pytest.mark.parametrize(("count", "wanted"), [(1, "train"), (2, "test train"), (3, "test train valid")])
def test_a_few_patients_fill_train_then_test_then_valid(count, wanted):
    splits = divide([slide(n) for n in range(count)], SplitPlan())
    assert " ".join(sorted(set(splits.values()))) == wanted


def test_a_patient_with_most_slides_is_learnt_from():
    slides = [slide(1, site="A"), slide(2, site="B"), *(slide(n, patient="P9") for n in range(10, 20))]
    splits = divide(slides, SplitPlan())
    assert Counter(splits.values())["train"] == 10


def test_outlines_are_for_valid_and_test():
    slides = [slide(n, annotated=n in (3, 7)) for n in range(10)]
    splits = divide(slides, SplitPlan())
    assert {splits["S3"], splits["S7"]} == {"valid", "test"}
    assert Counter(splits.values())["train"] == 8


def test_sites_are_held_out_whole_and_alone():
    slides = [slide(n, site="A" if n % 3 else "B") for n in range(30)]
    splits = divide(slides, SplitPlan(sites={"B": "test"}))
    assert {item.site for item in slides if splits[item.slide_id] == "test"} == {"B"}
    assert shares(slides, splits, lambda s: s.site == "B") == {"test": 10}
    assert shares(slides, splits, lambda s: s.site == "A") == {"train": 16, "valid": 4}


def test_a_patient_of_a_site_that_is_held_out_goes_with_all_slides():
    slides = [slide(1, "P", "A"), slide(2, "P", "B"), slide(3, site="A"), slide(4, site="A")]
    splits = divide(slides, SplitPlan(sites={"B": "test"}))
    assert splits["S1"] == splits["S2"] == "test"


@pytest.mark.parametrize(
    ("slides", "wanted", "message"),
    [
        ([slide(1, site="A")], SplitPlan(sites={"B": "test"}), "no slide is of it; sites are: A"),
        ([slide(1)], SplitPlan(sites={"B": "test"}), "no slide has a site"),
        ([slide(1, site="A", split="train")], SplitPlan(sites={"A": "test"}), "S1 is in split train already.* --again"),
        ([slide(1, "P", split="train"), slide(2, "p", split="test")], SplitPlan(), "is in the splits test and train"),
        ([slide(1)], SplitPlan(0.5, 0.5), "shares, which leave some for train"),
        ([slide(1)], SplitPlan(-0.1, 0.5), "shares"),
    ],
)
def test_what_cannot_be_done_is_refused(slides, wanted, message):
    with pytest.raises(InputError, match=message):
        divide(slides, wanted)


def test_a_thousand_patients_take_no_time():
    slides = [slide(n, site="ABCDE"[n % 5], classes={"xyz"[n % 3], "uvw"[n % 7 % 3]}) for n in range(1000)]
    assert Counter(divide(slides, SplitPlan()).values()) == {"train": 600, "valid": 200, "test": 200}


def test_the_counts():
    slides = [slide(1, site="A", split="train", classes=["TE"]), slide(2, "P1", "A", "train"), slide(3, site="B")]
    assert split_counts(slides) == [
        ["", "train", "valid", "test", "none"],
        ["patients", "1", "0", "0", "1"],
        ["slides", "2", "0", "0", "1"],
        ["  of site A", "2", "0", "0", "0"],
        ["  of site B", "0", "0", "0", "1"],
        ["  with TE", "1", "0", "0", "0"],
    ]


def test_doubts():
    slides = [
        slide(1, site="A", split="train", classes=["TE", "NEC"]),
        slide(2, site="A", split="valid", classes=["TE"]),
        slide(3, site="B", split="test"),
    ]
    said = split_doubts(slides)
    assert len(said) == 2
    assert said[0] == "split valid has no slide with NEC"
    assert said[1].startswith("split test is just what was made at B")
    assert split_doubts(slides, held=["B"]) == said[:1]
    more = [*slides, slide(4, site="A", split="test")]
    assert split_doubts(more, held=["B"])[0] == "split test was to be of B alone, and has slides of A, too"
    assert split_doubts(slides[:1]) == [
        "no slide is in split valid: stage cohort holds patients out of train",
        "no slide is in split test: the line has nothing to be judged on",
    ]
