"""Successive halving: many short trainings, of which the better third goes on to longer ones, until the time is up.

The current setting takes part in every rung, whatever it scores: what is chosen has to be better than that one.
"""

import logging
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from wsss_mm.choosing.tuning.values import Values, contender_text
from wsss_mm.errors import InputError

logger = logging.getLogger(__name__)

FACTOR = 3
"""Of a rung, the better one of so many goes on, to so many times the training."""

_RUNGS = ((8, 3), (2, 2), (0, 1))  # from so many contenders beside the current setting on, so many rungs


@dataclass(frozen=True)
class Score:
    """What a trial came to.

    Attributes:
        value: what is maximised, 0..1.
        seconds: it took.
        counts: (U, C, C) confusion matrices of the validation split, a unit each; None where there are no masks.
    """

    value: float
    seconds: float
    counts: npt.NDArray[np.int64] | None = None


@dataclass(frozen=True)
class RungTraining:
    """One training: a contender, by its place among all, at a rung, with a seed."""

    contender: int
    rung: int
    share: float
    seed: int


@dataclass(frozen=True)
class Plan:
    """How many trials fit.

    Attributes:
        numbers: contenders of each rung.
        shares: of the training, of each rung.
        seeds: trainings of each contender in the last rung.
    """

    numbers: tuple[int, ...]
    shares: tuple[float, ...]
    seeds: int

    @property
    def trials(self) -> int:
        """In all."""
        return sum(self.numbers) + self.numbers[-1] * (self.seeds - 1)

    def seconds(self, costs: Sequence[float], whole: float) -> float:
        """How long it takes.

        Args:
            costs: of each contender, as a multiple of the current setting's; of those that go on, the dearest count.
            whole: seconds of a whole training of the current setting.
        """
        first, total = list(costs[: self.numbers[0]]), 0.0
        for rung, (number, share) in enumerate(zip(self.numbers, self.shares, strict=True)):
            own = first if rung == 0 else sorted(first, reverse=True)[:number]
            total += sum(own) * share * (self.seeds if rung == len(self.numbers) - 1 else 1)
        return total * whole


def rungs_for(number: int) -> tuple[float, ...]:
    """Shares of the training, rung by rung, for a number of contenders beside the current setting."""
    rungs = next(rungs for least, rungs in _RUNGS if number >= least)
    return tuple(FACTOR ** -float(rungs - 1 - rung) for rung in range(rungs))


def plan(costs: Sequence[float], whole: float, left: float, seeds: int, shares: Sequence[float]) -> Plan | None:
    """The most contenders whose trials fit into the time that is left; None where not two do.

    Args:
        costs: of each contender, the current setting first, see `Plan.seconds`.
        whole: seconds of a whole training of the current setting.
        left: seconds, those of the first trial included.
        seeds: trainings of each contender in the last rung.
        shares: of the training, rung by rung.
    """
    for number in range(len(costs), 1, -1):
        numbers = [number]
        while len(numbers) < len(shares):
            numbers.append(min(numbers[-1], math.ceil((numbers[-1] - 1) / FACTOR) + 1))
        found = Plan(tuple(numbers), tuple(shares), seeds)
        if found.seconds(costs, whole) <= left:
            return found
    return None


@dataclass
class Halving:
    """Runs the trials of a plan.

    Attributes:
        contenders: all, the current setting (no values) first.
        costs: of each, see `Plan.seconds`.
        run: makes trials, yields each with its score, None where it failed; is closed when no more are wanted.
        budget: seconds, of earlier calls with the same journal too.
        seeds: of the last rung; the first one is that of all others.
        say: tells people.
    """

    contenders: Sequence[Values]
    costs: Sequence[float]
    run: Callable[[Sequence[RungTraining]], Iterator[tuple[RungTraining, Score | None]]]
    budget: float
    seeds: Sequence[int]
    say: Callable[[str], object] = logger.info
    scores: dict[RungTraining, Score | None] = field(default_factory=dict)

    def __call__(self) -> list[RungTraining]:
        """The entries of the last rung that was finished; their scores are in `scores`.

        Raises:
            InputError: the current setting cannot be trained, or the time is too short for two.
        """
        shares = rungs_for(len(self.contenders) - 1)
        first = RungTraining(0, 0, shares[0], self.seeds[0])
        self._do([first])
        made = self.scores[first]
        if made is None:
            raise InputError(
                "params.yaml as it is cannot be trained, and nothing compared with it; look with dvc repro"
            )
        whole = made.seconds / shares[0]  # more than it will be: what does not grow with the training is in it
        planned = plan(self.costs, whole, self.budget, len(self.seeds), shares)
        if planned is None:  # then at once the whole training, of two
            shares = shares[-1:]
            planned = plan(self.costs[:2], whole, self.budget - (made.seconds if first.share < 1 else 0), 1, shares)
            if planned is None:
                least = (1 + self.costs[1]) * whole + made.seconds
                raise InputError(
                    f"--budget: {duration(self.budget)} is too short: one trial took {duration(made.seconds)}, and two "
                    f"whole trainings take about {duration(least)}; give that, or fewer epochs and iterations"
                )
        expected = planned.seconds(self.costs, whole)
        self.say(
            f"{planned.trials} trials fit into {duration(self.budget)}: one took {duration(made.seconds)}; "
            + ", then ".join(
                f"{number} of {len(self.contenders)} settings with {share:.0%} of the training"
                if rung == 0
                else f"{number} with {share:.0%}"
                for rung, (number, share) in enumerate(zip(planned.numbers, planned.shares, strict=True))
            )
            + f"; about {duration(expected)} in all"
        )
        return self._climb(planned)

    def _climb(self, planned: Plan) -> list[RungTraining]:
        standing, finished = list(range(planned.numbers[0])), []
        for rung, share in enumerate(planned.shares):
            last = rung == len(planned.shares) - 1
            entries = [
                RungTraining(contender, rung, share, seed)
                for seed in (self.seeds[: planned.seeds] if last else self.seeds[:1])
                for contender in standing
            ]
            if not self._do(entries):
                done = [entry for entry in entries if self.scores.get(entry)]
                whole = {entry.contender for entry in done}
                if len(whole) > 1 and 0 in whole and (last or not finished):
                    return done
                return finished
            finished = [entry for entry in entries if self.scores[entry] is not None]
            if not last:
                ranked = sorted((entry for entry in finished), key=lambda entry: (-self._value(entry), entry.contender))
                better = [entry.contender for entry in ranked if entry.contender != 0]
                standing = [0, *better[: planned.numbers[rung + 1] - 1]]
                self.say(
                    f"with {share:.0%} of the training: "
                    + "; ".join(f"{self._value(entry):.3f} {self.name(entry.contender)}" for entry in ranked[:5])
                )
        return finished

    def name(self, contender: int) -> str:
        """A contender as people read it."""
        return contender_text(self.contenders[contender]) or "as in params.yaml"

    def _value(self, entry: RungTraining) -> float:
        score = self.scores[entry]
        return -1.0 if score is None else score.value

    def _do(self, entries: Sequence[RungTraining]) -> bool:
        """Make trials that are not made; False where the time was up before the last one."""
        wanted = [entry for entry in entries if entry not in self.scores]
        pace = [score.seconds / (self.costs[entry.contender] * entry.share) for entry, score in self._made()]
        running = self.run(wanted)
        try:
            for done, (entry, score) in enumerate(running, 1):
                self.scores[entry] = score
                if score is not None:
                    pace.append(score.seconds / (self.costs[entry.contender] * entry.share))
                left = wanted[done:]
                if left and pace:
                    expected = [self.costs[item.contender] * item.share * float(np.median(pace)) for item in left]
                    told = "failed" if score is None else f"{score.value:.3f} in {duration(score.seconds)}"
                    rest = duration(max(0, self.budget - self._spent()))
                    self.say(
                        f"{self.name(entry.contender)}: {told}; {len(left)} more in this rung, about "
                        f"{duration(sum(expected))}; {rest} of the time are left"
                    )
                    if self._spent() + expected[0] > self.budget:
                        self.say(f"the time is up: {len(left)} trials of this rung are left out")
                        return False
        finally:
            close = getattr(running, "close", None)
            if close is not None:
                close()
        return all(entry in self.scores for entry in entries)

    def _made(self) -> list[tuple[RungTraining, Score]]:
        return [(entry, score) for entry, score in self.scores.items() if score is not None]

    def _spent(self) -> float:
        return sum(score.seconds for _, score in self._made())


def duration(seconds: float) -> str:
    """Such as `40 s`, `12 min` or `2 h 5 min`."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 90 else f"{minutes // 60} h {minutes % 60} min"
