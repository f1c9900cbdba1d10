"""What speaks for a model: the line's reports, kept with the run that made it, and read back to judge or show it.

The artifact folder `EVIDENCE` of the run holds the reports, dvc.lock, params.yaml, lineage.json, and digests.json of
all but the last.
"""

import csv
import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from wsss_mm import places
from wsss_mm.dvc_files import LOCK, locked_entries, locked_outs
from wsss_mm.errors import InputError
from wsss_mm.files import digest
from wsss_mm.formats import read_object, without_number, write_object
from wsss_mm.gates import GATES, report_path
from wsss_mm.outage import is_outage
from wsss_mm.places import EVIDENCE, FIGURES, GATE_REPORT, KEPT_DIGESTS, KEPT_LINEAGE, PRETRAINED
from wsss_mm.places import EVIDENCE_DIGESTS as _DIGESTS
from wsss_mm.places import LINEAGE as _LINEAGE
from wsss_mm.settings import GATES_FILE, PARAMS_FILE
from wsss_mm.tracking.store import connect

METRICS, CONFUSION = places.TEST_METRICS.as_posix(), places.TEST_CONFUSION.as_posix()
PROBE = places.LINEAR_PROBE.as_posix()
_KEPT = (
    *(LOCK, PARAMS_FILE, GATES_FILE),
    *(f"{places.METRICS}/*.json", f"{places.PLOTS}/*.csv", f"{places.PICTURES}/*.png"),
    places.CHOICE_FILE.as_posix(),
)
_ENDS = 2  # of an interval

EVIDENCE_TAG, COMMIT_TAG = "evidence_sha256", "git.commit"
"""Tags of a version: the sha256 of digests.json, which names that of every report kept, and the commit."""


@dataclass(frozen=True)
class Evidence:
    """Reports of a line.

    Attributes:
        folder: A copy of the reports, as in the project; empty where none were kept.
        test: reports/metrics/test.json.
        gates: Outcome by gate, "passed" or "failed"; gates without a report are missing.
        lineage: `commit`, and under `runs` the MLflow run id of each training stage this store has.
        digests: DVC's md5 of every out of the line, by path.
        pretrained: DVC's md5 of the files in pretrained/ that trainings began with, by path.
        probe: reports/metrics/linear_probe.json, the first baseline; empty of older evaluations.
    """

    folder: Path
    test: Mapping[str, Any] = field(default_factory=dict)
    gates: Mapping[str, str] = field(default_factory=dict)
    lineage: Mapping[str, Any] = field(default_factory=dict)
    digests: Mapping[str, str] = field(default_factory=dict)
    pretrained: Mapping[str, str] = field(default_factory=dict)
    probe: Mapping[str, Any] = field(default_factory=dict)

    @property
    def miou(self) -> float | None:
        """Ungated test mIoU, what models are compared by."""
        return self.test.get("ungated", {}).get("miou")

    @property
    def tested_on(self) -> str | None:
        """Digest of the data the test metrics come from: of the test split's files, in older reports of all patches."""
        return self.test.get("test_split") or self.digests.get(places.PATCHES.as_posix())

    def interval(self, metric: str = "miou") -> tuple[float, float] | None:
        """Bootstrap interval of an ungated test metric, (low, high), None where none was made."""
        found = self.test.get("bootstrap", {}).get("ungated", {}).get(metric)
        return (float(found[0]), float(found[1])) if found and None not in found else None


def read_evidence(root: Path) -> Evidence:
    """Read the reports in a project, or in a copy of them.

    Raises:
        InputError: a report is not valid.
    """
    reports = {name: root / report_path(name) for name in GATES}
    try:
        gates = {
            name: "passed" if read_object(path, GATE_REPORT)["passed"] is True else "failed"
            for name, path in reports.items()
            if path.is_file()
        }
        test = without_number(read_object(root / METRICS, FIGURES)) if (root / METRICS).is_file() else {}
        probe = without_number(read_object(root / PROBE, FIGURES)) if (root / PROBE).is_file() else {}
        kept = (root / _LINEAGE).is_file()
        lineage = without_number(read_object(root / _LINEAGE, KEPT_LINEAGE)) if kept else {}
        digests, pretrained = _locked(root / LOCK)
        _check_numbers(test)
        for key, value in probe.items():
            if key != "on" and (isinstance(value, bool) or not isinstance(value, int | float | None)):
                raise ValueError(f"{PROBE}: {key} is {value!r}, no number")
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise InputError(f"{root}: a report cannot be read ({error}); make it again: dvc repro") from None
    return Evidence(root, test, gates, lineage, digests, pretrained, probe)


def _locked(path: Path) -> tuple[dict[str, str], dict[str, str]]:
    """md5 of outs and of the files in pretrained/, by the dvc.lock of a project or of a run."""
    lock = path.read_bytes() if path.is_file() else b""
    try:
        return locked_outs(lock), locked_weights(lock)
    except InputError as error:
        raise ValueError(f"{error}") from None


def _check_numbers(test: Mapping[str, Any]) -> None:
    """Raise `ValueError` if there is something else in reports/metrics/test.json where figures and intervals are."""
    bootstrap = test.get("bootstrap", {})
    for kind in ("ungated", "gated"):
        intervals = {f"bootstrap.{kind}.{key}": value for key, value in (bootstrap.get(kind) or {}).items()}
        for key, value in intervals.items():
            if value is not None and not (isinstance(value, list) and len(value) == _ENDS):
                raise ValueError(f"{METRICS}: {key} is {value!r}, no interval")
        figures = {f"{kind}.{key}": [value] for key, value in test.get(kind, {}).items()}
        for key, values in (figures | intervals).items():
            for value in values or ():
                if isinstance(value, bool) or not isinstance(value, int | float | None):
                    raise ValueError(f"{METRICS}: {key} is {value!r}, no number")


def read_confusion(evidence: Evidence) -> dict[str, dict[str, float]]:
    """Share of the pixels of each true class, by predicted class; empty where there is no table.

    Raises:
        InputError: it is none.
    """
    path = evidence.folder / CONFUSION
    table: dict[str, dict[str, float]] = {}
    if path.is_file():
        try:
            with path.open(encoding="utf-8", newline="") as stream:
                for row in csv.DictReader(stream):
                    table.setdefault(row["actual"], {})[row["predicted"]] = float(row["share"])
        except (ValueError, KeyError, TypeError, csv.Error) as error:
            raise InputError(f"{path}: no table of shares ({error}); make it again: dvc repro evaluate") from None
    return table


def locked_weights(lock: bytes | str) -> dict[str, str]:
    """md5 of the files in pretrained/ that trainings began with, in the text of a dvc.lock."""
    deps = locked_entries(lock, "deps").items()
    found = {path: dep["md5"] for path, dep in deps if Path(path).parent == PRETRAINED}
    found.pop((PRETRAINED / "None").as_posix(), None)  # of trainings that begin without
    return found


def keep_evidence(root: Path, run_id: str, lineage: Mapping[str, Any]) -> None:
    """Keep the line's reports with a run, and their digest with the versions made of it.

    Args:
        root: The project.
        run_id: The MLflow run that made the model.
        lineage: See `Evidence.lineage`.
    """
    client = connect().MlflowClient()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        found = [path for pattern in _KEPT for path in sorted(root.glob(pattern))]
        found += [root / report_path(gate) for gate in GATES if (root / report_path(gate)).is_file()]
        for path in found:
            target = folder / path.relative_to(root)
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, target)
        digests = {path.relative_to(root).as_posix(): digest(path) for path in found}
        write_object(folder / _DIGESTS, KEPT_DIGESTS, digests)
        kept = digest(folder / _DIGESTS)
        write_object(folder / _LINEAGE, KEPT_LINEAGE, lineage)
        client.log_artifacts(run_id, str(folder), EVIDENCE)
    for version in client.search_model_versions(f"run_id = '{run_id}'"):
        client.set_model_version_tag(version.name, version.version, EVIDENCE_TAG, kept)
        client.set_model_version_tag(version.name, version.version, COMMIT_TAG, str(lineage.get("commit", "unknown")))


def run_evidence(run_id: str, target: Path) -> Evidence:
    """Fetch what `keep_evidence` kept, and compare it with the digest that the versions made of the run keep.

    Versions of older days keep none, and their evidence is not compared.

    Args:
        run_id: The MLflow run.
        target: Folder to download into.

    Raises:
        InputError: a report is not valid, or not as it was kept.
    """
    mlflow = connect()
    versions = mlflow.MlflowClient().search_model_versions(f"run_id = '{run_id}'")
    kept = {version.tags[EVIDENCE_TAG] for version in versions if EVIDENCE_TAG in version.tags}
    try:
        folder = mlflow.artifacts.download_artifacts(run_id=run_id, artifact_path=EVIDENCE, dst_path=str(target))
    except (mlflow.exceptions.MlflowException, OSError) as error:
        if is_outage(error):
            raise
        if kept:
            raise InputError(f"run {run_id}: its {EVIDENCE} is gone; restore it or: dvc repro -s -f register") from None
        return Evidence(target)  # an older run, or one that no line stands behind
    for sha256 in kept:
        _check_kept(Path(folder), run_id, sha256)
    return read_evidence(Path(folder))


def _check_kept(folder: Path, run_id: str, kept: str) -> None:
    """Refuse reports that were changed in the store; others that lie beside them are removed from the copy."""
    listing = folder / _DIGESTS
    sound = listing.is_file() and digest(listing) == kept
    names = without_number(read_object(listing, KEPT_DIGESTS)) if sound else {_DIGESTS: kept}
    files = {path.relative_to(folder).as_posix(): path for path in folder.rglob("*") if path.is_file()}
    changed = [name for name, sha256 in names.items() if name not in files or digest(files[name]) != sha256]
    if changed:
        raise InputError(
            f"run {run_id}: {EVIDENCE}/{changed[0]} was changed after it was registered; restore a backup of the run's "
            "artifacts, or register again: dvc repro -s -f register"
        )
    for name in files.keys() - names.keys() - {_DIGESTS, _LINEAGE}:
        files[name].unlink()
