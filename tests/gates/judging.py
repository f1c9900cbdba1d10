"""Judging each column once: nearly all that a gate measures of a harmed project is as it is in the clean one."""

from collections.abc import Sequence
from typing import Any

from wsss_mm.gates.checks import Check, Measured
from wsss_mm.gates.runner import _Validator

_known: dict[str, Any] = {}


class Remembering(_Validator):
    """The gates' adaptor of Great Expectations, which asks that only what it has not been asked before."""

    def _results(self, measured: Measured, checks: Sequence[Check], detail: str) -> dict[str, Any]:
        asked = {check.name: self._words(measured, check, detail) for check in checks}
        new = [check for check in checks if asked[check.name] not in _known]
        _known.update({asked[name]: said for name, said in super()._results(measured, new, detail).items()})
        return {check.name: _known[asked[check.name]] for check in checks}

    def _words(self, measured: Measured, check: Check, detail: str) -> str:
        """All that an answer depends on: the check with its limits, and the columns it looks at with their types."""
        limits = [self._thresholds.limit(limit) for limit in (check.low, check.high, check.but)]
        columns = [column for column in (measured.table.index, check.column, check.same_as) if column]
        rows = [(column, *_content(measured.frame, column)) for column in dict.fromkeys(columns)]
        return repr((detail, measured.table.name, check, limits, list(measured.frame.index), rows))


def _content(frame: Any, column: str) -> tuple[Any, ...]:
    return (frame[column].dtype, frame[column].tolist()) if column in frame else (None,)
