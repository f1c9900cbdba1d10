"""What a gate is made of, as plain data: tables, the checks each must pass, and how each check came out.

Nothing here imports Great Expectations: the names of checks are known without running, and a gate that cannot read its
artefact says so at once.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import cache
from itertools import starmap
from string import Formatter
from typing import TYPE_CHECKING, Any, Literal

from wsss_mm.errors import InputError
from wsss_mm.settings import Params
from wsss_mm.settings.gates import expected

if TYPE_CHECKING:
    import pandas as pd

EXAMPLES = 5
"""How many offending rows a report names."""

LISTED = 1000
"""How many offending rows a report lists by name, for the page and for `wsss-mm quarantine`."""

Severity = Literal["critical", "warning"]
Status = Literal["passed", "warned", "failed"]

Limit = float | str | None
"""A number, the name of a threshold (`min_focus`, `mpp[0]`, `patches.min_tissue`), or no limit."""

_SHORT = 20
"""Tables of up to so many rows are in the report as they are."""


@dataclass(frozen=True)
class Check:
    """One expectation, and what to tell people about it.

    What is expected follows from what is given: `among` (one of these values), `same_as` (the value of another
    column), `unique`, `mean` (the column's mean lies between the limits), limits alone (each value lies between them),
    or nothing (there is a value). `says` and `do` may show thresholds: "at least {min_focus:g}".

    Attributes:
        name: Short and stable, unique within the gate: `one_patient_one_split`.
        column: What was measured; None judges the number of rows.
        says: The expectation in words, true when it passes: "a patient is in one split".
        found: What is said of a row that fails, with its values, or of the number of rows: "{mpp:.3g} um per pixel".
        do: What to do when it fails, an imperative.
        low: The least that is allowed.
        high: The most that is allowed.
        among: All that is allowed.
        same_as: The column whose value it must have.
        unique: No value may be there twice.
        mean: The limits are those of the column's mean.
        but: Share of the rows that may fail.
        optional: A row without a value passes. Great Expectations passes over missing values in silence;
            here they fail a check unless it says otherwise.
        rests_on: The checks of the gate without which this one means nothing, by name; behind each the column whose
            value is the row of that check which matters to a row of this one, or None if any failure of it does.
    """

    name: str
    column: str | None
    says: str
    found: str
    do: str
    low: Limit = None
    high: Limit = None
    among: Sequence[Any] = ()
    same_as: str | None = None
    unique: bool = False
    mean: bool = False
    but: Limit = 0.0
    optional: bool = False
    rests_on: Mapping[str, str | None] = field(default_factory=dict)


@dataclass(frozen=True)
class Table:
    """What rows are measured, and the checks they must pass.

    Attributes:
        name: What a row is, in the plural: "patches".
        index: The column that names a row to people.
        checks: In the order of the report; none where the report alone shows the rows.
        required: Later tables are measured from what this one vouches for: if it fails, the gate ends here.
    """

    name: str
    index: str
    checks: tuple[Check, ...]
    required: bool = False

    def of(self, frame: "pd.DataFrame", like: "Mapping[str, pd.Series] | None" = None, **digests: str) -> "Measured":
        """The table with its rows; see `Measured` for `like` and `digests`."""
        return Measured(self, frame, digests, like or {})


@dataclass(frozen=True)
class Measured:
    """A table with what was measured.

    Attributes:
        table: What the rows are, and what they must pass.
        frame: The rows.
        digests: What they were taken of, for later gates to compare.
        like: By columns that say in words what is odd in a row, the id of a row that is typical where it is not.
    """

    table: Table
    frame: "pd.DataFrame"
    digests: Mapping[str, str] = field(default_factory=dict)
    like: "Mapping[str, pd.Series]" = field(default_factory=dict)

    def summary(self) -> dict[str, Any]:
        """What the report says of it."""
        if len(self.frame) > _SHORT:
            return {"rows": len(self.frame)}
        return {"rows": len(self.frame), "values": self.frame.to_dict("records")}


@cache
def gate_tables(gate: str) -> Mapping[str, Table]:
    """The tables of a gate, in the order in which it measures them, as checks.yaml beside this module has them."""
    return {table.name: table for table in starmap(_table, expected()[gate].items())}


def _table(head: str, checks: Mapping[str, Any]) -> Table:
    """A table of checks.yaml, whose head is such as "columns by column, required"."""
    title, _, required = head.partition(", ")
    name, _, index = title.partition(" by ")
    rows = tuple(
        Check(check, column, says, found, do, **allowed) for check, (column, allowed, says, found, do) in checks.items()
    )
    return Table(name, index, rows, bool(required))


class Thresholds(Formatter):
    """What checks call by name: the thresholds of a gate, and the sections of params.yaml."""

    def __init__(self, gate: str, params: Params) -> None:
        self._values = dict(params) | dict(getattr(params.gates, gate))

    def limit(self, limit: Limit) -> float | None:
        """The number a limit stands for."""
        return self.get_field(limit, (), self._values)[0] if isinstance(limit, str) else limit

    def fill(self, text: str) -> str:
        """A text with its thresholds shown."""
        return self.vformat(text, (), self._values)


@dataclass(frozen=True)
class Outcome:
    """How a check came out.

    A check that means nothing since another one failed was not judged: `because` names the other. `unexpected` counts
    rows, `examples` tells the first of them with what was found, `offending` names up to `LISTED` of them as the column
    `index` of the table names them. A check that tolerates a share of bad rows names them though it passes. `typical`
    names rows that are as those ought to be, of the same table.
    """

    name: str
    table: str
    expectation: str
    says: str
    passed: bool
    rows: int
    severity: Severity = "critical"
    index: str | None = None
    unexpected: int = 0
    offending: tuple[str, ...] = ()
    examples: tuple[str, ...] = ()
    observed: float | str | None = None
    remedy: str | None = None
    typical: tuple[str, ...] = ()
    because: str | None = None

    @property
    def problem(self) -> str:
        """What is wrong, in a few words: of how many rows, and what of the first of them."""
        if self.because is not None:
            return f"not judged because of {self.because}"
        if not self.unexpected:
            return f"found: {self.observed}"
        more = "; ..." if self.unexpected > len(self.examples) else ""
        of = f"{self.unexpected} of {self.rows} {self.table}: " if self.rows > 1 else ""
        return f"{of}{'; '.join(self.examples)}{more}"


@dataclass(frozen=True)
class GateResult:
    """Outcome of a gate: deterministic, and written as it is to reports/gates/<gate>.json.

    `measured` holds, per table, the number of rows and, of short tables, the rows; `digests` says what exactly was
    judged, where later gates compare it.
    """

    gate: str
    checks: tuple[Outcome, ...]
    measured: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    digests: Mapping[str, str] = field(default_factory=dict)

    @property
    def passed(self) -> bool:
        """Whether no critical check failed."""
        return not any(outcome.severity == "critical" for outcome in self.failures)

    @property
    def status(self) -> Status:
        """In a word."""
        if not self.passed:
            return "failed"
        return "warned" if self.failures else "passed"

    @property
    def failures(self) -> tuple[Outcome, ...]:
        """The checks that failed, critical ones first, without those that were not judged."""
        failed = [outcome for outcome in self.checks if not outcome.passed and outcome.because is None]
        return tuple(sorted(failed, key=lambda outcome: outcome.severity))

    @property
    def unjudged(self) -> tuple[Outcome, ...]:
        """The checks that mean nothing since another one failed."""
        return tuple(outcome for outcome in self.checks if outcome.because is not None)

    def sizes(self, *, nothing: bool = True) -> str:
        """What was looked at: "691 patches, 4 classes"; a table of one row is no number to tell.

        Args:
            nothing: Whether tables without a row are told of.
        """
        tables = ((name, table.get("rows")) for name, table in self.measured.items() if name != "columns")
        return ", ".join(f"{rows} {name}" for name, rows in tables if rows not in (None, 1) and (rows or nothing))

    def __str__(self) -> str:
        sizes = self.sizes()
        return f"gate {self.gate} {self.status}: {len(self.checks)} checks{f' on {sizes}' if sizes else ''}"

    def lines(self) -> list[str]:
        """One line per failed check: gate, how many rows and what of which, what was expected, what to do, the name."""
        return [
            f"{'warning: ' if outcome.severity == 'warning' else ''}gate {self.gate}: {outcome.problem}; expected:"
            f" {outcome.says}; what to do: {outcome.remedy} (check {outcome.name})"
            for outcome in self.failures
        ]

    def metrics(self) -> dict[str, int]:
        """Number of checks, and of failed ones by severity."""
        severities = [outcome.severity for outcome in self.failures]
        return {
            "checks": len(self.checks),
            "critical": severities.count("critical"),
            "warnings": severities.count("warning"),
        }

    def as_dict(self) -> dict[str, Any]:
        """Content of the report."""
        return {
            "gate": self.gate,
            "passed": self.passed,
            "status": self.status,
            "digests": dict(self.digests),
            "measured": dict(self.measured),
            "checks": [
                {key: value for key, value in asdict(outcome).items() if value not in (None, ())}
                for outcome in self.checks
            ],
        }

    def raise_if_failed(self, report: str) -> None:
        """Stop the line.

        Raises:
            InputError: a critical check failed; names the report.
        """
        if not self.passed:
            critical = [outcome for outcome in self.failures if outcome.severity == "critical"]
            raise InputError(
                f"gate {self.gate} failed: {len(critical)} of {len(self.checks)} checks"
                f" ({', '.join(outcome.name for outcome in critical)}); see {report}; {critical[0].remedy}"
            )
