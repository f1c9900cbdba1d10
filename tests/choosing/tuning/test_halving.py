"""The better third goes on, within a time, from where it was stopped, and beside the current setting."""

import numpy as np
import pytest

from wsss_mm.choosing.tuning.halving import Halving, RungTraining, Score, duration, plan, rungs_for
from wsss_mm.errors import InputError

SETTINGS = [{}, *({"segmenter.lr": index / 1000} for index in range(1, 12))]


class Trainings:
    """Trials of a second for a whole training; a contender is as good as its place says, and better when longer."""

    def __init__(self, fails=(), stops_after=None):
        self.made, self.closed, self._fails, self._stops = [], 0, set(fails), stops_after

    def __call__(self, entries):
        try:
            for entry in entries:
                if self._stops is not None and len(self.made) >= self._stops:
                    raise KeyboardInterrupt
                self.made.append(entry)
                failed = entry.contender in self._fails
                yield entry, None if failed else Score(entry.contender / 100 + entry.share / 2, entry.share)
        finally:
            self.closed += 1


def _halving(run, budget=100.0, seeds=(0,), costs=None, said=None):
    said = [] if said is None else said
    return Halving(SETTINGS, costs or [1.0] * len(SETTINGS), run, budget, seeds, said.append)


def test_the_better_third_goes_on_and_the_current_setting_with_it():
    run, said = Trainings(), []
    halving = _halving(run, said=said)
    last = halving()
    assert [entry.contender for entry in last] == [0, 11, 10]
    assert all(entry.share == 1 for entry in last)
    rungs = [[entry.contender for entry in run.made if entry.rung == rung] for rung in range(3)]
    assert [len(rung) for rung in rungs] == [12, 5, 3]
    assert set(rungs[1]) == {0, 8, 9, 10, 11}
    assert "20 trials fit into 2 min" in said[0]
    assert any("more in this rung" in line and "of the time are left" in line for line in said)


@pytest.mark.parametrize("budget", [2.5, 3.0, 4.0, 5.0])
def test_the_time_is_kept(budget):
    run = Trainings()
    halving = _halving(run, budget)
    last = halving()
    assert sum(score.seconds for score in halving.scores.values()) <= budget
    assert {0} < {entry.contender for entry in last}
    assert last[0].share == 1


def test_a_time_too_short_for_two_says_what_is_needed():
    with pytest.raises(InputError, match=r"--budget: 1 s is too short: one trial took 0 s, .* about 2 s; give that"):
        _halving(Trainings(), 1.0)()


def test_dearer_contenders_count_as_such():
    shares = rungs_for(11)
    assert plan([1.0] * 12, 1.0, 5.0, 1, shares).numbers == (10, 4, 2)
    assert plan([1.0, *[3.0] * 11], 1.0, 5.0, 1, shares) is None


def test_what_was_made_is_not_made_again():
    first = Trainings(stops_after=7)
    halving = _halving(first)
    with pytest.raises(KeyboardInterrupt):
        halving()
    assert first.closed
    second = Trainings()
    resumed = _halving(second)
    resumed.scores = dict(halving.scores)
    whole = _halving(Trainings())
    assert resumed() == whole()
    assert not set(first.made[:-1]) & set(second.made)
    assert resumed.scores == whole.scores


def test_all_seeds_train_in_the_last_rung_alone():
    run = Trainings()
    last = _halving(run, seeds=(0, 1, 2))()
    assert {entry.seed for entry in last} == {0, 1, 2}
    assert len(last) == 9
    assert {entry.seed for entry in run.made if entry.rung < 2} == {0}


def test_what_fails_falls_out_and_the_current_setting_must_not():
    assert 11 not in {entry.contender for entry in _halving(Trainings(fails=[11]))()}
    with pytest.raises(InputError, match=r"params.yaml as it is cannot be trained"):
        _halving(Trainings(fails=[0]))()


def test_where_the_time_ends_within_a_rung_what_was_judged_before_it_counts():
    class Slower(Trainings):
        def __call__(self, entries):
            for entry, score in super().__call__(entries):
                yield entry, Score(score.value, score.seconds * (40 if entry.rung == 1 else 1))

    said = []
    last = _halving(Slower(), 8.0, said=said)()
    assert {entry.rung for entry in last} == {0}
    assert any("the time is up" in line for line in said)


def test_entries_are_told_apart():
    assert RungTraining(0, 0, 1.0, 0) != RungTraining(0, 0, 1.0, 1)
    assert duration(40) == "40 s"
    assert duration(720) == "12 min"
    assert duration(7500) == "2 h 5 min"
    assert np.allclose(rungs_for(11), [1 / 9, 1 / 3, 1])
    assert rungs_for(1) == (1.0,)
