import pytest

from wsss_mm.cohort.splits import held_out
from wsss_mm.errors import InputError

GROUPS = [f"patient-{number}" for number in range(20)]


def test_holds_out_the_share_whatever_the_order_or_repeats():
    held = held_out(GROUPS, 0.2, seed=1)
    assert len(held) == 4
    assert held_out(GROUPS[::-1] * 3, 0.2, seed=1) == held


def test_seed_changes_the_choice():
    assert len({frozenset(held_out(GROUPS, 0.2, seed)) for seed in range(5)}) > 1


def test_a_group_keeps_its_place_when_another_goes():
    held = held_out(GROUPS, 0.2, seed=1)
    rest = [group for group in GROUPS if group not in held]
    assert held <= held_out([*held, *rest[1:]], 4 / 19, seed=1)


@pytest.mark.parametrize("share", [0, 1])
def test_never_none_and_never_all(share):
    assert 0 < len(held_out(["a", "b", "c"], share, seed=0)) < 3


def test_one_group_cannot_be_divided():
    with pytest.raises(InputError, match="one patient"):
        held_out(["a", "a"], 0.2, seed=0)


def test_what_looks_alike_stays_together():
    alike = {"P1", "p1", "P01"}
    for seed in range(8):
        held = held_out([*alike, "P2", "P3"], 0.5, seed)
        assert held & alike in (set(), alike)
    with pytest.raises(InputError, match="one patient"):
        held_out(alike, 0.5, seed=0)
