"""What a run was made from: the git commit and the DVC digest of every input."""

import hashlib
import json
import logging
import os
import re
import shlex
import subprocess
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from wsss_mm.dvc_files import LOCK, locked_outs
from wsss_mm.errors import InputError, spelled_out
from wsss_mm.files import digest
from wsss_mm.uris import shown

logger = logging.getLogger(__name__)

_WRITTEN = (LOCK, "reports")
_SECRET = (
    *(".dvc/config*", "**/.env*", "**/*.env", "**/.netrc", "**/.npmrc", "**/.pypirc", "**/.htpasswd", "**/id_*"),
    *("**/*.pem", "**/*.key", "**/*.p12", "**/*credentials*", "**/secrets.*", "**/.secrets*", "**/*passwords*"),
)
_ADDED = re.compile(r"^\+.*", re.MULTILINE)
_URI = re.compile(r"[A-Za-z][A-Za-z0-9+.\-]*://(?P<user>[^\s/'\"<>`]*@)?[^\s'\"<>`]*")
_NOT_TRACKED = ("__pycache__", ".ipynb_checkpoints")  # as in .dvcignore


@dataclass(frozen=True)
class GitState:
    """The checked-out commit, and whether tracked files differ from it, or may; `problem` says why it is not known."""

    commit: str | None
    dirty: bool
    problem: str = ""

    @property
    def short(self) -> str:
        """The first eight digits, for names."""
        return self.commit[:8] if self.commit else "no-commit"


def git_state(root: Path) -> GitState:
    """State of the git repository that holds `root`."""
    commit = None
    try:
        commit = _run(root, "rev-parse", "--verify", "HEAD").strip()
        return GitState(commit, bool(_run(root, "status", "--porcelain", "--untracked-files=no")))
    except (OSError, subprocess.CalledProcessError) as error:
        return GitState(commit, dirty=commit is not None, problem=_problem(root, error))


def git_diff(root: Path) -> str:
    """What tracked files have that the commit has not, for `git apply`; without what the line itself writes.

    Secrets stay here: files that hold some by their name are left out, and so are those in URIs of added lines.
    Lines in another encoding than UTF-8 come with replacement characters: MLflow keeps text, and an unusual comment in
    a file is no reason to stop a training.
    """
    left_out = [*(f":(exclude){name}" for name in _WRITTEN), *(f":(exclude,glob,icase){name}" for name in _SECRET)]
    diff = _git(root, "diff", "--binary", "HEAD", "--", ".", *left_out)
    kept = _ADDED.sub(lambda line: _URI.sub(_without_secrets, line[0]), diff)
    if kept != diff:
        logger.warning("uncommitted changes: a URI with a password or a key in it is kept with the run without that")
    secret = (f":(glob,icase){name}" for name in _SECRET)
    for name in _git(root, "diff", "--name-only", "HEAD", "--", *secret).splitlines():
        logger.warning("%s: may hold secrets; what is not committed of it is not kept with the run", name)
    return kept


def _without_secrets(uri: re.Match[str]) -> str:
    """A URI as it is shown if it has a password or a secret parameter; a user alone, as git@, is none."""
    less = shown(uri[0])
    return less if "***" in less or ":" in (uri["user"] or "") else uri[0]


def dvc_digests(paths: Iterable[Path], root: Path) -> dict[str, str]:
    """DVC's digest of each path, as dvc.lock and the cache name it.

    Inside a stage, DVC has just checked that dvc.lock describes the inputs, so it is believed; by hand, files are
    hashed.

    Args:
        paths: Files and folders, relative to `root`.
        root: The folder of dvc.lock.

    Returns:
        Posix path to md5, of a folder with the ending ".dir".

    Raises:
        InputError: an input does not exist.
    """
    known = _locked(root) if os.environ.get("DVC_STAGE") else {}
    names = [path.as_posix() for path in paths]
    return {name: known.get(name) or dvc_digest(root / name) for name in names}


def dvc_digest(path: Path) -> str:
    """The md5 DVC gives a file, or a folder: that of its sorted listing, ending in ".dir".

    Raises:
        InputError: it does not exist.
    """
    if path.is_file():
        return digest(path, "md5")
    if not path.is_dir():
        raise InputError(f"{path}: not found; make it with dvc repro, or restore it with dvc checkout")
    files = (item for item in path.rglob("*") if item.is_file() and not set(item.parts) & set(_NOT_TRACKED))
    listing = [{"md5": digest(item, "md5"), "relpath": item.relative_to(path).as_posix()} for item in files]
    text = json.dumps(sorted(listing, key=lambda entry: entry["relpath"]), sort_keys=True)
    return hashlib.md5(text.encode(), usedforsecurity=False).hexdigest() + ".dir"


def _locked(root: Path) -> dict[str, str]:
    """Digest of every stage's outs in dvc.lock."""
    path = root / LOCK
    return locked_outs(path.read_bytes(), name=path) if path.is_file() else {}


def _git(root: Path, *arguments: str) -> str:
    try:
        return _run(root, *arguments)
    except (OSError, subprocess.CalledProcessError):
        return ""


def _run(root: Path, *arguments: str) -> str:
    english = os.environ | {"LC_ALL": "C"}
    result = subprocess.run(["git", *arguments], cwd=root, env=english, capture_output=True, check=True)
    return result.stdout.decode("utf-8", errors="replace")


def _problem(root: Path, error: OSError | subprocess.CalledProcessError) -> str:
    """What git says where it gives no commit, and what to do, in one line."""
    if isinstance(error, OSError):
        return f"git does not start ({error.strerror}); install it"
    lines = error.stderr.decode("utf-8", errors="backslashreplace").strip().splitlines() or ["git says nothing"]
    said = spelled_out(lines[0].removeprefix("fatal: "))
    if any("safe.directory" in line for line in lines):  # the checkout belongs to someone else
        place = next((path for path in (root, *root.parents) if (path / ".git").exists()), root)
        return f"{said}; if you trust it: git config --global --add safe.directory {shlex.quote(str(place))}"
    return (
        f"git knows no commit here, or not what differs from it ({said}); lineage and DVC need it: git init, git commit"
    )
