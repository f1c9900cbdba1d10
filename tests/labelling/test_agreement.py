"""Kappa is scikit-learn's, its interval holds what it should, and disputes are what is left to settle."""

import numpy as np
import pytest
from sklearn.metrics import cohen_kappa_score

from wsss_mm.labelling import Journal, Place, journal_path, new_entry, read_journals
from wsss_mm.labelling.agreement import (
    agreement_table,
    cohens_kappa,
    disputes,
    mean_kappa,
    suggested_alone,
)

STATES = np.array(["absent", "present"])


@pytest.fixture
def say(tmp_path):
    def said(reader, x, states, kind="answer", **fields):
        place = {"slide": "s1", "x": x, "y": 0, "mpp": 1.0, "size": 224}
        entry = new_entry(kind, **{**place, "classes": states, **fields})
        Journal(journal_path(reader, tmp_path), reader).append([entry])

    return said


@pytest.mark.parametrize("seed", range(5))
def test_kappa_is_scikit_learns(seed):
    rng = np.random.default_rng(seed)
    first = rng.random(60) < 0.3
    second = first ^ (rng.random(60) < 0.2)
    found = cohens_kappa(list(STATES[first.astype(int)]), list(STATES[second.astype(int)]))
    assert found.kappa == pytest.approx(cohen_kappa_score(first, second))
    assert found.agreed == pytest.approx((first == second).mean())
    assert found.low < found.kappa < found.high


def test_by_hand():
    # 45 yes-yes, 15 yes-no, 25 no-yes, 15 no-no of 100: agreed 0.6, by chance 0.54.
    first = ["present"] * 60 + ["absent"] * 40
    second = ["present"] * 45 + ["absent"] * 15 + ["present"] * 25 + ["absent"] * 15
    found = cohens_kappa(first, second)
    assert (found.n, found.agreed) == (100, 0.6)
    assert found.kappa == pytest.approx((0.6 - 0.54) / 0.46)
    assert found.low == pytest.approx((0.5020 - 0.54) / 0.46, abs=1e-3)  # Wilson's interval of 60 of 100
    assert found.high == pytest.approx((0.6906 - 0.54) / 0.46, abs=1e-3)


def test_unsure_is_counted_and_not_compared():
    found = cohens_kappa(["present", "unsure", "absent", "present"], ["present", "present", "absent", "unsure"])
    assert (found.n, found.unsure, found.kappa) == (2, 2, 1.0)


def test_undefined_where_all_is_one():
    assert cohens_kappa(["absent"] * 9, ["absent"] * 9).kappa is None
    assert cohens_kappa([], []) == cohens_kappa(["unsure"], ["absent"]).__class__(0, 0, None, None, None, None)


def test_all_alike_is_no_proof_in_a_few_patches():
    few, many = (cohens_kappa(["present", "absent"] * n, ["present", "absent"] * n) for n in (5, 500))
    assert few.kappa == many.kappa == few.high == 1
    assert few.low < 0.5 < 0.98 < many.low


def test_the_interval_holds_the_truth():
    """Of 600 pairs of 50 patches: readers who take the truth for its opposite in a tenth of them each."""
    rng, held = np.random.default_rng(0), 0
    agreed = 0.9**2 + 0.1**2
    prevalence = 0.4 * 0.9 + 0.6 * 0.1
    chance = prevalence**2 + (1 - prevalence) ** 2
    for _ in range(600):
        truth = rng.random(50) < 0.4
        first, second = (list(STATES[(truth ^ (rng.random(50) < 0.1)).astype(int)]) for _ in range(2))
        found = cohens_kappa(first, second)
        held += found.low <= (agreed - chance) / (1 - chance) <= found.high
    assert held / 600 > 0.93


class TestTable:
    def test_between_and_within(self, say, tmp_path):
        for x in range(6):
            say(
                "ann",
                x,
                {"TE": "present" if x < 3 else "absent", "LYM": "absent"},
                drawn="random" if x < 4 else "useful",
            )
            say("bob", x, {"TE": "present" if x < 2 else "absent"})
        for x in range(3):
            say("ann", x, {"TE": "present" if x < 2 else "absent", "LYM": "absent"}, repeat=True)
        table = agreement_table(read_journals(tmp_path), ["TE", "LYM"]).set_index(["kind", "class"])
        te = table.loc[("between", "TE")]
        assert (te["first"], te["second"], te["n"]) == ("ann", "bob", 6)
        assert te["kappa"] == pytest.approx(cohen_kappa_score([1, 1, 1, 0, 0, 0], [1, 1, 0, 0, 0, 0]))
        assert table.loc[("between", "LYM"), "n"] == 0
        assert table.loc[("within", "TE"), "agreed"] == pytest.approx(2 / 3)
        assert table.loc[("within", "LYM")][["n", "agreed"]].tolist() == [3, 1]
        assert np.isnan(table.loc[("within", "LYM"), "kappa"])
        at_random = agreement_table(read_journals(tmp_path), ["TE"], random_alone=True).set_index("kind")
        assert at_random.loc["between", "n"] == 4

    def test_mean_is_weighted_by_patches(self, say, tmp_path):
        for x in range(8):
            states = {"TE": "present" if x % 2 else "absent"} | ({"LYM": "present" if x else "absent"} if x < 2 else {})
            say("ann", x, states)
            say("bob", x, states | ({"LYM": "absent" if x else "present"} if x < 2 else {}))
        table = agreement_table(read_journals(tmp_path), ["TE", "LYM"])
        assert mean_kappa(table) == pytest.approx((8 * 1 + 2 * -1) / 10)
        assert mean_kappa(table, "within") is None

    def test_of_nobody(self, tmp_path):
        table = agreement_table(read_journals(tmp_path), ["TE"])
        assert table.empty
        assert mean_kappa(table) is None


class TestDisputes:
    def test_what_is_left_to_settle(self, say, tmp_path):
        say("ann", 0, {"TE": "present", "LYM": "absent"})
        say("bob", 0, {"TE": "present", "LYM": "unsure"})
        say("ann", 1, {"TE": "present"})
        say("bob", 1, {"TE": "present"})
        say("ann", 2, {}, artefact="pen")
        say("bob", 2, {"TE": "present"})
        found = disputes(read_journals(tmp_path))
        assert [(item.place.x, item.classes) for item in found] == [(0, ("LYM",)), (2, ("TE",))]
        assert found[0].place == Place("s1", 0, 0, 1.0, 224)
        assert sorted(found[0].answers) == ["ann", "bob"]
        say("eve", 0, {"LYM": "present"}, "settle")
        say("eve", 2, {}, "settle", artefact="pen")
        assert disputes(read_journals(tmp_path)) == []

    def test_of_the_first_and_only_reader_there_is_none(self, say, tmp_path):
        say("ann", 0, {"TE": "present"})
        say("ann", 0, {"TE": "absent"}, repeat=True)
        assert disputes(read_journals(tmp_path)) == []


def test_suggestions_that_were_taken_as_they_were(say, tmp_path):
    say("ann", 0, {"TE": "present", "LYM": "absent"}, suggested={"TE": 0.9, "LYM": 0.1}, how="confirmed")
    say("ann", 1, {"TE": "present", "LYM": "present"}, suggested={"TE": 0.9}, how="confirmed")
    say("ann", 2, {"TE": "present"}, suggested={"TE": 0.2})
    counts = suggested_alone(read_journals(tmp_path).answers(), ["TE", "LYM", "NEC"])
    assert counts == {"TE": (3, 2), "LYM": (1, 0), "NEC": (0, 0)}
