"""Sending what an MLflow server did not take, once it is back: any number of times, and from any point of a broken try.

A run that began on the server gets what is missing there; any other one is made there, with the tag `unsent.id`, by
which a second try finds it. A run is removed from the local store when the server gives all of it back.
"""

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tqdm import tqdm

from wsss_mm.errors import InputError
from wsss_mm.files import digest, explained, moved_aside, remove_aside
from wsss_mm.tracking.copying import all_runs, log_missing_inputs, log_values
from wsss_mm.tracking.evaluations import TEST
from wsss_mm.tracking.finding import (
    EXPERIMENT_TAG,
    JUDGED_TAG,
    NUMBER_TAG,
    PARENT_TAG,
    WEIGHTS_TAG,
    newest_first,
    newest_run,
    next_number,
)
from wsss_mm.tracking.open_runs import REASON, close_abandoned
from wsss_mm.tracking.store import be_patient, connect, experiment_id, tracking_uri
from wsss_mm.tracking.unsent import ADDS, CONTINUES, alone, anything_unsent, unsent_folder, unsent_uri
from wsss_mm.uris import shown

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Metric, Run

_ID = "unsent.id"
_OWN = "unsent."  # tags about the sending itself
_KEPT = ("mlflow.loggedImages", "mlflow.loggedArtifacts")  # the other tags of MLflow are the run's name, user, source


@dataclass(frozen=True)
class Sent:
    """What became of one unsent run.

    Attributes:
        run_id: On the server.
        experiment: Its name.
        metrics: Points that the server lacked.
        files: Artifacts that it lacked.
    """

    run_id: str
    experiment: str
    metrics: int
    files: int


def sync() -> Iterator[Sent]:
    """Send every unsent run to the current store, oldest first.

    Yields:
        Each run, when it is confirmed.

    Raises:
        InputError: the server does not give back what it was sent, or another process has the local store.
    """
    if not anything_unsent():
        return
    be_patient()
    mlflow = connect()
    with alone():
        close_abandoned()
        with _current(unsent_uri()):
            close_abandoned()
        local, server = mlflow.MlflowClient(unsent_uri()), mlflow.MlflowClient(tracking_uri())
        for run in all_runs(local):
            yield _send(run, local.get_experiment(run.info.experiment_id).name, local, server)
            local.delete_run(run.info.run_id)
            shutil.rmtree(_files(run).parent, ignore_errors=True)
        moved_aside(unsent_folder())
    remove_aside(unsent_folder())


def _send(run: "Run", experiment: str, local: "MlflowClient", server: "MlflowClient") -> Sent:
    run_id, made = _target(run, experiment, server)
    there = server.get_run(run_id)
    _send_values(run, there, server, made=made)
    points = _missing_points(run, run_id, local, server)
    log_values(server, run_id, metrics=points)
    files = _missing_files(run, run_id, server)
    with explained(f"artifacts of run {run_id}"):
        for path in tqdm(files, experiment, unit="file", leave=False):
            folder = path.relative_to(_files(run)).parent.as_posix()
            server.log_artifact(run_id, str(path), None if folder == "." else folder)
    _confirm(run, run_id, local, server)
    for md5 in {run.data.tags[tag] for tag in (WEIGHTS_TAG, JUDGED_TAG) if tag in run.data.tags}:
        _adopt(md5, server)
    if made or ADDS not in run.data.tags:
        _end(run, run_id, server)
    return Sent(run_id, experiment, len(points), len(files))


def _target(run: "Run", experiment: str, server: "MlflowClient") -> tuple[str, bool]:
    """The run on the server that this one is sent to, and whether it is made for it."""
    found = _find(run, server)
    if found is not None:
        return found.info.run_id, found.data.tags.get(_ID) == run.info.run_id
    tags = {key: value for key, value in run.data.tags.items() if not key.startswith(_OWN)}
    tags |= {_ID: run.info.run_id, NUMBER_TAG: next_number(server)}
    tags.pop(PARENT_TAG, None)  # see `_adopt`
    made = server.create_run(experiment_id(experiment), run.info.start_time, tags, run.info.run_name)
    return made.info.run_id, True


def _find(run: "Run", server: "MlflowClient") -> "Run | None":
    mlflow = connect()
    tags = run.data.tags
    if CONTINUES in tags:
        try:
            found = server.get_run(tags[CONTINUES])
            if found.info.lifecycle_stage == "active":
                return found
        except mlflow.exceptions.MlflowException as error:
            if error.error_code != "RESOURCE_DOES_NOT_EXIST":
                raise
    wanted = [f"tags.`{_ID}` = '{run.info.run_id}'"]
    wanted[:0] = [f"tags.{tag} = '{tags[tag]}'" for tag in (WEIGHTS_TAG, JUDGED_TAG) if ADDS in tags and tag in tags]
    for text in wanted:
        found = newest_first(server, text, most=1)
        if found:
            return found[0]
    return None


def _adopt(md5: str, server: "MlflowClient") -> None:
    """Make evaluations of weights children of the training that made them: either may have come to the server first.

    The training shows what its own evaluation found, as it would have without the outage.
    """
    training = newest_run(md5, tracking_uri())
    if training is None:
        return
    shown = any(key.startswith(TEST) for key in training.data.metrics)
    for child in reversed(newest_first(server, f"tags.{JUDGED_TAG} = '{md5}'")):  # the first is its own
        if PARENT_TAG not in child.data.tags:
            server.set_tag(child.info.run_id, PARENT_TAG, training.info.run_id)
        found = [item for item in child.data._metric_objs if item.key.startswith(TEST)]
        if found and not shown and child.data.tags.get(EXPERIMENT_TAG) == training.data.tags.get(EXPERIMENT_TAG):
            log_values(server, training.info.run_id, metrics=found)
            shown = True


def _send_values(run: "Run", there: "Run", server: "MlflowClient", *, made: bool) -> None:
    """Parameters, tags and data sets."""
    from mlflow.entities import Param, RunTag

    params = [Param(key, value) for key, value in run.data.params.items() if there.data.params.get(key) != value]
    tags = [RunTag(key, value) for key, value in _tags(run, made=made).items() if there.data.tags.get(key) != value]
    log_values(server, there.info.run_id, params=params, tags=tags)
    log_missing_inputs(run, there, server)


def _tags(run: "Run", *, made: bool) -> dict[str, str]:
    """The tags to send: a run that is continued keeps its own name, user and source."""
    here = (NUMBER_TAG, PARENT_TAG)  # they tell of the local store
    tags = {key: value for key, value in run.data.tags.items() if not key.startswith(_OWN) and key not in here}
    return {key: value for key, value in tags.items() if made or key in _KEPT or not key.startswith("mlflow.")}


def _missing_points(run: "Run", run_id: str, local: "MlflowClient", server: "MlflowClient") -> list["Metric"]:
    """Points of the run's curves that the server lacks; a value logged twice at a step is one point."""
    missing = []
    for key in run.data.metrics:
        known = {_point(item) for item in server.get_metric_history(run_id, key)}
        missing += [item for item in local.get_metric_history(run.info.run_id, key) if _point(item) not in known]
    return missing


def _missing_files(run: "Run", run_id: str, server: "MlflowClient") -> list[Path]:
    """Artifacts that the server lacks, or has with other bytes."""
    folder = _files(run)
    local = [path for path in sorted(folder.rglob("*")) if path.is_file()]
    if not local:
        return []
    known = {info.path: info.file_size for info in _listed(server, run_id)}
    missing = []
    with tempfile.TemporaryDirectory() as scratch:
        for path in local:
            name = path.relative_to(folder).as_posix()
            if known.get(name) != path.stat().st_size:
                missing.append(path)
                continue
            back = Path(server.download_artifacts(run_id, name, scratch))
            if digest(back) != digest(path):
                missing.append(path)
            back.unlink()
    return missing


def _listed(server: "MlflowClient", run_id: str, folder: str | None = None) -> Iterator[Any]:
    for info in server.list_artifacts(run_id, folder):
        if info.is_dir:
            yield from _listed(server, run_id, info.path)
        else:
            yield info


def _confirm(run: "Run", run_id: str, local: "MlflowClient", server: "MlflowClient") -> None:
    """Ask the server for all of it.

    Raises:
        InputError: something is not there.
    """
    there = server.get_run(run_id)
    lost = [key for key, value in run.data.params.items() if there.data.params.get(key) != value]
    lost += [key for key, value in _tags(run, made=False).items() if there.data.tags.get(key) != value]
    lost += [item.key for item in _missing_points(run, run_id, local, server)]
    lost += [path.name for path in _missing_files(run, run_id, server)]
    if lost:
        raise InputError(
            f"{shown(tracking_uri())}: run {run_id} lacks {', '.join(lost[:5])}, though they were sent; nothing local "
            "is removed: look at the server's log, then: wsss-mm sync"
        )


def _end(run: "Run", run_id: str, server: "MlflowClient") -> None:
    if ADDS in run.data.tags:  # its own status is that of the run it adds to
        server.set_terminated(run_id, "FINISHED", run.info.end_time)
    elif run.info.status == "RUNNING":  # its process was killed, and so was its mark
        server.set_tag(run_id, "error", REASON)
        server.set_terminated(run_id, "KILLED")
    else:
        server.set_terminated(run_id, run.info.status, run.info.end_time)


def _files(run: "Run") -> Path:
    """Where its artifacts are, wherever the project was moved to."""
    return unsent_folder() / "artifacts" / run.info.run_id / "artifacts"


@contextmanager
def _current(uri: str) -> Iterator[None]:
    """Make a store the current one within the block."""
    mlflow, before = connect(), tracking_uri()
    mlflow.set_tracking_uri(uri)
    try:
        yield
    finally:
        mlflow.set_tracking_uri(before)


def _point(metric: "Metric") -> tuple[int, str]:
    return metric.step, repr(float(metric.value))  # NaN equals itself as text
