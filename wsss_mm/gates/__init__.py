"""Gates: after a stage, Great Expectations judges tables measured from what it made; a failed gate stops the line.

checks.yaml says what is expected, a row a check. One module per gate has `measure(params, root)`, which measures lazily
and yields the tables with their rows. `reports/gates/<gate>.json` is deterministic and an out of the pipeline;
the page `index.html` beside it is for people.
"""

import importlib
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from wsss_mm import places
from wsss_mm.formats import read_object
from wsss_mm.gates.checks import Check, GateResult, Outcome, Table
from wsss_mm.places import GATE_REPORT
from wsss_mm.settings import GateSettings, Params, check_names

__all__ = [
    "GATES",
    "Check",
    "GateResult",
    "Outcome",
    "Table",
    "check_names",
    "gate_tags",
    "metrics_path",
    "report_path",
    "run_gate",
]

GATES = tuple(GateSettings.model_fields)
"""Those that have a section in gates.yaml, in the order of the line."""

_REPORTS = places.GATES


def report_path(name: str) -> Path:
    """Where the report of a gate belongs, relative to the project's root."""
    return _REPORTS / f"{name}.json"


def metrics_path(name: str) -> Path:
    """Where the counts of a gate belong, relative to the project's root."""
    return places.GATE_METRICS / f"{name}.json"


def gate_tags(root: Path, names: Iterable[str] = GATES) -> dict[str, str]:
    """MLflow tags of the gates that have a report: `gate.<name>` is passed or failed."""
    reports = {name: root / report_path(name) for name in names}
    return {
        f"gate.{name}": "passed" if read_object(path, GATE_REPORT)["passed"] else "failed"
        for name, path in reports.items()
        if path.is_file()
    }


def run_gate(name: str, params: Params, root: Path) -> GateResult:
    """Measure a stage's outs and check them.

    Args:
        name: One of `GATES`.
        params: All of params.yaml and gates.yaml.
        root: The project's root.

    Returns:
        The outcome of each check. Files that are missing or cannot be read are a failed check, not an error.
    """
    from wsss_mm.gates.checks import Thresholds
    from wsss_mm.gates.runner import validate

    measured = _module(name).measure(params, root)
    return validate(name, measured, Thresholds(name, params), getattr(params.gates, name).warnings)


def _module(name: str) -> Any:
    if name not in GATES:
        raise ValueError(f"no gate {name!r}: choose from {', '.join(GATES)}")
    return importlib.import_module(f"wsss_mm.gates.{name}")
