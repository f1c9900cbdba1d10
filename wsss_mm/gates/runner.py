"""Runs a gate's tables through Great Expectations and turns its results into outcomes."""

import logging
import os
import shutil
import warnings
from collections.abc import Collection, Iterable, Iterator
from contextlib import contextmanager
from html import escape, unescape
from pathlib import Path
from typing import TYPE_CHECKING, Any

from wsss_mm.errors import InputError
from wsss_mm.gates.checks import EXAMPLES, LISTED, Check, GateResult, Outcome, Severity, Table

if TYPE_CHECKING:
    import pandas as pd

_SITE = "data_docs"


def validate(
    gate: str, tables: Iterable[Table], data_docs: Path | None = None, tolerated: Collection[str] = ()
) -> GateResult:
    """Check tables in turn, until one fails that later ones rest on.

    Args:
        gate: The gate's name.
        tables: Measured lazily: an `InputError` raised while measuring becomes the gate's failed check `readable`.
        data_docs: Folder for Great Expectations' HTML, written anew; none is made if None.
        tolerated: Checks that do not stop the line.

    Returns:
        The outcome of every check that was reached.

    Raises:
        InputError: `tolerated` names a check that the gate does not have.
    """
    outcomes: list[Outcome] = []
    measured: dict[str, dict[str, Any]] = {}
    digests: dict[str, str] = {}
    validator: _Validator | None = None
    try:
        for table in tables:
            validator = validator or _Validator(data_docs, tolerated)
            measured[table.name] = table.summary()
            digests |= table.digests
            results = validator.run(gate, table)
            outcomes.extend(results)
            if table.required and not all(outcome.passed for outcome in results):
                break
        else:
            _check_names(gate, tolerated, outcomes)
    except InputError as error:
        outcomes.append(_unreadable(error))
    return GateResult(gate, tuple(outcomes), measured, digests)


class _Validator:
    """An ephemeral Great Expectations context with one pandas data source and, if asked for, a Data Docs site."""

    def __init__(self, data_docs: Path | None, tolerated: Collection[str]) -> None:
        self._tolerated = tolerated
        os.environ["GX_ANALYTICS_ENABLED"] = "false"
        _quiet_log()
        import great_expectations as gx

        self._context = gx.get_context(mode="ephemeral")
        self._context.variables.progress_bars = {"globally": False}
        self._source = self._context.data_sources.add_pandas("measurements")
        self._actions = []
        if data_docs is not None:
            self._actions = [self._add_site(data_docs)]

    def _add_site(self, folder: Path) -> Any:
        from great_expectations.checkpoint import UpdateDataDocsAction

        shutil.rmtree(folder, ignore_errors=True)  # it keeps every run it ever saw
        self._context.add_data_docs_site(
            site_name=_SITE,
            site_config={
                "class_name": "SiteBuilder",
                "site_index_builder": {"class_name": "DefaultSiteIndexBuilder"},
                "store_backend": {
                    "class_name": "TupleFilesystemStoreBackend",
                    "base_directory": str(folder.resolve()),
                },
            },
        )
        return UpdateDataDocsAction(name=_SITE, site_names=[_SITE])

    def run(self, gate: str, table: Table) -> list[Outcome]:
        """Validate one table; outcomes are in the order of its checks."""
        import great_expectations as gx
        import great_expectations.expectations as gxe
        from great_expectations.expectations.metadata_types import FailureSeverity

        name = f"{gate}-{table.name}"
        checks = table.checks(gxe)
        suite = self._context.suites.add(gx.ExpectationSuite(name=name))
        for check in checks:
            check.expectation.notes = f"{check.name}: {check.says}. If not: {check.remedy}."
            check.expectation.meta = {"check": check.name}
            check.expectation.severity = FailureSeverity(self._severity(check))
            suite.add_expectation(check.expectation)
        batch = self._source.add_dataframe_asset(table.name).add_batch_definition_whole_dataframe("whole")
        definition = self._context.validation_definitions.add(
            gx.ValidationDefinition(name=name, data=batch, suite=suite)
        )
        checkpoint = self._context.checkpoints.add(
            gx.Checkpoint(
                name=name,
                validation_definitions=[definition],
                actions=self._actions,
                result_format={
                    "result_format": "COMPLETE",
                    "partial_unexpected_count": EXAMPLES,
                    "unexpected_index_column_names": [table.index],
                },
            )
        )
        with _quiet_numpy():
            (validation,) = checkpoint.run(batch_parameters={"dataframe": _escaped(table.frame)}).run_results.values()
        results = {result.expectation_config.meta["check"]: result for result in validation.results}
        return [_outcome(check, table, results[check.name], self._severity(check)) for check in checks]

    def _severity(self, check: Check) -> Severity:
        return "warning" if check.name in self._tolerated else "critical"


def _outcome(check: Check, table: Table, validation: Any, severity: Severity) -> Outcome:
    """One check's outcome out of Great Expectations' result."""
    result = validation.result or {}
    unexpected = int(result.get("unexpected_count") or 0)
    found = result.get("unexpected_index_list") or []
    examples = _examples(found[:EXAMPLES], table.index)
    observed = result.get("observed_value")
    if not result and not validation.success:
        observed = _reason(validation.exception_info)
    missing = 0 if check.optional else int(result.get("missing_count") or 0)
    offending = [unescape(str(row[table.index])) for row in found]
    if missing:
        offending += _without_value(check, table)
        examples = (*examples, f"{missing} without a value")
    passed = bool(validation.success) and not missing
    return Outcome(
        name=check.name,
        table=table.name,
        expectation=validation.expectation_config.type,
        says=check.says,
        passed=passed,
        rows=len(table.frame),
        severity=severity,
        index=table.index,
        unexpected=unexpected + missing,
        offending=tuple(offending[:LISTED]),
        examples=examples,
        observed=_plain(observed),
        remedy=None if passed else check.remedy,
    )


def _escaped(frame: "pd.DataFrame") -> "pd.DataFrame":
    """The table with its texts as HTML: Data Docs show values as they are, and names come from the data."""
    texts = frame.select_dtypes(["object", "string"]).columns
    return frame.assign(
        **{name: frame[name].map(lambda value: escape(value) if isinstance(value, str) else value) for name in texts}
    )


def _examples(rows: list[dict[str, Any]], index: str) -> tuple[str, ...]:
    """Offending rows, as "p12 (size 112)"."""
    named = []
    for row in rows:
        values = [f"{column} {_text(value)}" for column, value in row.items() if column != index]
        named.append(unescape(str(row[index]) + (f" ({', '.join(values)})" if values else "")))
    return tuple(named)


def _without_value(check: Check, table: Table) -> list[str]:
    """Rows that lack what the check looks at."""
    expectation = check.expectation
    columns = [getattr(expectation, name, None) for name in ("column", "column_A", "column_B")]
    empty = table.frame[[column for column in columns if column]].isna().any(axis=1)
    return table.frame.loc[empty, table.index].astype(str).tolist()


def _check_names(gate: str, tolerated: Collection[str], outcomes: list[Outcome]) -> None:
    names = [outcome.name for outcome in outcomes]
    unknown = sorted(set(tolerated) - set(names))
    if unknown:
        raise InputError(f"params.yaml: gates.{gate}.warnings: no check {unknown[0]!r}; choose from {', '.join(names)}")


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
    return Outcome(
        name="readable",
        table="files",
        expectation="none",
        says="the gate's files can be read",
        passed=False,
        rows=0,
        observed=str(error),
        remedy="mend or remake that file, then dvc repro",
    )


def _quiet_log() -> None:
    """Pass on warnings only: importing Great Expectations logs hundreds of lines, at levels of its own."""
    log = logging.getLogger("great_expectations")
    if log.propagate:
        handler = logging.StreamHandler()
        handler.setLevel(logging.WARNING)
        log.addHandler(handler)
        log.propagate = False


@contextmanager
def _quiet_numpy() -> Iterator[None]:
    """Means of empty columns are reported by the checks; NumPy's warnings about them add nothing."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield
