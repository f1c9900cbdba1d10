"""Making a registered model again from its commit, in a scratch clone, and comparing every digest."""

import json
import logging
import os
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

import yaml

from wsss_mm.errors import InputError
from wsss_mm.files import read_json
from wsss_mm.gates import report_path
from wsss_mm.tracking.data_versions import cache_folder
from wsss_mm.tracking.evidence import locked_outs, run_evidence
from wsss_mm.tracking.registry import find_version, parse_uri
from wsss_mm.tracking.runs import DIFF, ENVIRONMENT
from wsss_mm.tracking.store import connect, sqlite_uri

logger = logging.getLogger(__name__)

_NOT_REPEATED = "register"  # it would make a version of the copy
_OF_ITS_DAY = "gate@segmenter"  # it compares with the champion there was then
_FILES_NAMED = 5
_STDERR = 2


@dataclass(frozen=True)
class Repeated:
    """An out made again: DVC's md5 then and now (None if it was not made), and files that differ in a folder.

    `of_its_day` marks what may differ, because it tells of the registry as it was then.
    """

    path: str
    then: str
    now: str | None
    files: tuple[str, ...] = ()
    of_its_day: bool = False

    @property
    def same(self) -> bool:
        """Whether every byte is."""
        return self.then == self.now


def reproduce(uri: str, project: Path, scratch: Path) -> list[Repeated]:
    """Make a model again and compare.

    The commit of its run is cloned, what was not committed is applied, params.yaml is the one it was made with, and
    every stage but `register` runs anew, with an MLflow store of its own. DVC's cache is shared with the project, so
    tracked inputs are not copied; no stage is taken from the run cache.

    Args:
        uri: Such as "models:/segmenter/3".
        project: The project, a git repository that has the commit.
        scratch: Empty folder for the clone.

    Returns:
        The outs of the line, in its order.

    Raises:
        InputError: the version keeps no evidence, the commit is not here, or the line fails.
    """
    version = find_version(*parse_uri(uri))
    with tempfile.TemporaryDirectory() as folder:
        evidence = run_evidence(version.run_id, Path(folder))
        commit = evidence.lineage.get("commit")
        if not evidence.digests or not commit:
            raise InputError(f"{uri}: nothing says what it was made of; register it again: dvc repro -f register")
        lock = (evidence.folder / "dvc.lock").read_text(encoding="utf-8")
        params = (evidence.folder / "params.yaml").read_text(encoding="utf-8")
        precision = _slides_precision(evidence.folder)
    _warn_of_other_versions(version.run_id)
    _clone(project, scratch, commit, _artifact(version.run_id, DIFF))
    (scratch / "params.yaml").write_text(params, encoding="utf-8")
    cache = cache_folder(project)
    _bring_inputs(project, scratch, cache, params)
    stages = [name for name in yaml.safe_load(lock)["stages"] if name != _NOT_REPEATED]
    _dvc(scratch, "repro", "--force", "--no-run-cache", *stages)
    _warn_of_other_precision(precision, _slides_precision(scratch))
    now = locked_outs((scratch / "dvc.lock").read_text(encoding="utf-8"))
    then = locked_outs(lock, without=_NOT_REPEATED)
    lasting = locked_outs(lock, without=_OF_ITS_DAY)
    return [
        Repeated(path, md5, now.get(path), _differing(md5, now.get(path), cache), path not in lasting)
        for path, md5 in then.items()
    ]


def _clone(project: Path, scratch: Path, commit: str, diff: str | None) -> None:
    known = _git(project, "cat-file", "-e", f"{commit}^{{commit}}")
    if known.returncode:
        raise InputError(f"commit {commit[:8]} is not in {project}; get it: git fetch --all")
    for where, command in (
        (project, ("clone", "--quiet", "--shared", "--no-checkout", ".", str(scratch))),
        (scratch, ("checkout", "--quiet", "--detach", commit)),
    ):
        done = _git(where, *command)
        if done.returncode:
            raise InputError(f"{where}: git {command[0]} failed: {done.stderr.strip()}")
    if diff and _git(scratch, "apply", "--whitespace=nowarn", text=diff).returncode:
        raise InputError(f"commit {commit[:8]}: the changes that were not committed do not apply to it")


def _bring_inputs(project: Path, scratch: Path, cache: Path, params: str) -> None:
    """Share DVC's cache, restore what .dvc files track, and link a source of the cohort that git does not have."""
    _dvc(scratch, "cache", "dir", "--local", str(cache.resolve()), quiet=True)
    tracked = _git(scratch, "ls-files", "*.dvc").stdout.splitlines()
    if tracked:
        try:
            _dvc(scratch, "checkout", *tracked)
        except InputError:
            _dvc(scratch, "pull", *tracked)
    source = Path((yaml.safe_load(params).get("cohort") or {}).get("source") or ".")
    if not source.is_absolute() and not (scratch / source).exists() and (project / source).exists():
        (scratch / source).parent.mkdir(parents=True, exist_ok=True)
        (scratch / source).symlink_to((project / source).resolve())


def _differing(then: str, now: str | None, cache: Path) -> tuple[str, ...]:
    """Files that differ between two folders, as far as the cache knows both."""
    if now is None or then == now or not (then.endswith(".dir") and now.endswith(".dir")):
        return ()
    listings = []
    for md5 in (then, now):
        path = cache / "files/md5" / md5[:2] / md5[2:]
        if not path.is_file():
            return ()
        listings.append({item["relpath"]: item["md5"] for item in json.loads(path.read_text(encoding="utf-8"))})
    old, new = listings
    names = sorted(name for name in {*old, *new} if old.get(name) != new.get(name))
    more = (f"and {len(names) - _FILES_NAMED} more",) if len(names) > _FILES_NAMED else ()
    return (*names[:_FILES_NAMED], *more)


def _warn_of_other_versions(run_id: str) -> None:
    text = _artifact(run_id, ENVIRONMENT)
    if text is None:
        return
    then = dict(line.split("==", 1) for line in text.splitlines() if "==" in line)
    now = {item.metadata["Name"]: item.version for item in metadata.distributions()}
    other = [f"{name} {was} then, {now.get(name, 'none')} now" for name, was in then.items() if now.get(name) != was]
    if other:
        logger.warning("installed versions differ (%s): bytes may, too", "; ".join(sorted(other)))


def _slides_precision(root: Path) -> str:
    """What gate `slides` says the slides were segmented in; empty without slides, or in an older report."""
    path = root / report_path("slides")
    models = read_json(path).get("measured", {}).get("models", {}) if path.is_file() else {}
    return ", ".join(row["precision"] for row in models.get("values", ()) if "precision" in row)


def _warn_of_other_precision(then: str, now: str) -> None:
    if then and now and then != now:
        logger.warning(
            "slides were segmented in %s then, in %s now (slides.precision: auto takes what the machine is fast at): "
            "their maps differ",
            then,
            now,
        )


def _artifact(run_id: str, name: str) -> str | None:
    mlflow = connect()
    if not any(item.path == name for item in mlflow.MlflowClient().list_artifacts(run_id)):
        return None
    return mlflow.artifacts.load_text(f"runs:/{run_id}/{name}")


def _dvc(scratch: Path, *arguments: str, quiet: bool = False) -> None:
    """Run DVC in the clone, its output on our stderr."""
    environment: dict[str, str] = {
        key: value
        for key, value in os.environ.items()
        if not key.startswith(("DVC_", "MLFLOW_")) and key != "PYTHONPATH"
    }
    environment["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{environment.get('PATH', '')}"
    environment["MLFLOW_TRACKING_URI"] = sqlite_uri(scratch.resolve() / "mlflow.db")
    done = subprocess.run(
        [sys.executable, "-m", "dvc", *arguments],
        cwd=scratch,
        env=environment,
        stdout=subprocess.DEVNULL if quiet else _STDERR,
        check=False,
    )
    if done.returncode:
        raise InputError(f"{scratch}: dvc {arguments[0]} failed (see above); keep the clone to look: --keep FOLDER")


def _git(where: Path, *arguments: str, text: str | None = None) -> subprocess.CompletedProcess[str]:
    return subprocess.run(["git", *arguments], cwd=where, input=text, capture_output=True, text=True, check=False)
