"""What a run had that its commit has not, its `git.diff`: code, of anybody who can write to the run's artifacts."""

import hashlib
import re
import subprocess
import tempfile
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from wsss_mm.dvc_files import LOCK
from wsss_mm.errors import InputError, plain_lines
from wsss_mm.settings import GATES_FILE, PARAMS_FILE
from wsss_mm.tracking.store import connect
from wsss_mm.tracking.surroundings import DIFF

if TYPE_CHECKING:
    from mlflow.entities.model_registry import ModelVersion

CHANGES_TAG = "git_diff_sha256"
"""Tag of a version: the sha256 of its run's `git.diff` when it was registered, or "none"."""

_NONE = "none"
_MOST = 1 << 20  # bytes: more than a person reads
_WRITTEN = (PARAMS_FILE, GATES_FILE, LOCK)  # which are taken from the evidence, or made anew
_NEVER = frozenset((".git", ".gitmodules"))
_MODES = re.compile(
    r"^(?:old mode|new mode|new file mode|deleted file mode|index [0-9a-f]+\.\.[0-9a-f]+) (?:120000|160000)\b", re.M
)
_OLD_NAMES = re.compile(r"^(?:rename|copy) from (.*)$", re.M)
_TIME = "%Y-%m-%d %H:%M UTC"


@dataclass(frozen=True)
class Changes:
    """A diff against a commit.

    Attributes:
        diff: As git wrote it.
        files: What it changes, params.yaml and gates.yaml left out.
        whose: Of whose run it is, in words.
        kept: Whether the version keeps its digest, so that it is the one of then.
    """

    diff: bytes
    files: tuple[str, ...]
    whose: str
    kept: bool

    def shown(self) -> str:
        """The diff for a terminal: all of it, and nothing that a terminal would obey or hide."""
        return plain_lines(self.diff.decode("utf-8", errors="replace"))


def run_of(version: "ModelVersion") -> str:
    """Id of the run a version was registered of.

    Raises:
        InputError: somebody registered it without one.
    """
    if not version.run_id:
        raise InputError(
            f"{version.name} version {version.version}: was registered without a run, so that nothing tells how it was "
            "made; register it again: dvc repro -s -f register"
        )
    return version.run_id


def changes_digest(run_id: str) -> str:
    """sha256 of a run's diff, "none" if it has none."""
    diff = read_artifact(run_id, DIFF)
    return _NONE if diff is None else hashlib.sha256(diff).hexdigest()


def changes_of(version: "ModelVersion", project: Path, *, sealed: bool) -> Changes | None:
    """The changes a version was made with, None if there are none but of parameters.

    Args:
        version: Of a registered model.
        project: A git repository.
        sealed: Whether the version was made when digests were kept, so that it lacks none.

    Raises:
        InputError: they are not those of when it was registered, or change what no training would.
    """
    what, kept = f"{version.name} version {version.version}", version.tags.get(CHANGES_TAG)
    diff = read_artifact(run_of(version), DIFF, most=_MOST)
    found = _NONE if diff is None else hashlib.sha256(diff).hexdigest()
    if kept is None and sealed:
        raise InputError(f"{what}: keeps no digest of {DIFF}, as it should; register again: dvc repro -s -f register")
    if kept and found != kept:
        raise InputError(
            f"{what}: {DIFF} of its run was changed after it was registered, sha256 {found[:12]} instead of "
            f"{kept[:12]}; restore the run's artifacts from a backup"
        )
    if diff is None:
        return None
    files = _checked_files(what, diff, project)
    if not files:
        return None
    return Changes(diff, files, _whose(run_of(version)), kept is not None)


def apply_changes(changes: Changes, clone: Path) -> None:
    """Apply changes to a clone of their commit.

    Raises:
        InputError: they do not apply.
    """
    without = [f"--exclude={name}" for name in _WRITTEN]
    if _git(clone, changes.diff, "apply", "--whitespace=nowarn", *without, "-").returncode:
        raise InputError(f"{clone}: the changes that were not committed do not apply to the commit; train again")


def read_artifact(run_id: str, name: str, most: int | None = None) -> bytes | None:
    """A file at the top of a run's artifacts, None if it is not there.

    Raises:
        InputError: it is larger than `most` bytes.
    """
    mlflow = connect()
    item = next((item for item in mlflow.MlflowClient().list_artifacts(run_id) if item.path == name), None)
    if item is None:
        return None
    with tempfile.TemporaryDirectory() as folder:
        path = Path(mlflow.artifacts.download_artifacts(run_id=run_id, artifact_path=name, dst_path=folder))
        if most is not None and path.stat().st_size > most:
            raise InputError(f"run {run_id}: {name} is larger than {most} bytes; commit the changes, and train again")
        return path.read_bytes()


def _checked_files(what: str, diff: bytes, project: Path) -> tuple[str, ...]:
    """Files that a diff changes, as git reads it, without those that are not taken from it."""
    told = _git(project, diff, "apply", "--numstat", "-z", "-")
    if told.returncode:
        raise InputError(f"{what}: {DIFF} of its run is no diff that git reads; train again")
    text = diff.decode("utf-8", errors="replace")
    rows = [row.split("\t", 2) for row in told.stdout.decode("utf-8", errors="replace").split("\0") if row]
    files = [name for _, _, name in rows if name not in _WRITTEN]
    wrong = [name for added, _, name in rows if added == "-" or not _inside(name)]
    wrong += [name for name in _OLD_NAMES.findall(text) if not _inside(name.strip('"'))]
    wrong += ["a link or a submodule"] if _MODES.search(text) else []
    if wrong:
        raise InputError(
            f"{what}: {DIFF} of its run would change {', '.join(wrong[:3])[:160]}: only text files of the project can "
            "be changed so; commit the change, and train again"
        )
    return tuple(files)


def _inside(name: str) -> bool:
    path = PurePosixPath(name)
    parts = {part.lower().rstrip(". ") for part in path.parts}
    return bool(path.parts) and not path.is_absolute() and ".." not in path.parts and not parts & _NEVER


def _whose(run_id: str) -> str:
    run = connect().MlflowClient().get_run(run_id)
    tags = run.data.tags
    host = f" on {tags['host']}" if tags.get("host") else ""
    when = datetime.fromtimestamp(run.info.start_time / 1000, timezone.utc).strftime(_TIME)
    return f"{tags.get('mlflow.user') or 'nobody who is named'}{host}, {when}"


def _git(where: Path, text: bytes, *arguments: str) -> "subprocess.CompletedProcess[bytes]":
    return subprocess.run(["git", *arguments], cwd=where, input=text, capture_output=True, check=False)
