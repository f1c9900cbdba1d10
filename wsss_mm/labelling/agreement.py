"""How far readers agree with each other and with themselves, and where they do not."""

import math
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import TYPE_CHECKING, Literal

from wsss_mm.labelling.entries import Answer, Place, State
from wsss_mm.labelling.journal import Journals
from wsss_mm.labelling.settled import differing

if TYPE_CHECKING:
    import pandas as pd

_Z = 1.959963984540054  # of a 95 % interval
_DECIDED = ("present", "absent")
RANDOM = "random"
"""How patches are drawn on which agreement is that of all patches; those that are useful to learn from are harder."""

COLUMNS = {
    "kind": "str",
    "first": "str",
    "second": "str",
    "class": "str",
    "n": "int64",
    "unsure": "int64",
    "agreed": "float64",
    "kappa": "float64",
    "low": "float64",
    "high": "float64",
}


@dataclass(frozen=True)
class Kappa:
    """Cohen's kappa of one class.

    Attributes:
        n: Patches that both times were called present or absent.
        unsure: Patches that one time or both were called unsure; they are not counted in the rest.
        agreed: Share of the n that were called the same, 0..1; None where n is 0.
        kappa: -1..1; None where it is undefined: no patch, or both times all of them the same one.
        low: End of the 95 % interval; None where kappa is.
        high: Its other end.
    """

    n: int
    unsure: int
    agreed: float | None
    kappa: float | None
    low: float | None
    high: float | None


@dataclass(frozen=True)
class Dispute:
    """A patch that readers differ in, and nobody settled.

    Attributes:
        place: The patch.
        classes: Codes of the classes that are to be settled.
        answers: What each reader says, by name.
    """

    place: Place
    classes: tuple[str, ...]
    answers: dict[str, Answer]


def cohens_kappa(first: Sequence[State], second: Sequence[State]) -> Kappa:
    """Cohen's kappa of two readings of the same patches, in one class.

    The interval is Wilson's of the share that agrees, with the agreement by chance held as it is: unlike the usual
    standard error it does not shrink to nothing where twenty patches of twenty are called the same.

    Args:
        first: What was said of each patch.
        second: What was said of the same patches.
    """
    pairs = [(a, b) for a, b in zip(first, second, strict=True) if a in _DECIDED and b in _DECIDED]
    n, unsure = len(pairs), len(first) - len(pairs)
    if not n:
        return Kappa(0, unsure, None, None, None, None)
    agreed = sum(a == b for a, b in pairs) / n
    one, other = (sum(pair[which] == "present" for pair in pairs) / n for which in (0, 1))
    chance = one * other + (1 - one) * (1 - other)
    if math.isclose(chance, 1):
        return Kappa(n, unsure, agreed, None, None, None)
    kappa, low, high = ((share - chance) / (1 - chance) for share in (agreed, *_wilson(agreed, n)))
    return Kappa(n, unsure, agreed, kappa, max(low, -1.0), min(high, 1.0))


def agreement_table(journals: Journals, codes: Sequence[str], *, random_alone: bool = False) -> "pd.DataFrame":
    """Agreement per class, between every two readers and of each reader with himself.

    Args:
        journals: Of all readers.
        codes: The classes.
        random_alone: Count only patches that were drawn at random for one of the two readings: what was chosen because
            it teaches most is harder than most patches are.

    Returns:
        `COLUMNS`: kind (`between` or `within`), first and second reader, class, and what `Kappa` has; NaN for None.
        Pairs of readers without a common patch, and readers who saw no patch twice, have no rows.
    """
    import pandas as pd

    rows = []
    for kind, first, second, readings in _readings(journals):
        pairs = [pair for pair in readings if not random_alone or RANDOM in (pair[0].drawn, pair[1].drawn)]
        for code in codes if pairs else ():
            both = [(a.states[code], b.states[code]) for a, b in pairs if code in a.states and code in b.states]
            found = cohens_kappa([a for a, _ in both], [b for _, b in both])
            values = (found.n, found.unsure, found.agreed, found.kappa, found.low, found.high)
            rows.append((kind, first, second, code, *values))
    return pd.DataFrame(rows, columns=list(COLUMNS)).astype(COLUMNS)


def mean_kappa(table: "pd.DataFrame", kind: Literal["between", "within"] = "between") -> float | None:
    """Mean of the kappas of a table, each weighted by its patches; None where none is defined."""
    rows = table[(table["kind"] == kind) & table["kappa"].notna()]
    return float((rows["kappa"] * rows["n"]).sum() / rows["n"].sum()) if len(rows) else None


def disputes(journals: Journals) -> list[Dispute]:
    """Patches that readers differ in and nobody settled, ordered by place."""
    settled = {settlement.place: settlement for settlement in journals.settlements}
    found = []
    for place, answers in sorted(journals.by_place().items()):
        decided = settled.get(place)
        if decided is not None and decided.artefact is not None:
            continue
        left = [code for code in differing(answers.values()) if decided is None or code not in decided.states]
        if left or (decided is None and _differ_in_artefact(answers.values())):
            found.append(Dispute(place, tuple(left), dict(answers)))
    return found


def suggested_alone(answers: Collection[Answer], codes: Sequence[str]) -> dict[str, tuple[int, int]]:
    """How often each class was called present, and how often that was a suggestion which the reader took as it was."""
    counts = {}
    for code in codes:
        present = [answer for answer in answers if answer.states.get(code) == "present"]
        taken = sum(answer.how == "confirmed" and code in (answer.suggested or {}) for answer in present)
        counts[code] = (len(present), taken)
    return counts


def _readings(journals: Journals) -> Iterator[tuple[str, str, str, list[tuple[Answer, Answer]]]]:
    by_reader = {name: {answer.place: answer for answer in journals.answers(name)} for name in journals.readers}
    for first, second in combinations(journals.readers, 2):
        common = sorted(by_reader[first].keys() & by_reader[second].keys())
        yield "between", first, second, [(by_reader[first][place], by_reader[second][place]) for place in common]
    for name in journals.readers:
        yield "within", name, name, journals.second_readings(name)


def _differ_in_artefact(answers: Collection[Answer]) -> bool:
    return len({answer.artefact is not None for answer in answers}) > 1


def _wilson(share: float, n: int) -> tuple[float, float]:
    """95 % interval of a share of n."""
    middle = (share + _Z**2 / (2 * n)) / (1 + _Z**2 / n)
    half = _Z * math.sqrt(share * (1 - share) / n + _Z**2 / (4 * n**2)) / (1 + _Z**2 / n)
    return min(middle - half, share), max(middle + half, share)  # rounding aside, they hold it
