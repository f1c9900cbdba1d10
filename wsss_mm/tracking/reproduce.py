"""Making a registered model again from its commit, in a scratch clone, and comparing every digest."""

import json
import logging
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from wsss_mm import places
from wsss_mm.clusters import CLUSTER
from wsss_mm.dvc_files import LOCK, dvc_file, locked_outs, pipeline_stages, tracked_md5
from wsss_mm.errors import InputError, spelled_out
from wsss_mm.files import digest
from wsss_mm.formats import read_object
from wsss_mm.gates import report_path
from wsss_mm.places import GATE_REPORT, PRETRAINED
from wsss_mm.settings import GATES_FILE, PARAMS_FILE, load_params
from wsss_mm.tracking.changes import Changes, apply_changes, changes_of, read_artifact, run_of
from wsss_mm.tracking.data_versions import cache_folder
from wsss_mm.tracking.evidence import COMMIT_TAG, EVIDENCE, Evidence, run_evidence
from wsss_mm.tracking.registry import DIGEST_TAG, check_stored, find_version, parse_uri
from wsss_mm.tracking.store import sqlite_uri
from wsss_mm.tracking.surroundings import ENVIRONMENT, installed_versions
from wsss_mm.yaml_places import read

if TYPE_CHECKING:
    from mlflow.entities.model_registry import ModelVersion

logger = logging.getLogger(__name__)

_NOT_REPEATED = "register"  # it would make a version of the copy
_OF_ITS_DAY = "gate@segmenter"  # it compares with the champion there was then
_COMMIT = re.compile("[0-9a-f]{40,64}")
_STAGE = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_-]*(@[\w.,=-]+)?")
_FOLDER = re.compile(r"[0-9a-f]{32}\.dir")
_OF_SHELLS = re.compile(r"[`$;&|<>\n\r\0]")  # dvc.yaml may put parameters into commands
_MOST_VERSIONS = 1 << 20  # bytes
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


def reproduce(
    uri: str,
    project: Path,
    scratch: Path,
    *,
    apply_diff: bool = False,
    show: Callable[[str], object] = lambda _: None,
) -> list[Repeated]:
    """Make a model again and compare.

    The commit of its run is cloned, params.yaml and gates.yaml are those it was made with, and every stage but
    `register` runs anew, with an MLflow store of its own. DVC's cache is shared with the project, so tracked inputs are
    not copied; no stage is taken from the run cache.

    What runs is the commit's. What was not committed is code from the registry's store, where others may write: it is
    shown, and applied only if that is asked for. Stages are those of dvc.yaml; parameters are checked before they are
    written; the stored model, its evidence and its diff must be those that were registered.

    Args:
        uri: Such as "models:/segmenter/3".
        project: The project, a git repository that has the commit.
        scratch: Empty folder for the clone.
        apply_diff: Apply and run what was not committed.
        show: Prints what was not committed, before it is applied or refused.

    Returns:
        The outs of the line, in its order.

    Raises:
        InputError: the version keeps no evidence or was changed, the commit is not here, something was not committed
            and is not to be applied, or the line fails.
    """
    version = find_version(*parse_uri(uri))
    info = check_stored(version)
    with tempfile.TemporaryDirectory() as folder:
        evidence = run_evidence(run_of(version), Path(folder))
        commit = _commit(uri, evidence, version)
        changes = changes_of(version, project, sealed=DIGEST_TAG in version.tags)
        if changes is not None:
            _permit(uri, changes, apply_diff, show)
        lock = (evidence.folder / LOCK).read_bytes()
        _warn_of_other_versions(run_of(version))
        _clone(project, scratch, commit)
        params = _checked_params(evidence.folder, scratch, changed=changes is not None)
        if changes is not None:
            apply_changes(changes, scratch)
        stages = _stages(uri, lock, scratch)
        for name in (PARAMS_FILE, GATES_FILE):
            if (evidence.folder / name).is_file():  # commits of older days have one file
                (scratch / name).write_bytes((evidence.folder / name).read_bytes())
        precision = _slides_precision(evidence.folder)
    cache = cache_folder(project)
    _bring_inputs(project, scratch, cache, params)
    _bring_weights(project, scratch, cache, evidence.pretrained, info)
    _dvc(scratch, "repro", "--force", "--no-run-cache", *stages)
    _warn_of_other_precision(precision, _slides_precision(scratch))
    now = locked_outs((scratch / LOCK).read_bytes())
    then = locked_outs(lock, without=_NOT_REPEATED)
    lasting = locked_outs(lock, without=_OF_ITS_DAY)
    return [
        Repeated(path, md5, now.get(path), _differing(md5, now.get(path), cache), path not in lasting)
        for path, md5 in then.items()
    ]


def _commit(uri: str, evidence: Evidence, version: "ModelVersion") -> str:
    """The commit a version was made of."""
    commit = evidence.lineage.get("commit")
    if not evidence.digests or not commit:
        raise InputError(f"{uri}: nothing says what it was made of; register it again: dvc repro -s -f register")
    if not isinstance(commit, str) or not _COMMIT.fullmatch(commit):
        raise InputError(f"{uri}: {str(commit)[:40]!r} is no commit; train in a git repository, and register again")
    if version.tags.get(COMMIT_TAG, commit) != commit:
        raise InputError(
            f"{uri}: {EVIDENCE}/lineage.json of its run names commit {commit[:8]}, the version "
            f"{version.tags[COMMIT_TAG][:8]}: it was changed after it was registered; restore it from a backup"
        )
    return commit


def _permit(uri: str, changes: Changes, asked: bool, show: Callable[[str], object]) -> None:
    """Show what was not committed, and refuse it unless it was asked for."""
    count = len(changes.files)
    what = f"its run ({changes.whose}) had changes in {count} file{'s' * (count > 1)} that were not committed"
    show(f"{spelled_out(f'{uri}: {what}:')}\n{changes.shown()}\n")
    if not asked:
        raise InputError(
            f"{uri}: {what}, shown above: code from the registry's store; read it, and if it may run here: --apply-diff"
        )
    if not changes.kept:
        logger.warning("%s: an older version, so nothing shows that these are the changes it was made with", uri)


def _checked_params(folder: Path, clone: Path, *, changed: bool) -> dict[str, Any]:
    """Parameters of a run, before they are written into the clone.

    They are what the settings allow, or, of a commit with other settings than those of today, have the keys of its own
    files. Where its code is changed, too, only that code can tell.

    Raises:
        InputError: they are not, or hold text that a shell would act on.
    """
    what = f"{EVIDENCE}/{PARAMS_FILE} of the run"
    params, values = _read_parameters(folder)
    if not isinstance(params, dict):
        raise InputError(f"{what}: holds no sections; register the model again: dvc repro -s -f register")
    committed = _read_parameters(clone)[1]
    texts = [(place, value) for place, value in values if isinstance(value, str) and (place, value) not in committed]
    strange = {place for place, value in texts if _OF_SHELLS.search(value)}
    if not changed and _wrong(clone / PARAMS_FILE) is None:
        if wrong := _wrong(folder / PARAMS_FILE):
            raise InputError(f"{what}: {wrong}")
    elif not changed:
        strange |= {place for place, _ in values} - {place for place, _ in committed}
    if strange:
        raise InputError(f"{what}: {min(strange)[:80]}: no parameter of commit and settings; restore the artifacts")
    return params


def _wrong(path: Path) -> str | None:
    """What the settings of today say against a params.yaml, and the gates.yaml beside it."""
    try:
        load_params(path)
    except InputError as error:
        return str(error)
    return None


def _read_parameters(folder: Path) -> tuple[Any, list[tuple[str, Any]]]:
    """params.yaml, and every value of it and of gates.yaml, which was its section `gates` once, with its place."""
    params, values = _read_values(folder / PARAMS_FILE)
    if (folder / GATES_FILE).is_file():
        values += [(f"gates.{place}".rstrip("."), value) for place, value in _read_values(folder / GATES_FILE)[1]]
    return params, values


def _read_values(path: Path) -> tuple[Any, list[tuple[str, Any]]]:
    """A YAML file, and every value in it with its place, such as "cohort.source"."""

    def walk(value: Any, place: str) -> Iterator[tuple[str, Any]]:
        yield place, value
        if isinstance(value, dict):
            for key, part in value.items():
                yield from walk(part, f"{place}.{key}".lstrip("."))
        elif isinstance(value, list):
            for part in value:
                yield from walk(part, place)

    content = read(path, absent="register the model again: dvc repro -s -f register").content
    return content, list(walk(content, ""))


def _stages(uri: str, lock: bytes, clone: Path) -> list[str]:
    """Stages that ran, as far as dvc.yaml of the clone has them: a name is given to DVC, and DVC runs what it names.

    Raises:
        InputError: dvc.lock names others.
    """
    try:
        there = pipeline_stages((clone / places.PIPELINE).read_bytes(), places.PIPELINE)
        names = [name for name in pipeline_stages(lock, LOCK) if name != _NOT_REPEATED]
    except (OSError, InputError):
        raise InputError(f"{uri}: dvc.yaml of its commit, or its dvc.lock, has no stages; register it again") from None
    strange = [
        name
        for name in names
        if not isinstance(name, str) or not _STAGE.fullmatch(name) or name.partition("@")[0] not in there
    ]
    if strange or not names:
        raise InputError(
            f"{uri}: its dvc.lock names stage {str(strange[0] if strange else 'none')[:80]!r}, which dvc.yaml of its "
            "commit has not; restore the run's artifacts, or register it again"
        )
    return names


def _clone(project: Path, scratch: Path, commit: str) -> None:
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


def _bring_inputs(project: Path, scratch: Path, cache: Path, params: Mapping[str, Any]) -> None:
    """Share DVC's cache, restore what .dvc files track, and link a source of the cohort that git does not have."""
    _dvc(scratch, "cache", "dir", "--local", str(cache.resolve()), quiet=True)
    tracked = _git(scratch, "ls-files", "*.dvc", f":(exclude){PRETRAINED}").stdout.splitlines()
    if tracked:
        try:
            _dvc(scratch, "checkout", *tracked)
        except InputError:
            _dvc(scratch, "pull", *tracked)
    cohort = params.get("cohort") or {}
    source = Path(cohort.get("source") or ".")
    if cohort.get("name") == "slides" and (project / source).is_file():
        source = source.parent  # slides and drawings are named from there
    if not source.is_absolute() and not (scratch / source).exists() and (project / source).exists():
        place = Path(os.path.normpath(scratch.absolute() / source))
        if not place.is_relative_to(scratch.absolute().parent):
            raise InputError(
                f"{PARAMS_FILE}: cohort.source {source} leads far out of the project; give an absolute path"
            )
        place.parent.mkdir(parents=True, exist_ok=True)
        place.symlink_to((project / source).resolve())


def _bring_weights(
    project: Path, scratch: Path, cache: Path, weights: Mapping[str, str], info: Mapping[str, Any]
) -> None:
    """Link the files that trainings began with, from DVC's cache, the project or else DVC's remote.

    Args:
        project: The project.
        scratch: The clone.
        cache: DVC's cache.
        weights: Paths in pretrained/ to md5.
        info: model.json of the version, which says the sha256 of those that it or its classifier began with.

    Raises:
        InputError: one is nowhere, or is another.
    """
    sha256: dict[str, str] = {}
    while isinstance(info := info.get("initial_weights") or {}, Mapping) and info:
        sha256[str(info.get("file"))] = str(info.get("sha256"))
    for name, md5 in weights.items():
        if not re.fullmatch("[0-9a-f]{32}", md5):
            raise InputError(f"{name}: {md5[:40]!r} in its dvc.lock is no md5; restore the run's artifacts")
        target = scratch / name
        known = [cache / "files/md5" / md5[:2] / md5[2:], project / name]
        found = next((path for path in known if path.is_file() and digest(path, "md5") == md5), None)
        if found is not None:
            target.parent.mkdir(exist_ok=True)
            target.unlink(missing_ok=True)
            target.symlink_to(found.resolve())
        elif tracked_md5(target) == md5:
            _dvc(scratch, "pull", dvc_file(Path(name)).as_posix())
        else:
            raise InputError(
                f"{name}: a training began with this file, md5 {md5}, neither in DVC's cache nor in {project}, "
                f"and the commit has no {dvc_file(Path(name)).name}; put it there"
            )
        if sha256.get(name) not in (None, digest(target)):
            raise InputError(
                f"{name}: sha256 is not {sha256[name][:12]}, as model.json has it; get the file that was trained with"
            )


def _differing(then: str, now: str | None, cache: Path) -> tuple[str, ...]:
    """Files that differ between two folders, as far as the cache knows both."""
    if now is None or then == now:
        return ()
    listings = []
    for md5 in (then, now):
        if not _FOLDER.fullmatch(md5):
            return ()
        path = cache / "files/md5" / md5[:2] / md5[2:]
        if not path.is_file():
            return ()
        listings.append({item["relpath"]: item["md5"] for item in json.loads(path.read_text(encoding="utf-8"))})
    old, new = listings
    names = sorted(name for name in {*old, *new} if old.get(name) != new.get(name))
    more = (f"and {len(names) - _FILES_NAMED} more",) if len(names) > _FILES_NAMED else ()
    return (*names[:_FILES_NAMED], *more)


def _warn_of_other_versions(run_id: str) -> None:
    content = read_artifact(run_id, ENVIRONMENT, most=_MOST_VERSIONS)
    if content is None:
        return
    lines = content.decode("utf-8", errors="replace").splitlines()
    then = dict(line.split("==", 1) for line in lines if "==" in line)
    now = installed_versions()
    other = [f"{name} {was} then, {now.get(name, 'none')} now" for name, was in then.items() if now.get(name) != was]
    if other:
        logger.warning("installed versions differ (%s): bytes may, too", spelled_out("; ".join(sorted(other))))


def _slides_precision(root: Path) -> str:
    """What gate `slides` says the slides were segmented in; empty without slides, or in an older report."""
    path = root / report_path("slides")
    models = read_object(path, GATE_REPORT).get("measured", {}).get("models", {}) if path.is_file() else {}
    return ", ".join(row["precision"] for row in models.get("values", ()) if "precision" in row)


def _warn_of_other_precision(then: str, now: str) -> None:
    if then and now and then != now:
        logger.warning(
            "slides were segmented in %s then, in %s now (slides.precision: auto takes what the machine is fast at): "
            "their maps differ",
            then,
            now,
        )


def _dvc(scratch: Path, *arguments: str, quiet: bool = False) -> None:
    """Run DVC in the clone, its output on our stderr; on this machine alone, for a cluster does not see the clone."""
    environment: dict[str, str] = {
        key: value
        for key, value in os.environ.items()
        if key == "DVC_NO_ANALYTICS" or not key.startswith(("DVC_", "MLFLOW_", "PYTHONPATH", CLUSTER))
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


def _git(where: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(["git", *arguments], cwd=where, capture_output=True, text=True, check=False)
