"""Injecting a fault into a copy of the clean project, and asking the gates in their order."""

import os
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


class WorkingCopy:
    """A copy of a project to break again and again: of what changed in it the digest tells, of what did not its times.

    A file that was copied is as old as the one it is of, and any that was written to since is not.
    """

    def __init__(self, clean: Path, root: Path) -> None:
        self.clean, self.root = clean, root
        shutil.copytree(clean, root)
        self._stamps = _stamps(root)

    def changed(self) -> set[str]:
        """Files that are new, gone, or have another content, and folders, ending in a slash, that are new or gone."""
        now = _stamps(self.root)
        touched = {name for name in now.keys() | self._stamps.keys() if now.get(name) != self._stamps.get(name)}
        return {name for name in touched if name not in now or not self._is_clean(name)}

    def restore(self) -> None:
        """Make it what it is a copy of."""
        now = _stamps(self.root)
        for name in sorted(now.keys() - self._stamps.keys(), reverse=True):
            path = self.root / name
            path.rmdir() if name.endswith("/") else path.unlink()
        for name in sorted(name for name in self._stamps if now.get(name) != self._stamps[name]):
            if name.endswith("/"):
                (self.root / name).mkdir(exist_ok=True)
            else:
                shutil.copy2(self.clean / name, self.root / name)
        self._stamps = _stamps(self.root)

    def _is_clean(self, name: str) -> bool:
        one, other = self.root / name, self.clean / name
        if name.endswith("/"):
            return other.is_dir()
        return other.is_file() and digest(one) == digest(other)


def first_failure(fault: Fault, work: WorkingCopy, params: Params) -> GateResult | None:
    """Inject a fault into a copy of the clean project; the result of the first gate that finds something."""
    fault.inject(work.root)
    changed = work.changed()
    assert changed, f"{fault.says}: nothing changed"
    with inside(work.root):
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


def _stamps(root: Path) -> dict[str, tuple[int, ...]]:
    """What tells of each file whether somebody wrote to it; folders end in a slash."""
    found: dict[str, tuple[int, ...]] = {}
    for folder, folders, files in os.walk(root):
        inside_it = os.path.relpath(folder, root)
        prefix = "" if inside_it == "." else f"{inside_it}/"
        found |= {f"{prefix}{name}/": () for name in folders}
        for name in files:
            about = Path(folder, name).lstat()
            found[f"{prefix}{name}"] = (about.st_ino, about.st_size, about.st_mtime_ns, about.st_ctime_ns)
    return found
