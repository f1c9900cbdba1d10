"""Causes before consequences: a check that means nothing where another one failed is shown as not judged because of it.

A patch without an image has no sharpness, and a split without a patch no classes: what people must mend is the image or
the split. Checks say what they rest on in checks.yaml. Nothing is hidden that would stop the line by itself: a row that
fails for no known cause stays, and a check that stops the line gives way to none that only warns.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from wsss_mm.gates.checks import EXAMPLES, LISTED, Check, Outcome, Table


@dataclass(frozen=True)
class Failing:
    """A check that was judged, with the rows that fail it.

    Attributes:
        check: what was expected.
        outcome: how it came out.
        rows: names of the rows that fail, all of them; empty where no row is to be told apart, as of a mean.
        said: what is told of each of these rows, in their order.
        links: of these rows, by column of `check.rests_on`, the row of the cause that each rests on.
        allowed: share of the rows that may fail.
    """

    check: Check
    outcome: Outcome
    rows: Sequence[str] = ()
    said: Sequence[str] = ()
    links: Mapping[str, Sequence[str]] | None = None
    allowed: float = 0.0


def before_consequences(judged: Sequence[Failing]) -> Iterator[Outcome]:
    """The outcomes in their order; those that follow from others are not judged, as far as they do."""
    failed = {item.outcome.name: item for item in judged if not item.outcome.passed}
    found = {name: _explained(item, failed) for name, item in failed.items()}
    for item in judged:
        why, left = found.get(item.outcome.name, (None, None))
        if why is None or left is None:
            yield item.outcome
        elif _tolerable(item, len(left)):
            yield unjudged(item.outcome, _root(why, found, failed))
        else:
            yield _of_rows(item, left)


def never_reached(tables: Sequence[Table], why: str, says: Mapping[str, str]) -> Iterator[Outcome]:
    """Outcomes of the checks of tables that were not measured, since a gate stops where nothing can be measured.

    Args:
        tables: those that were not reached.
        why: the check that failed.
        says: what each check expects, by its name.
    """
    for table in tables:
        for check in table.checks:
            yield Outcome(check.name, table.name, "none", says[check.name], passed=False, rows=0, because=why)


def unjudged(outcome: Outcome, why: str) -> Outcome:
    """The outcome of a check that means nothing since another one failed."""
    nothing = {"unexpected": 0, "offending": (), "examples": (), "observed": None, "typical": ()}
    return replace(outcome, **nothing, remedy=None, because=why)


def _explained(item: Failing, failed: Mapping[str, Failing]) -> tuple[str | None, list[int] | None]:
    """The first cause that explains a row, and the positions of the rows that none explains."""
    left, first = list(range(len(item.rows))), None
    for name, column in item.check.rests_on.items():
        cause = failed.get(name)
        if cause is None or (item.outcome.severity == "critical" and cause.outcome.severity != "critical"):
            continue
        if column is None:
            return first or name, []
        bad, of_rows = set(cause.rows), (item.links or {}).get(column, ())
        rest = [row for row in left if of_rows[row] not in bad]
        if len(rest) < len(left):
            first, left = first or name, rest
    return first, left


def _tolerable(item: Failing, left: int) -> bool:
    """Whether so many rows that are not explained would pass."""
    return left <= item.allowed * item.outcome.rows


def _root(name: str, found: Mapping[str, tuple[str | None, list[int] | None]], failed: Mapping[str, Failing]) -> str:
    """The cause of a cause, as far as it is not judged itself."""
    why, left = found[name]
    if why is None or left is None or not _tolerable(failed[name], len(left)):
        return name
    return _root(why, found, failed)


def _of_rows(item: Failing, left: list[int]) -> Outcome:
    """The outcome of the rows that are left."""
    rows, said = [item.rows[row] for row in left], [item.said[row] for row in left]
    return replace(item.outcome, unexpected=len(rows), offending=tuple(rows[:LISTED]), examples=tuple(said[:EXAMPLES]))
