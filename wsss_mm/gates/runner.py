"""Runs a gate's tables through Great Expectations and turns its results into outcomes."""

import logging
import os
import warnings
from collections.abc import Collection, Iterable
from typing import Any

from wsss_mm.errors import InputError
from wsss_mm.gates.checks import EXAMPLES, LISTED, Check, GateResult, Measured, Outcome, Severity, Thresholds


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
        The outcome of every check that was reached.
    """
    outcomes: list[Outcome] = []
    summaries: dict[str, dict[str, Any]] = {}
    digests: dict[str, str] = {}
    validator: _Validator | None = None
    try:
        for measured in tables:
            validator = validator or _Validator(thresholds, tolerated)
            summaries[measured.table.name] = measured.summary()
            digests |= measured.digests
            results = validator.run(measured)
            outcomes.extend(results)
            if measured.table.required and not all(outcome.passed for outcome in results):
                break
    except InputError as error:
        outcomes.append(_unreadable(error))
    return GateResult(gate, tuple(outcomes), summaries, digests)


class _Validator:
    """An ephemeral Great Expectations context with one pandas data source."""

    def __init__(self, thresholds: Thresholds, tolerated: Collection[str]) -> None:
        self._thresholds, self._tolerated = thresholds, tolerated
        os.environ["GX_ANALYTICS_ENABLED"] = "false"
        _quiet_log()
        import great_expectations as gx

        context = gx.get_context(mode="ephemeral")
        context.variables.progress_bars = {"globally": False}  # ty: ignore[invalid-assignment]  takes a dict as well
        self._source = context.data_sources.add_pandas("measurements")

    def run(self, measured: Measured) -> list[Outcome]:
        """Validate one table; outcomes are in the order of its checks."""
        import great_expectations as gx

        table = measured.table
        if not table.checks:
            return []
        batch = self._source.add_dataframe_asset(table.name).add_batch_definition_whole_dataframe("whole")
        suite = gx.ExpectationSuite(
            name=table.name, expectations=[_expectation(check, self._thresholds) for check in table.checks]
        )
        with warnings.catch_warnings():  # the checks tell of empty columns; NumPy's warnings add nothing
            warnings.simplefilter("ignore")
            validation = batch.get_batch({"dataframe": measured.frame}).validate(
                suite,
                result_format={
                    "result_format": "COMPLETE",
                    "partial_unexpected_count": EXAMPLES,
                    "unexpected_index_column_names": [table.index],
                },
            )
        results: dict[str, Any] = {}
        for result in validation.results:
            found: Any = result.expectation_config
            results[found.meta["check"]] = result
        return [self._outcome(check, measured, results[check.name]) for check in table.checks]

    def _outcome(self, check: Check, measured: Measured, validation: Any) -> Outcome:
        """One check's outcome out of Great Expectations' result."""
        severity: Severity = "warning" if check.name in self._tolerated else "critical"
        index = measured.table.index
        result = validation.result or {}
        unexpected = int(result.get("unexpected_count") or 0)
        found = result.get("unexpected_index_list") or []
        examples = _examples(found[:EXAMPLES], index, named=check.column not in measured.like)
        observed = result.get("observed_value")
        if not result and not validation.success:
            observed = _reason(validation.exception_info)
        missing = 0 if check.optional else int(result.get("missing_count") or 0)
        offending = [str(row[index]) for row in found]
        if missing:
            offending += _without_value(check, measured)
            examples = (*examples, f"{missing} without a value")
        passed = bool(validation.success) and not missing
        return Outcome(
            name=check.name,
            table=measured.table.name,
            expectation=validation.expectation_config.type,
            says=self._thresholds.fill(check.says),
            passed=passed,
            rows=len(measured.frame),
            severity=severity,
            index=index,
            unexpected=unexpected + missing,
            offending=tuple(offending[:LISTED]),
            examples=examples,
            observed=_plain(observed),
            remedy=None if passed else self._thresholds.fill(check.do),
            typical=_typical(measured.like.get(check.column or ""), measured.frame[index].astype(str), offending),
        )


def _expectation(check: Check, thresholds: Thresholds) -> Any:
    """What Great Expectations calls it."""
    import great_expectations.expectations as gxe

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
    return getattr(gxe, kind)(**about)


def _examples(rows: list[dict[str, Any]], index: str, *, named: bool = True) -> tuple[str, ...]:
    """Offending rows, as "p12 (size 112)"; values that say themselves what they are of are not named."""
    told = []
    for row in rows:
        measured = {column: _text(value) for column, value in row.items() if column != index}
        values = [f"{column} {value}" for column, value in measured.items()] if named else measured.values()
        told.append(str(row[index]) + (f" ({', '.join(values)})" if values else ""))
    return tuple(told)


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


def _text(value: Any) -> str:
    value = _plain(value)
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _plain(value: Any) -> Any:
    return value.item() if hasattr(value, "item") else value


def _reason(exception_info: dict[str, Any]) -> str:
    """Why an expectation could not be evaluated."""
    infos = [info for info in exception_info.values() if isinstance(info, dict)] or [exception_info]
    return next((str(info["exception_message"]) for info in infos if info.get("exception_message")), "no result")


def _unreadable(error: InputError) -> Outcome:
    says, remedy = "the gate's files can be read", "mend or remake that file, then dvc repro"
    return Outcome("readable", "files", "none", says, passed=False, rows=0, observed=str(error), remedy=remedy)


def _quiet_log() -> None:
    """Pass on warnings only: importing Great Expectations logs hundreds of lines, at levels of its own."""
    log = logging.getLogger("great_expectations")
    if log.propagate:
        handler = logging.StreamHandler()
        handler.setLevel(logging.WARNING)
        log.addHandler(handler)
        log.propagate = False
