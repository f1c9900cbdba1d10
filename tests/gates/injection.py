"""Injecting a fault into a copy of the clean project, and asking the gates in their order."""

import shutil
from collections.abc import Iterable
from pathlib import Path

from tests.gates.harm import Fault
from tests.gates.project import inside
from wsss_mm.files import digest
from wsss_mm.gates import GATES, GateResult, run_gate
from wsss_mm.gates.checks import Thresholds, gate_tables
from wsss_mm.gates.runner import READABLE
from wsss_mm.settings import Params

BEGIN, END = "<!-- faults: made by scripts/gates_table.py -->", "<!-- end of faults -->"

READS = {
    "cohort": ("data/cohort/",),
    "patches": ("data/patches/", "data/cohort/", "data/quarantine.csv", "labels/"),
    "classifier": (
        "reports/metrics/classifier.json",
        "reports/plots/classifier_scores.csv",
        "models/classifier/",
        "data/patches/",
        "reports/gates/patches.json",
    ),
    "pseudo_labels": (
        "data/pseudo_labels/",
        "reports/choices/",
        "data/patches/",
        "models/classifier/",
        "reports/metrics/pseudo_labels.json",
        "reports/plots/pseudo_label_counts.csv",
    ),
    "segmenter": ("data/patches/", "models/", "reports/metrics/", "reports/plots/", "reports/gates/", "champion.json"),
    "slides": ("results/slides/", "data/cohort/", "models/segmenter/"),
}
"""What each gate looks at. A gate that reads nothing of what changed passes, as it does on the clean project."""


def first_failure(fault: Fault, clean: Path, work: Path, params: Params) -> GateResult | None:
    """Inject a fault into a copy of `clean` at `work`; the result of the first gate that finds something."""
    shutil.copytree(clean, work)
    before = _contents(work)
    fault.inject(work)
    after = _contents(work)
    changed = {name for name in before.keys() | after.keys() if before.get(name) != after.get(name)}
    assert changed, f"{fault.says}: nothing changed"
    with inside(work):
        for gate in GATES:
            if any(name.startswith(READS[gate]) for name in changed):
                result = run_gate(gate, params, Path())
                if result.failures:
                    return result
    return None


def with_table(page: str, faults: Iterable[Fault], params: Params) -> str:
    """The page with its table of faults made anew, between the two marks."""
    head, _, rest = page.partition(BEGIN)
    _, _, tail = rest.partition(END)
    rows = ["| fault | gate | check | severity | what was expected |", "|---|---|---|---|---|"]
    for fault in faults:
        checks = {check.name: check for table in gate_tables(fault.gate).values() for check in table.checks}
        says = Thresholds(fault.gate, params).fill(checks.get(fault.check, READABLE).says)
        severity = "warning" if fault.check in getattr(params.gates, fault.gate).warnings else "critical"
        rows.append(f"| {' | '.join((fault.says, fault.gate, f'`{fault.check}`', severity, _cell(says)))} |")
    return "\n".join([head + BEGIN, "", *rows, "", END + tail])


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("<", "&lt;").replace("*", "\\*")


def _contents(root: Path) -> dict[str, str]:
    """Digest of each file; folders end in a slash."""
    found = {}
    for path in root.rglob("*"):
        name = path.relative_to(root).as_posix()
        found[name if path.is_file() else f"{name}/"] = digest(path) if path.is_file() else ""
    return found
