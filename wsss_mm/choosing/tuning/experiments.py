"""Trials as experiments of DVC: queued, begun, watched, and read from the commits that they leave.

DVC's queue has workers that end by themselves, sometimes just before a task comes in, and that take "running" with them
when they are killed. Both are noticed: another worker is begun, and where that does not help, trials run one after the
other without a queue.
"""

import json
import logging
import os
import re
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from wsss_mm import places
from wsss_mm.choosing.tuning.halving import Score
from wsss_mm.choosing.tuning.values import SECTIONS
from wsss_mm.dvc_files import LOCK
from wsss_mm.errors import InputError

if TYPE_CHECKING:
    from wsss_mm.settings import Params

logger = logging.getLogger(__name__)

TARGET = "tune@trial"
_POLL, _LOOK = 1.0, 15.0  # s between looks at git, which are cheap, and at DVC's queue, which are not
_DEAD = 2  # looks at a queue with work and no worker, before another one is begun, or none
_BEGUN = 2  # workers that are begun anew before the queue is given up
_CODE = ("pipelines", "mmconfigs")  # beside the package, which a project of `wsss-mm init` has lists of


@dataclass(frozen=True)
class Trial:
    """What an experiment is to try: `name` it has in DVC and MLflow, and all its `params`."""

    name: str
    params: "Params"


def check_project(root: Path) -> None:
    """See that experiments can be made here.

    Raises:
        InputError: no git repository, no commit, changes that are not committed, or no patches yet.
    """
    if _git(root, "rev-parse", "--show-toplevel", check=False).returncode:
        raise InputError(
            f"{root.resolve()}: no git repository, which DVC's experiments need; git init, then git commit"
        )
    if _git(root, "rev-parse", "--verify", "-q", "HEAD", check=False).returncode:
        raise InputError("this git repository has no commit, which DVC's experiments begin with; git commit")
    changed = _git(root, "status", "--porcelain", "--untracked-files=no").stdout.splitlines()
    if changed:
        names = [line[3:] for line in changed]
        more = f" and {len(names) - 3} more" if len(names) > 3 else ""
        raise InputError(
            f"{', '.join(names[:3])}{more}: changed since the last commit, which trials begin with; git commit -a, or "
            "git stash"
        )
    manifest = f"{places.PATCHES}/{places.MANIFEST}"
    remedies = {manifest: "make it with: dvc repro gate@patches", places.TUNE_FILE: f"git checkout {places.TUNE_FILE}"}
    for name, remedy in remedies.items():
        if not (root / name).is_file():
            raise InputError(f"{name}: not found; {remedy}")
    if not _git(root, "ls-files", LOCK).stdout.strip():
        raise InputError("dvc.lock: not in git, so that trials would have no patches; git add dvc.lock, git commit")


def code_digest(root: Path) -> str:
    """What tells versions of the code apart, by git."""
    package = places.STAGE_CODE.as_posix() if (root / places.PROJECT_NOTE).is_file() else "wsss_mm"
    return " ".join(_git(root, "rev-parse", *(f"HEAD:{name}" for name in (package, *_CODE))).stdout.split())


@dataclass
class Experiments:
    """Makes trials in copies of the project.

    Attributes:
        root: the project's.
        base: its params.yaml.
        queue: whether DVC's queue is used; else each runs in a copy of its own, one after the other.
    """

    root: Path
    base: "Params"
    queue: bool = True
    _begun: int = field(default=0, init=False)

    def __call__(self, trials: Sequence[Trial]) -> Iterator[tuple[Trial, Score | None]]:
        """Make trials, and yield each with its score, None where it failed; closed, it takes back what waits."""
        left = list(trials)
        for trial in trials:  # what a search that was killed had begun may be done
            if (score := self._outcome(trial, 0.0)) is not None:
                left.remove(trial)
                yield trial, score
        if self.queue and left:
            yield from self._queued(left)
        for trial in left:
            yield trial, self._alone(trial)

    # -- with DVC's queue ------------------------------------------------------------------------------------------

    def _queued(self, left: list[Trial]) -> Iterator[tuple[Trial, Score | None]]:
        """As a call; what stays in `left` is to be made otherwise."""
        waiting = self._states()
        for trial in left:
            if waiting.get(trial.name) not in ("Queued", "Running"):
                if trial.name in waiting:  # failed before
                    self._dvc("queue", "remove", trial.name, check=False)
                self._dvc("exp", "run", "--queue", *self._options(trial))
        try:
            self._begin()
            began, looked, dead = time.monotonic(), time.monotonic(), 0
            while left:
                ended = [(trial, self._outcome(trial, time.monotonic() - began)) for trial in left]
                for trial, score in [pair for pair in ended if pair[1] is not None]:
                    left.remove(trial)
                    began = time.monotonic()
                    yield trial, score
                if not left:
                    return
                time.sleep(_POLL)
                if time.monotonic() - looked < _LOOK:
                    continue
                looked, states = time.monotonic(), self._states()
                for trial in [trial for trial in left if states.get(trial.name) == "Failed"]:
                    if self._outcome(trial, 0.0) is None:
                        logger.warning("%s failed: %s", trial.name, self._why(trial))
                        left.remove(trial)
                        began = time.monotonic()
                        yield trial, None
                dead = dead + 1 if left and not self._workers else 0
                if dead >= _DEAD:
                    dead = 0
                    if not self._begin_again():
                        logger.warning("DVC's queue has work, but no worker lives; trials go on without it")
                        return
        finally:
            self._take_back([trial.name for trial in left])

    def _begin(self) -> None:
        self._dvc("queue", "start", "--jobs", "1")

    def _begin_again(self) -> bool:
        self._begun += 1
        if self._begun > _BEGUN:
            return False
        self._begin()
        return True

    def _states(self) -> dict[str, str]:
        """The last state of each task of the queue, by name."""
        said = self._dvc("queue", "status").stdout
        workers = re.search(r"Worker status: (\d+) active, (\d+) idle", said)
        self._workers = sum(map(int, workers.groups())) if workers else 0
        rows = (line.split() for line in said.splitlines())
        return {row[1]: row[-1] for row in rows if len(row) >= 4 and row[1].startswith("tune-")}

    def _take_back(self, names: Sequence[str]) -> None:
        """Take out of the queue what waits; what runs ends by itself, and is found the next time."""
        if names:
            with suppress(InputError):
                states = self._states()
                waiting = [name for name in names if states.get(name) == "Queued"]
                if waiting:
                    self._dvc("queue", "remove", *waiting, check=False)

    def _why(self, trial: Trial) -> str:
        return _reason(self._dvc("queue", "logs", trial.name, check=False).stdout) + f"; dvc queue logs {trial.name}"

    # -- without ---------------------------------------------------------------------------------------------------

    def _alone(self, trial: Trial) -> Score | None:
        began = time.monotonic()
        done = self._dvc("exp", "run", "--temp", *self._options(trial), check=False)
        score = self._outcome(trial, time.monotonic() - began)
        if score is None:
            logger.warning("%s failed: %s", trial.name, _reason(done.stdout + done.stderr))
        return score

    # -- both ------------------------------------------------------------------------------------------------------

    def _options(self, trial: Trial) -> list[str]:
        changes = []
        before, after = (params.model_dump(mode="json", by_alias=True) for params in (self.base, trial.params))
        for section in SECTIONS:
            for name, value in after[section].items():
                if value != before[section][name]:
                    changes += ["-S", f"{section}.{name}={_override(value)}"]
        if after["seed"] != before["seed"]:
            changes += ["-S", f"seed={after['seed']}"]
        return ["-s", "-n", trial.name, *changes, "-S", f"{places.TUNE_FILE}:trials=[trial]", TARGET]

    def _outcome(self, trial: Trial, seconds: float) -> Score | None:
        """What an experiment left, None if there is none of this name."""
        baseline = _git(self.root, "rev-parse", "HEAD").stdout.strip()
        reference = f"refs/exps/{baseline[:2]}/{baseline[2:]}/{trial.name}"
        content = _git(self.root, "show", f"{reference}:{places.TUNE_COUNTS.as_posix()}", check=False)
        if content.returncode:
            return None
        try:
            found = json.loads(content.stdout)
            counts = found["counts"]
            value, own = float(found["value"]), float(found["seconds"])
        except (ValueError, KeyError, TypeError) as error:
            raise InputError(f"experiment {trial.name}: damaged ({error}); dvc exp remove {trial.name}") from None
        return Score(value, max(seconds, own), None if counts is None else np.asarray(counts, np.int64))

    def _dvc(self, *arguments: str, check: bool = True) -> "subprocess.CompletedProcess[str]":
        try:
            done = subprocess.run(
                ["dvc", *arguments],
                cwd=self.root,
                env={**os.environ, "DVC_NO_ANALYTICS": "1"},
                capture_output=True,
                text=True,
                check=False,
                stdin=subprocess.DEVNULL,
            )
        except FileNotFoundError:
            raise InputError("dvc: not found; activate the environment that make setup made") from None
        if check and done.returncode:
            raise InputError(
                f"dvc {' '.join(arguments[:2])}: {_reason(done.stdout + done.stderr)}; wsss-mm tune --no-queue"
            )
        return done


def _override(value: Any) -> str:
    """A value in the grammar of `-S`."""
    if isinstance(value, str):
        return value if re.fullmatch(r"[A-Za-z_]+", value) and value not in ("on", "off", "yes", "no") else f"'{value}'"
    return json.dumps(value)


def _reason(said: str) -> str:
    """The line that says why, of what a stage or DVC wrote."""
    lines = [" ".join(line.split()) for line in said.splitlines() if line.strip()]
    errors = [line for line in lines if line.startswith(("error:", "ERROR:"))]
    return (errors or lines or ["it says nothing"])[0][:300]


def _git(root: Path, *arguments: str, check: bool = True) -> "subprocess.CompletedProcess[str]":
    try:
        done = subprocess.run(["git", *arguments], cwd=root, capture_output=True, text=True, check=False)
    except FileNotFoundError:
        raise InputError("git: not found, which DVC's experiments need; install it") from None
    if check and done.returncode:
        raise InputError(f"git {arguments[0]}: {' '.join(done.stderr.split())}")
    return done
