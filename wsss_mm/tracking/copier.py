"""Copying local runs to the store: while they are logged, at their end, and later with `wsss-mm sync`; one way for all.

It is idempotent and resumable: a run is found again in the store by its tag `local.id`, equal points of a metric are
one there, equal files are the same file. Nothing is removed here before the store gives all of it back.

What only adds to a run, such as the outcome of a gate, is a local run too. Which run it is added to is looked up in the
store when it is copied (`Head.adds`):

    model        the newest run whose tag holds these weights
    judging      the training, if it is of the same DVC experiment, or that one's own evaluation, or a new one
    evaluation   the training, if it is of the same DVC experiment and shows no evaluation yet
"""

import logging
import math
import sys
import tempfile
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from wsss_mm import places
from wsss_mm.errors import InputError
from wsss_mm.files import digest, explained
from wsss_mm.outage import is_outage, lost, no_place, reason
from wsss_mm.tracking.batches import add_inputs, log_values
from wsss_mm.tracking.finding import (
    EVALUATION_TAG,
    JUDGED_TAG,
    NUMBER_TAG,
    PARENT_TAG,
    TEST,
    WEIGHTS_TAG,
    is_of,
    newest_first,
    newest_run,
    next_number,
)
from wsss_mm.tracking.headlines import numbered_name, plain_name
from wsss_mm.tracking.local import LocalRun, store_digest, unsent_folder, unsent_weights, waiting
from wsss_mm.tracking.store import connect, experiment_id, tracking_uri, without_bars
from wsss_mm.uris import shown

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Metric, Run, RunInfo

logger = logging.getLogger(__name__)

ID_TAG = "local.id"
"""Tag of every run: its id on the machine that logged it."""
KILLED = "its process ended without closing it (SIGKILL, no memory left, or the machine went down)"
"""Tag `error` of a run whose process was killed."""

_LONG = 500  # characters that each store keeps
_EVERY = 10.0  # s between two looks at what is new


@dataclass(frozen=True)
class Copied:
    """What became of one local run.

    Attributes:
        run_id: In the store; empty if there is no run to add it to.
        experiment: Its name.
        metrics: Points that were sent.
        files: Artifacts that were sent.
    """

    run_id: str
    experiment: str
    metrics: int
    files: int


class Copier:
    """Brings one local run to the current store."""

    def __init__(self, run: LocalRun, *, resumed: bool = False) -> None:
        self._run = run
        self._run_id, self._made = "", False
        self._found = not resumed  # a new run need not be looked for
        self._entries, self._points = 0, 0  # sent
        self._files: dict[Path, int] = {}  # and which inode was sent: who writes a file again makes another
        self._busy = threading.Lock()
        self._ending, self._looked = threading.Event(), threading.Event()
        self._thread = threading.Thread(target=self._work, name="copier", daemon=True)
        self._failed = ""  # what kept the last try from its end

    def start(self) -> None:
        """Copy what is new every few seconds from now on, and first of all what waits from before."""
        self._thread.start()

    def info(self) -> "RunInfo":
        """The run in the store, which has all that was logged so far."""
        if self._thread.ident is not None:
            self._looked.wait()
        self._copy()
        return connect().MlflowClient().get_run(self._run_id).info

    def end(self) -> None:
        """Copy the rest; what the store does not take now stays here, and a line says so."""
        if self._thread.ident is not None:
            before = self._failed
            self._ending.set()
            self._thread.join()
            if self._failed and self._failed != before:  # it was trying until this moment
                _say_that_some_wait()
                return
        try:
            if self._thread.ident is None:
                _copy_waiting()
            self.finish()
        except Exception as error:  # MLflow fails in many ways, and a training that is done is not lost for any
            self._tell(error)
            _say_that_some_wait()

    def finish(self) -> Copied:
        """Copy all, see that the store has it, end the run there, and remove it here.

        Raises:
            InputError: the store does not give back what it was sent.
        """
        run = self._run
        if not run.head.adds and not run.ended:
            logger.warning("run %s is KILLED now: %s", self._run_id or plain_name(run.head.name), KILLED)
            run.tags({"error": KILLED})
            run.record(end="KILLED", time=max([run.head.begun, *(entry.get("time", 0) for entry in run.entries)]))
        with self._busy:
            client = connect().MlflowClient()
            self._send(client)
            if self._run_id:
                self._confirm(client)
                if self._made:
                    (end,) = [entry for entry in run.entries if "end" in entry][:1] or [{"end": "FINISHED"}]
                    client.set_terminated(self._run_id, end["end"], end.get("time"))
                    for twin in newest_first(client, f"tags.`{ID_TAG}` = '{run.head.id}' and status = 'RUNNING'"):
                        client.delete_run(twin.info.run_id)  # empty: MLflow repeats requests that take too long
                for md5 in {run.folded("tags").get(WEIGHTS_TAG), run.head.tags.get(JUDGED_TAG)} - {None}:
                    _adopt(str(md5), client)
            elif run.head.adds != "evaluation":
                logger.warning("no MLflow run in %s made these weights: %s", shown(tracking_uri()), run.head.experiment)
            run.remove()
        return Copied(self._run_id, run.head.experiment, self._points, len(self._files))

    def _work(self) -> None:
        while True:
            try:
                self._copy()
                self._failed = ""
                if not self._looked.is_set():
                    _copy_waiting()
            except Exception as error:
                self._tell(error)
            self._looked.set()
            if self._ending.wait(_EVERY):
                return

    def _tell(self, error: Exception) -> None:
        """Say once what keeps the run from the store."""
        known = is_outage(error) or no_place(error)
        why = lost(error) if known else shown(f"{tracking_uri()}: refused")
        if not self._failed:
            logger.warning("%s; what is logged stays in %s until then (%s)", why, self._run.folder, reason(error))
        self._failed = f"{self._failed}."  # another one each time

    def _copy(self) -> None:
        with self._busy:
            self._send(connect().MlflowClient())

    def _send(self, client: "MlflowClient") -> None:
        """Send what was not sent before."""
        if not self._run_id:
            self._run_id = self._target(client)
        if not self._run_id:
            return
        run, count = self._run, len(self._run.entries)
        entries = run.entries[self._entries : count]
        values: dict[str, dict[str, str]] = {kind: {} for kind in ("params", "tags", "inputs")}
        for entry in entries:
            for kind in values:
                values[kind] |= entry.get(kind, {})
        points = _points(entries)
        from mlflow.entities import Param, RunTag

        params = [Param(*item) for item in values["params"].items()]
        tags = [RunTag(*item) for item in values["tags"].items()]
        log_values(client, self._run_id, params=params, tags=tags, metrics=points)
        if values["inputs"]:
            add_inputs(client, self._run_id, values["inputs"])
        self._entries, self._points = count, self._points + len(points)
        for path in sorted(run.files.rglob("*")):
            if path.is_file() and self._files.get(path) != (inode := path.stat().st_ino):
                folder = path.relative_to(run.files).parent.as_posix()
                client.log_artifact(self._run_id, str(path), None if folder == "." else folder)
                self._files[path] = inode

    def _target(self, client: "MlflowClient") -> str:
        """The run in the store that this one is copied to; an empty string if there is none to add to."""
        head, self._made = self._run.head, not self._run.head.adds
        known = self._known(client)
        if known is not None:
            self._made = known.data.tags.get(ID_TAG) == head.id
            return known.info.run_id
        found = _to_add_to(self._run, client) if head.adds else None
        if found is not None:
            self._run.record(run=found.info.run_id)
            return found.info.run_id
        if head.adds and head.md5 in unsent_weights(WEIGHTS_TAG):
            raise InputError(f"{self._run.folder}: the training that it adds to is not in the store yet")
        if head.adds and (head.adds != "judging" or newest_run(head.md5) is None):
            return ""
        number = next_number(client)
        tags, name = dict(head.tags) | {ID_TAG: head.id, NUMBER_TAG: number}, numbered_name(head.name, number)
        parent = newest_run(tags[JUDGED_TAG], ours=head.dvc) if JUDGED_TAG in tags else None
        if parent is not None:
            tags[PARENT_TAG] = parent.info.run_id
        self._made = True
        made = client.create_run(experiment_id(head.experiment), head.begun, tags, name).info.run_id
        self._run.record(run=made)
        return made

    def _known(self, client: "MlflowClient") -> "Run | None":
        """The run that it was copied to before."""
        if self._found:
            self._found = False  # the answer to what comes next may be lost
            return None
        from mlflow.exceptions import MlflowException

        for run_id in [entry["run"] for entry in self._run.entries if "run" in entry][-1:]:
            try:
                found = client.get_run(run_id)
                if found.info.lifecycle_stage == "active":
                    return found
            except MlflowException as error:
                if error.error_code != "RESOURCE_DOES_NOT_EXIST":
                    raise
        return next(iter(newest_first(client, f"tags.`{ID_TAG}` = '{self._run.head.id}'", most=1)), None)

    def _confirm(self, client: "MlflowClient") -> None:
        """Ask the store for all of it.

        Raises:
            InputError: something is not there.
        """
        there, run = client.get_run(self._run_id), self._run
        missing = [key for key, value in run.folded("params").items() if not _is(value, there.data.params.get(key))]
        missing += [key for key, value in run.folded("tags").items() if not _is(value, there.data.tags.get(key))]
        wanted: dict[str, set[tuple[int, str]]] = {}
        for item in _points(run.entries):
            wanted.setdefault(item.key, set()).add(_point(item))
        for key, points in wanted.items():
            missing += [key] if points - set(map(_point, client.get_metric_history(self._run_id, key))) else []
        missing += [path.name for path in self._missing_files(client)]
        if missing:
            raise InputError(
                f"{shown(tracking_uri())}: run {self._run_id} lacks {', '.join(missing[:5])}, though they were sent; "
                "nothing local is removed: look at the server's log, then: wsss-mm sync"
            )

    def _missing_files(self, client: "MlflowClient") -> Iterator[Path]:
        """Artifacts that the store lacks, or has with other bytes."""
        if not self._files:
            return
        sizes = {info.path: info.file_size for info in _listed(client, self._run_id)}
        with tempfile.TemporaryDirectory() as scratch, without_bars():
            for path in sorted(self._files):
                name = path.relative_to(self._run.files).as_posix()
                if sizes.get(name) != path.stat().st_size:
                    yield path
                    continue
                back = Path(client.download_artifacts(self._run_id, name, scratch))
                if digest(back) != digest(path):
                    yield path
                back.unlink()


def sync() -> Iterator[Copied]:
    """Copy every run that waits to the current store, oldest first.

    Yields:
        Each run, when the store has all of it.

    Raises:
        InputError: the store refuses a run, or does not give back what it was sent; the others are copied before.
    """
    from mlflow.exceptions import MlflowException

    refused: list[InputError] = []
    with waiting() as runs:
        for run in runs:
            try:
                with explained(f"artifacts of run {plain_name(run.head.name)}"):
                    sent = Copier(run, resumed=True).finish()
            except InputError as error:
                refused.append(error)
            except MlflowException as error:
                if is_outage(error):
                    raise
                why = f"{run.folder}: the store refuses this run ({reason(error)})"
                refused.append(InputError(f"{why}; correct its {places.JOURNAL_OF_RUN}, or delete the folder"))
            else:
                yield sent
    if refused:
        raise refused[0]


def _copy_waiting() -> None:
    """Bring home what waits for this store, such as runs whose process was killed."""
    with waiting() as runs:
        for run in runs:
            if run.head.store == store_digest():
                try:
                    Copier(run, resumed=True).finish()
                except Exception as error:
                    if is_outage(error) or no_place(error):
                        raise  # nobody waits for a silent store twice
                    logger.warning("%s: not sent: %s", run.folder, reason(error))


def _say_that_some_wait() -> None:
    logger.warning(
        "%s holds what the MLflow store %s lacks; when that answers again: wsss-mm sync",
        *(unsent_folder(), shown(tracking_uri())),
    )


def _to_add_to(run: LocalRun, client: "MlflowClient") -> "Run | None":
    """The run that a local one is added to; see above."""
    head = run.head
    if head.adds == "model":
        return newest_run(head.md5, tag=head.tag, ours=head.dvc)
    training = newest_run(head.md5, ours=head.dvc)
    if head.adds == "judging":
        judged = newest_run(head.md5, tag=JUDGED_TAG, ours=head.dvc)
        return next((found for found in (training, judged) if found is not None and is_of(found, head.dvc)), None)
    if training is None or not is_of(training, head.dvc) or any(key.startswith(TEST) for key in training.data.metrics):
        return None
    for evaluation in newest_first(client, f"tags.`{ID_TAG}` = '{head.of}'", most=1):
        run.tags({EVALUATION_TAG: evaluation.info.run_id})
    return training


def _adopt(md5: str, client: "MlflowClient") -> None:
    """Make evaluations of weights children of the training that made them: either may have come to the store first."""
    training = newest_run(md5)
    if training is not None:
        for child in newest_first(client, f"tags.{JUDGED_TAG} = '{md5}'"):
            if PARENT_TAG not in child.data.tags:
                client.set_tag(child.info.run_id, PARENT_TAG, training.info.run_id)


def _is(value: str, there: str | None) -> bool:
    """Whether a store has this value; it may cut off the end of a long one."""
    return there is not None and (there == value or (len(there) >= _LONG and value.startswith(there)))


def _points(entries: list[dict[str, Any]]) -> list["Metric"]:
    from mlflow.entities import Metric

    return [
        Metric(key, value, entry["time"], entry["step"])
        for entry in entries
        for key, value in entry.get("metrics", {}).items()
    ]


def _point(metric: "Metric") -> tuple[int, str]:
    """A step and its value as text, by which NaN equals itself; a store keeps the largest number for infinity."""
    value = float(metric.value)
    return metric.step, repr(math.copysign(sys.float_info.max, value) if math.isinf(value) else value)


def _listed(client: "MlflowClient", run_id: str, folder: str | None = None) -> Iterator[Any]:
    for info in client.list_artifacts(run_id, folder):
        if info.is_dir:
            yield from _listed(client, run_id, info.path)
        else:
            yield info
