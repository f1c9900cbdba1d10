"""Runs a gate's tables through Great Expectations and turns its results into outcomes."""

import logging
import warnings
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from functools import cached_property
from typing import Any

from wsss_mm.errors import InputError
from wsss_mm.gates.causes import Failing, before_consequences, never_reached
from wsss_mm.gates.checks import (
    EXAMPLES,
    LISTED,
    Check,
    GateResult,
    Measured,
    Outcome,
    Severity,
    Thresholds,
    gate_tables,
)
from wsss_mm.gates.library import great_expectations


def validate(
    gate: str, tables: Iterable[Measured], thresholds: Thresholds, tolerated: Collection[str] = ()
) -> GateResult:
    """Check tables in turn, until one fails that later ones rest on.

    Args:
        gate: The gate's name.
        tables: Measured lazily: an `InputError` raised while measuring becomes the gate's failed check `readable`.
        thresholds: What limits and texts of checks call by name.
        tolerated: Checks that do not stop the line.

    Returns:
        The outcome of every check. Those that follow from another one, or were not reached, are not judged.
    """
    judged: list[Failing] = []
    stop: str | None = None
    summaries: dict[str, dict[str, Any]] = {}
    digests: dict[str, str] = {}
    validator = _Validator(thresholds, tolerated)
    try:
        for measured in tables:
            summaries[measured.table.name] = measured.summary()
            digests |= measured.digests
            results = validator.run(measured)
            judged.extend(results)
            failed = [item.outcome.name for item in results if not item.outcome.passed]
            if measured.table.required and failed:
                stop = failed[0]
                break
    except InputError as error:
        unreadable = _unreadable(error)
        judged.append(Failing(READABLE, unreadable))
        stop = unreadable.name
    outcomes = list(before_consequences(judged))
    if stop is not None:
        outcomes += _rest(gate, summaries, stop, outcomes, thresholds)
    return GateResult(gate, tuple(outcomes), summaries, digests)


def _rest(
    gate: str, reached: Collection[str], stop: str, outcomes: list[Outcome], thresholds: Thresholds
) -> Iterator[Outcome]:
    """The checks of tables that were not reached."""
    tables = [table for name, table in gate_tables(gate).items() if name not in reached]
    says = {check.name: thresholds.fill(check.says) for table in tables for check in table.checks}
    why = next((item.because for item in outcomes if item.name == stop and item.because), stop)
    return never_reached(tables, why, says)


NOTHING = "nothing is known of it"
"""What is said of a row that has no value."""

READABLE = Check(
    "readable", None, "all files that the gate looks at can be read", "", "mend or make that file again, then dvc repro"
)


class _Validator:
    """An ephemeral Great Expectations context with one pandas data source."""

    def __init__(self, thresholds: Thresholds, tolerated: Collection[str]) -> None:
        self._thresholds, self._tolerated = thresholds, tolerated

    @cached_property
    def _batch(self) -> Any:
        """One for all tables, since to define another takes 0.1 s."""
        _quiet_log()
        context = great_expectations().get_context(mode="ephemeral")
        context.variables.progress_bars = {"globally": False}
        rows = context.data_sources.add_pandas("measurements").add_dataframe_asset("rows")
        return rows.add_batch_definition_whole_dataframe("whole")

    def run(self, measured: Measured) -> list[Failing]:
        """Validate one table; what comes out is in the order of its checks."""
        checks = measured.table.checks
        results = self._results(measured, checks, "BASIC")
        odd = [check for check in checks if (results[check.name].result or {}).get("unexpected_count")]
        results |= self._results(measured, odd, "COMPLETE")  # rows are named where there are any, for twice the time
        return [self._judged(check, measured, results[check.name]) for check in checks]

    def _results(self, measured: Measured, checks: Sequence[Check], detail: str) -> dict[str, Any]:
        """What Great Expectations says of a table, by the checks' names."""
        if not checks:
            return {}
        table, batch = measured.table, self._batch
        asked = {name for check in checks for name in (table.index, check.column, check.same_as)}
        columns = [name for name in measured.frame if name in asked]  # all that it is given it hashes, and filters
        suite = great_expectations().ExpectationSuite(
            name=table.name, expectations=[_expectation(check, self._thresholds) for check in checks]
        )
        with warnings.catch_warnings():  # the checks tell of empty columns; NumPy's warnings add nothing
            warnings.simplefilter("ignore")
            validation = batch.get_batch({"dataframe": measured.frame[columns]}).validate(
                suite,
                result_format={
                    "result_format": detail,
                    "partial_unexpected_count": EXAMPLES,
                    "unexpected_index_column_names": [table.index],
                },
            )
        results: dict[str, Any] = {}
        for result in validation.results:
            found: Any = result.expectation_config
            results[found.meta["check"]] = result
        return results

    def _judged(self, check: Check, measured: Measured, validation: Any) -> Failing:
        """One check's outcome out of Great Expectations' result, with the rows that fail."""
        severity: Severity = "warning" if check.name in self._tolerated else "critical"
        frame, index = measured.frame, measured.table.index
        result = validation.result or {}
        found = result.get("unexpected_index_list") or []
        rows = [str(row[index]) for row in found]
        said = [f"{name}: {_tell(check.found, row)}" for name, row in zip(rows, found, strict=True)]
        without = [] if check.optional or not result.get("missing_count") else _without_value(check, measured)
        without = [name for name in without if name not in set(rows)]
        said += [f"{name}: {NOTHING}" for name in without]
        rows += without
        observed = result.get("observed_value")
        if not result and not validation.success:
            observed = _reason(validation.exception_info)
        elif observed is not None or check.mean:
            observed = _tell(check.found, {check.column or "rows": observed})
        passed = bool(validation.success) and not without
        outcome = Outcome(
            name=check.name,
            table=measured.table.name,
            expectation=validation.expectation_config.type,
            says=self._thresholds.fill(check.says),
            passed=passed,
            rows=len(frame),
            severity=severity,
            index=index,
            unexpected=len(rows),
            offending=tuple(rows[:LISTED]),
            examples=tuple(said[:EXAMPLES]),
            observed=observed,
            remedy=None if passed else self._thresholds.fill(check.do),
            typical=_typical(measured.like.get(check.column or ""), frame[index].astype(str), rows),
        )
        allowed = self._thresholds.limit(check.but) or 0.0
        return Failing(check, outcome, rows, said, {} if passed else _links(check, measured, rows), allowed)


def _expectation(check: Check, thresholds: Thresholds) -> Any:
    """What Great Expectations calls it."""
    limits = {"min_value": thresholds.limit(check.low), "max_value": thresholds.limit(check.high)}
    mostly = {"mostly": 1 - (thresholds.limit(check.but) or 0.0)}
    about: dict[str, Any] = {"column": check.column, "meta": {"check": check.name}}
    if check.column is None:
        kind, about = "ExpectTableRowCountToBeBetween", limits | {"meta": about["meta"]}
    elif check.same_as:
        passed_over = "either_value_is_missing" if check.optional else "both_values_are_missing"
        pair = {"column_A": check.column, "column_B": check.same_as, "ignore_row_if": passed_over}
        kind, about = "ExpectColumnPairValuesToBeEqual", pair | {"meta": about["meta"]}
    elif check.unique:
        kind = "ExpectColumnValuesToBeUnique"
    elif check.mean:
        kind, about = "ExpectColumnMeanToBeBetween", about | limits
    elif check.among:
        kind, about = "ExpectColumnValuesToBeInSet", about | mostly | {"value_set": list(check.among)}
    elif check.low is not None or check.high is not None:
        kind, about = "ExpectColumnValuesToBeBetween", about | mostly | limits
    else:
        kind, about = "ExpectColumnValuesToNotBeNull", about | mostly
    return getattr(great_expectations().expectations, kind)(**about)


def _tell(template: str, values: Mapping[str, Any]) -> str:
    """What is said of a row, as checks.yaml has it; values of another kind than expected are shown as they are."""
    if "{" in template and all(value is None for value in values.values()):
        return NOTHING
    try:
        return template.format_map({name: _plain(value) for name, value in values.items()})
    except (ValueError, TypeError):
        return ", ".join(str(_plain(value)) for value in values.values())


def _links(check: Check, measured: Measured, rows: list[str]) -> dict[str, list[str]]:
    """Of each row that fails, by column that tells it, the row of another check that it rests on."""
    columns = {column for column in check.rests_on.values() if column is not None}
    first = measured.frame.drop_duplicates(measured.table.index)
    names = first[measured.table.index].astype(str)
    found = {column: dict(zip(names, first[column].astype(str), strict=True)) for column in columns}
    return {column: [of.get(row, "") for row in rows] for column, of in found.items()}


def _typical(like: Any, names: Any, offending: list[str]) -> tuple[str, ...]:
    """Rows that are as the offending ones ought to be, each once."""
    if like is None:
        return ()
    return tuple(dict.fromkeys(like[names.isin(offending) & like.notna()].astype(str)))[:EXAMPLES]


def _without_value(check: Check, measured: Measured) -> list[str]:
    """Rows that lack what the check looks at."""
    columns = [column for column in (check.column, check.same_as) if column]
    empty = measured.frame[columns].isna().any(axis=1)
    return measured.frame.loc[empty, measured.table.index].astype(str).tolist()


def _plain(value: Any) -> Any:
    return value.item() if hasattr(value, "item") else value


def _reason(exception_info: dict[str, Any]) -> str:
    """Why an expectation could not be evaluated."""
    infos = [info for info in exception_info.values() if isinstance(info, dict)] or [exception_info]
    return next((str(info["exception_message"]) for info in infos if info.get("exception_message")), "no result")


def _unreadable(error: InputError) -> Outcome:
    says, remedy = READABLE.says, READABLE.do
    return Outcome("readable", "files", "none", says, passed=False, rows=0, observed=str(error), remedy=remedy)


def _quiet_log() -> None:
    """Pass on warnings only: importing Great Expectations logs hundreds of lines, at levels of its own."""
    log = logging.getLogger("great_expectations")
    if log.propagate:
        handler = logging.StreamHandler()
        handler.setLevel(logging.WARNING)
        log.addHandler(handler)
        log.propagate = False
