"""Runs: one per training, found again by the md5 of the weights it made.

No run id enters an out of the pipeline, because outs are the same for the same inputs and run ids are not.
"""

import logging
import os
import signal
import threading
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from pydantic import BaseModel

from wsss_mm.errors import Terminated
from wsss_mm.files import digest
from wsss_mm.outage import is_outage, keep, send
from wsss_mm.tracking.finding import BEGAN_TAG, DIGEST_TAG, NUMBER_TAG, WEIGHTS_TAG, newest_run, next_number
from wsss_mm.tracking.headlines import DESCRIPTION_TAG, model_headline, run_name
from wsss_mm.tracking.lineage import dvc_digests, git_state
from wsss_mm.tracking.open_runs import close_abandoned, mark
from wsss_mm.tracking.store import OUTER_RUN, TAG_LENGTH, connect, experiment_id, run_tags, tracking_uri
from wsss_mm.tracking.surroundings import log_inputs, log_params, log_surroundings, origin
from wsss_mm.tracking.unsent import Refuge, anything_unsent, surviving, unsent_uri
from wsss_mm.uris import shown

if TYPE_CHECKING:
    from mlflow import ActiveRun
    from mlflow.entities import RunInfo

logger = logging.getLogger(__name__)


@contextmanager
def training_run(
    stage: str,
    params: BaseModel | Mapping[str, Any],
    inputs: Iterable[Path] = (),
    *,
    tags: Mapping[str, str] | None = None,
    offline: bool = True,
    experiment: str | None = None,
) -> Iterator["ActiveRun"]:
    """Start a run, active within the block, which says what it was made from.

    It ends FINISHED, FAILED with the error as tag `error` (also on SIGTERM), or KILLED by Ctrl-C. Runs that a killed
    process left open are closed first. What an MLflow server does not take is kept for `wsss-mm sync`: log with
    `wsss_mm.outage.send`.

    Args:
        stage: The pipeline stage.
        params: Settings, or several sections by name; nested keys are joined by dots.
        inputs: Files and folders DVC knows, relative to the current folder, logged as data sets and as tags
            `dvc.md5.<path>`.
        tags: Further tags.
        offline: Whether the block may go on without the server.
        experiment: MLflow's; called like the stage, without "train_", if None.

    Yields:
        The active run: log to it with `mlflow.log_metrics` and the like.

    Raises:
        InputError: an input does not exist.
    """
    here = Path.cwd()
    git, digests = git_state(here), dvc_digests(inputs, here)
    if git.problem:
        logger.warning("%s: the run cannot say from which commit it is: %s", stage, git.problem)
    around = {"outer_run": os.environ[OUTER_RUN]} if os.environ.get(OUTER_RUN) else {}
    mlflow = connect()
    experiment = experiment or stage.removeprefix("train_")
    about = {"stage": stage, **origin(git, digests), **around, **(tags or {})}

    def start() -> "ActiveRun":
        where, number = experiment_id(experiment), next_number(mlflow.MlflowClient())
        name = os.environ.get("DVC_EXP_NAME") or run_name(stage, params, number, git.short)
        tags = run_tags(about | {NUMBER_TAG: number})
        return mlflow.start_run(experiment_id=where, run_name=name, tags=tags, log_system_metrics=True)

    with surviving(experiment, offline=offline):
        send(close_abandoned)
        run = send(start)
        open_run = mark(run.info.run_id)
        status = "FAILED"
        try:
            send(log_params, params)
            send(log_inputs, digests)
            keep(log_surroundings, here)
            with _terminable():
                yield run
            status = "FINISHED"
        except KeyboardInterrupt:
            status = "KILLED"
            raise
        except BaseException as error:
            send(mlflow.set_tag, "error", shown(f"{type(error).__name__}: {error}")[:TAG_LENGTH])
            raise
        finally:
            _end_run(status)
            open_run.remove()


@contextmanager
def model_run(weights: Path, *, offline: bool = True, tag: str = WEIGHTS_TAG) -> Iterator["ActiveRun | None"]:
    """Open the newest run that made these weights again, to add to it; its status stays as it was.

    If it is among the unsent ones, it is opened there; if the server is lost, what is added is kept there.

    Args:
        weights: Of the model.
        offline: Whether the block may go on without the server.
        tag: `JUDGED_TAG` for the newest run that judged them.

    Yields:
        The active run, or None, with a warning, if this store has none: the weights came with `dvc pull`, or the store
        is new.
    """
    md5 = digest(weights, "md5")
    with surviving(weights.parent.name, offline=offline, adds=True) as refuge:
        send(close_abandoned)  # a killed stage may have left this very run open
        found = send(_reopen, md5, refuge, tag)
        if found is None:
            logger.warning("%s: no MLflow run in %s made these weights", weights, shown(connect().get_tracking_uri()))
            yield None
            return
        uri, open_run = tracking_uri(), mark(found.run_id, status=found.status, end_time=found.end_time, error="")
        try:
            yield connect().active_run()
        finally:
            _end_run(found.status, found.end_time)
            if uri == tracking_uri():  # else the server still has it open, and the mark closes it there
                open_run.remove()


def _reopen(md5: str, refuge: Refuge, tag: str) -> "RunInfo | None":
    """Make the newest run of these weights the active one; says how it was before.

    If the server is lost, the run may be there: what is added to it then begins a run of its own, which is sent to it.
    """
    mlflow = connect()
    found = newest_run(md5, tag=tag)
    elsewhere = found is None and refuge.server and not refuge.entered and anything_unsent()
    if elsewhere and newest_run(md5, unsent_uri(), tag) is not None:
        refuge.enter()
        found = newest_run(md5, tag=tag)  # unless a sync has sent it meanwhile
    if found is not None:
        mlflow.set_experiment(experiment_id=found.info.experiment_id)  # or MLflow refuses to open the run
        mlflow.start_run(run_id=found.info.run_id, log_system_metrics=False)
        return found.info
    if refuge.entered:
        return refuge.start_run({tag: md5})
    return None


def _end_run(status: str, end_time: int | None = None) -> None:
    """Close the active run, now or as of `end_time` (ms).

    MLflow forgets which run is active before it tells the store, so the store is told first.
    """
    mlflow = connect()

    def terminate() -> str | None:
        active = mlflow.active_run()
        if active is not None:
            mlflow.MlflowClient().set_terminated(active.info.run_id, status, end_time)
        return active and active.info.run_id

    run_id = send(terminate)
    try:
        mlflow.end_run(status)
        if run_id is not None and end_time is not None:  # or a training would seem to have lasted until now
            mlflow.MlflowClient().set_terminated(run_id, status, end_time)
    except Exception as error:
        if not is_outage(error):
            raise


@contextmanager
def _terminable() -> Iterator[None]:
    """Turn SIGTERM into an exception, so that what is open is closed; only a main thread can."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGTERM, _terminate)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _terminate(*_: Any) -> NoReturn:
    raise Terminated


def tag_weights(weights: Path) -> str:
    """Mark the active run as the one that made these weights, so that `model_run` finds it, and this model of them.

    Returns:
        The md5 of the file.
    """
    from wsss_mm.models.description import DESCRIPTION, INITIAL, RESOLUTION, described, folder_digest

    md5, folder = digest(weights, "md5"), weights.parent
    model: dict[str, str] = {}
    if (folder / DESCRIPTION).is_file():
        model = {DIGEST_TAG: folder_digest(folder)}
        info = described(folder)
        if RESOLUTION in info:
            model[RESOLUTION] = str(info[RESOLUTION])[:TAG_LENGTH]
        if begun := info.get(INITIAL):
            model |= {BEGAN_TAG: str(begun["file"]), f"{BEGAN_TAG}_sha256": str(begun["sha256"])}
        model[DESCRIPTION_TAG] = model_headline(info)
    send(connect().set_tags, {WEIGHTS_TAG: md5} | model)
    return md5
