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
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from wsss_mm import places
from wsss_mm.errors import InputError
from wsss_mm.files import explained
from wsss_mm.outage import is_outage, lost, no_place, reason
from wsss_mm.tracking.batches import add_inputs, log_values
from wsss_mm.tracking.calls import Calls
from wsss_mm.tracking.confirming import confirm, points_of
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
from wsss_mm.tracking.store import experiment_id, tracking_uri
from wsss_mm.uris import shown

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run, RunInfo

logger = logging.getLogger(__name__)

ID_TAG = "local.id"
"""Tag of every run: its id on the machine that logged it."""
KILLED = "its process ended without closing it (SIGKILL, no memory left, or the machine went down)"
"""Tag `error` of a run whose process was killed."""

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

    def __init__(self, run: LocalRun, *, resumed: bool = False, over: threading.Event | None = None) -> None:
        self._run, self._calls = run, Calls(over or threading.Event())
        self._run_id, self._made = "", False
        self._found = not resumed  # a new run need not be looked for
        self._entries, self._points = 0, 0  # sent
        self._files: dict[Path, int] = {}  # and which inode was sent: who writes a file again makes another
        self._busy = threading.Lock()
        self._ending, self._looked, self._broken_off = threading.Event(), threading.Event(), threading.Event()
        self._follows, self._all_sent = False, False
        self._thread = threading.Thread(target=self._work, name="copier", daemon=True)
        self._failed = False  # at the last try, and why was said

    def start(self) -> None:
        """Copy what is new every few seconds from now on, and first of all what waits from before."""
        self._follows = True
        self._thread.start()

    def info(self) -> "RunInfo":
        """The run in the store, which has all that was logged so far."""
        if self._follows:
            self._looked.wait()
        self._copy()
        return self._calls.client().get_run(self._run_id).info

    def end(self, *, broken_off: bool = False) -> None:
        """Copy the rest; what the store does not take now stays here, and a line says so.

        Args:
            broken_off: The work was, by Ctrl-C or SIGTERM: a store that stands still is not waited for.
        """
        if broken_off:
            self._broken_off.set()
        self._ending.set()
        try:
            if not self._follows:
                self._thread.start()
            if broken_off:
                self._calls.wait(self._thread)
            else:
                self._thread.join()
        finally:  # Ctrl-C may come now, too
            if self._thread.is_alive():
                self._broken_off.set()
                self._calls.give_up()
            if not self._all_sent:
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
            client = self._calls.client()
            self._send(client)
            if self._run_id:
                confirm(client, self._run_id, run, self._files)
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

    def finish_unless_broken_off(self) -> Copied:
        """The same, by another thread: Ctrl-C ends the program while the store stands still."""
        return self._calls.result_of(self.finish)

    def _work(self) -> None:
        going = True
        while self._follows:
            going = self._try(self._look)
            self._looked.set()
            if self._ending.is_set():
                break  # it was trying until this moment
            if self._ending.wait(_EVERY):
                going = True
                break
        self._all_sent = going and self._try(self._rest)

    def _look(self) -> None:
        self._copy()
        self._failed = False
        if not self._looked.is_set():
            _copy_waiting(self._broken_off)

    def _rest(self) -> None:
        if not self._follows:
            _copy_waiting(self._broken_off)
        self.finish()

    def _try(self, work: Callable[[], object]) -> bool:
        """Whether some work was done. MLflow fails in many ways, and a training that is done is not lost for any."""
        try:
            work()
        except Exception as error:
            if not self._calls.over.is_set():
                self._tell(error)
            return False
        return True

    def _tell(self, error: Exception) -> None:
        """Say once what keeps the run from the store."""
        known = is_outage(error) or no_place(error)
        why = lost(error) if known else shown(f"{tracking_uri()}: refused")
        if not self._failed:
            logger.warning("%s; what is logged stays in %s until then (%s)", why, self._run.folder, reason(error))
        self._failed = True

    def _copy(self) -> None:
        with self._busy:
            self._send(self._calls.client())

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
        points = points_of(entries)
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
        tags, experiment = dict(head.tags) | {ID_TAG: head.id}, experiment_id(head.experiment)
        parent = newest_run(tags[JUDGED_TAG], ours=head.dvc) if JUDGED_TAG in tags else None
        if parent is not None:
            tags[PARENT_TAG] = parent.info.run_id
        self._made = True
        with next_number(client) as number:
            name = numbered_name(head.name, number)
            made = client.create_run(experiment, head.begun, tags | {NUMBER_TAG: number}, name).info.run_id
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
                    sent = Copier(run, resumed=True).finish_unless_broken_off()
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


def _copy_waiting(over: threading.Event) -> None:
    """Bring home what waits for this store, such as runs whose process was killed, until it is over."""
    with waiting() as runs:
        for run in runs:
            if run.head.store == store_digest() and not over.is_set():
                try:
                    Copier(run, resumed=True, over=over).finish()
                except Exception as error:
                    if over.is_set():
                        return
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
