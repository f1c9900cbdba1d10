"""What a gate is made of, as plain data: tables that were measured, checks on them, and how each came out.

Nothing here imports Great Expectations, so a gate that cannot read its artefact says so at once.
"""

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from wsss_mm.errors import InputError

if TYPE_CHECKING:
    import pandas as pd
    from great_expectations.expectations import Expectation

EXAMPLES = 5
"""How many offending rows a report names."""

LISTED = 1000
"""How many offending rows a report lists by name, for the page and for `wsss-mm quarantine`."""

Severity = Literal["critical", "warning"]
Status = Literal["passed", "warned", "failed"]

_SHORT = 20
"""Tables of up to so many rows are in the report as they are."""


@dataclass(frozen=True)
class Check:
    """One expectation and what to tell people about it.

    Attributes:
        name: Short and stable, unique within the gate: `one_patient_one_split`.
        says: The expectation in words, true when it passes: "a patient is in one split".
        expectation: The Great Expectations object, on a column of the check's table.
        remedy: What to do when it fails, an imperative.
        optional: A row without a value passes. Great Expectations passes over missing values in silence;
            here they fail a check unless it says otherwise.
    """

    name: str
    says: str
    expectation: "Expectation"
    remedy: str
    optional: bool = False


@dataclass(frozen=True)
class Table:
    """Measurements, one row a thing, and the checks they must pass.

    Attributes:
        name: What a row is, in the plural: "patches".
        frame: The measurements.
        index: The column that names a row to people.
        checks: Called with `great_expectations.expectations`, returns the checks.
        required: Later tables are measured from what this one vouches for: if it fails, the gate ends here.
        digests: What the measurements were taken of, for later gates to compare.
    """

    name: str
    frame: "pd.DataFrame"
    index: str
    checks: Callable[[Any], list[Check]]
    required: bool = False
    digests: Mapping[str, str] = field(default_factory=dict)

    def summary(self) -> dict[str, Any]:
        """What the report says of it."""
        if len(self.frame) > _SHORT:
            return {"rows": len(self.frame)}
        return {"rows": len(self.frame), "values": self.frame.to_dict("records")}


def same_inputs(what: str, used: str, gated: str, check: Callable[[Any], Check]) -> Table:
    """A table of one row and one check: was what was used exactly what a gate let through?

    Args:
        what: Names the row.
        used: Digest of what was used.
        gated: Digest of what the gate judged.
        check: Makes the check of the expectation that both are the same.
    """
    import pandas as pd

    frame = pd.DataFrame([{"input": what, "used": used, "gated": gated}], dtype=object)
    return Table(
        "inputs",
        frame,
        "input",
        lambda gxe: [check(gxe.ExpectColumnPairValuesToBeEqual(column_A="used", column_B="gated"))],
    )


@dataclass(frozen=True)
class Outcome:
    """How a check came out.

    `unexpected` counts rows, `examples` names the first of them with their values, `offending` up to `LISTED` of them
    as the column `index` of the table names them. A check that tolerates a share of bad rows names them though it
    passes.
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

    @property
    def problem(self) -> str:
        """What is wrong, in a few words."""
        if self.unexpected:
            more = ", ..." if self.unexpected > len(self.examples) else ""
            return f"{self.unexpected} of {self.rows} {self.table} fail ({', '.join(self.examples)}{more})"
        return f"found {self.observed}"


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
        """The checks that failed, critical ones first."""
        failed = [outcome for outcome in self.checks if not outcome.passed]
        return tuple(sorted(failed, key=lambda outcome: outcome.severity))

    def __str__(self) -> str:
        sizes = ", ".join(f"{table['rows']} {name}" for name, table in self.measured.items())
        return f"gate {self.gate} {self.status}: {len(self.checks)} checks on {sizes}"

    def lines(self) -> list[str]:
        """One line per failed check: gate, expectation, how many rows and which, remedy."""
        return [
            f"{'warning: ' if outcome.severity == 'warning' else ''}gate {self.gate}: {outcome.name}"
            f" ({outcome.expectation}), expected that {outcome.says}: {outcome.problem}; {outcome.remedy}"
            for outcome in self.failures
        ]

    def metrics(self) -> dict[str, int]:
        """For `dvc metrics show` and MLflow: number of checks, and of failed ones by severity."""
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
