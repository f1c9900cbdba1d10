"""Runs: one per training, found again by the md5 of the weights it made, and one per evaluation, its child.

No run id enters an out of the pipeline, because outs are the same for the same inputs and run ids are not.
"""

import logging
import os
import platform
import signal
import threading
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from pydantic import BaseModel

from wsss_mm.errors import InputError, Terminated
from wsss_mm.files import digest
from wsss_mm.outage import is_outage, keep, send
from wsss_mm.tracking.copying import log_values
from wsss_mm.tracking.lineage import GitState, dvc_digests, git_diff, git_state
from wsss_mm.tracking.open_runs import close_abandoned, mark
from wsss_mm.tracking.store import OUTER_RUN, adding, connect, experiment_id, run_tags, tracking_uri
from wsss_mm.tracking.unsent import ADDS, Refuge, anything_unsent, surviving, unsent_uri
from wsss_mm.uris import shown

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt
    from mlflow import ActiveRun, MlflowClient
    from mlflow.entities import Run, RunInfo

    from wsss_mm.vocabulary import Vocabulary

logger = logging.getLogger(__name__)

WEIGHTS_TAG, DIGEST_TAG = "weights_md5", "model_digest"
"""Tags of a training and of a version: which weights it made, and `wsss_mm.models.description.model_digest`."""

BEGAN_TAG = "initial_weights"
"""Tag of a training: the file it began with, as model.json says; another with `_sha256` is that of it."""

JUDGED_TAG = "judged_weights_md5"
"""Tag of an evaluation: the weights it judged. That of a training says what it made."""

PARENT_TAG, EXPERIMENT_TAG, NUMBER_TAG = "mlflow.parentRunId", "dvc.experiment", "run_number"
"""Tags: the training an evaluation belongs to; the DVC experiment; how many runs were begun in the store before."""

EVALUATIONS, TEST = "evaluation", "test."
"""The experiment of evaluations, and what the names of their metrics begin with."""

ENVIRONMENT, DIFF = "environment.txt", "git.diff"
"""Artifacts of every run: the installed versions, and what differs from its commit, if anything does."""

_TAG_LENGTH = 500
_NUMBER_WIDTH = 9  # digits: the store sorts tags as text


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
    about = {"stage": stage, **_origin(git, digests), **around, **(tags or {})}

    def start() -> "ActiveRun":
        name, where = os.environ.get("DVC_EXP_NAME") or git.short, experiment_id(experiment)
        tags = run_tags(about | {NUMBER_TAG: next_number(mlflow.MlflowClient())})
        return mlflow.start_run(experiment_id=where, run_name=name, tags=tags, log_system_metrics=True)

    with surviving(experiment, offline=offline):
        send(close_abandoned)
        run = send(start)
        open_run = mark(run.info.run_id)
        status = "FAILED"
        try:
            send(_log_params, params)
            send(_log_inputs, digests)
            keep(_log_surroundings, here)
            with _terminable():
                yield run
            status = "FINISHED"
        except KeyboardInterrupt:
            status = "KILLED"
            raise
        except BaseException as error:
            send(mlflow.set_tag, "error", shown(f"{type(error).__name__}: {error}")[:_TAG_LENGTH])
            raise
        finally:
            _end_run(status)
            open_run.remove()


def _origin(git: GitState, digests: Mapping[str, str]) -> dict[str, str]:
    """Tags that say what a run was made from."""
    return {
        "host": platform.node(),
        "git.commit": git.commit or "none",
        "git.dirty": str(git.dirty).lower(),
        **({"git.problem": git.problem[:_TAG_LENGTH]} if git.problem else {}),
        "dvc.stage": os.environ.get("DVC_STAGE", "none"),
        EXPERIMENT_TAG: os.environ.get("DVC_EXP_NAME", "none"),
        "dvc.baseline": os.environ.get("DVC_EXP_BASELINE_REV", "none"),  # the same in a queue of experiments
        **{f"dvc.md5.{path}": md5 for path, md5 in digests.items()},
    }


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
            model[RESOLUTION] = str(info[RESOLUTION])[:_TAG_LENGTH]
        if begun := info.get(INITIAL):
            model |= {BEGAN_TAG: str(begun["file"]), f"{BEGAN_TAG}_sha256": str(begun["sha256"])}
    send(connect().set_tags, {WEIGHTS_TAG: md5} | model)
    return md5


def find_run(weights: Path) -> "Run | None":
    """The newest run that made these weights; None, with a warning, if this store has none."""
    found = newest_run(digest(weights, "md5"))
    if found is None:
        logger.warning("%s: no MLflow run in %s made these weights", weights, shown(connect().get_tracking_uri()))
    return found


def refuse_unsent(*weights: Path) -> None:
    """For what needs the runs on the server.

    Raises:
        InputError: a run that made these weights is unsent.
    """
    if not anything_unsent() or tracking_uri() == unsent_uri():
        return
    for path in weights:
        if path.is_file() and newest_run(digest(path, "md5"), unsent_uri()) is not None:
            raise InputError(f"{path}: the run that made it is not on the MLflow server yet; first: wsss-mm sync")


def newest_run(md5: str, store: str | None = None, tag: str = WEIGHTS_TAG) -> "Run | None":
    """The run that made these weights in a store, the current one by default.

    Of several, it is that of the DVC experiment at work, and else the one that was begun last: numbers tell, since a
    clock may be wrong.
    """
    client = connect().MlflowClient(tracking_uri=store)
    found = newest_first(client, f"tags.{tag} = '{md5}'")
    ours = [run for run in found if _experiment_of(run) == os.environ.get("DVC_EXP_NAME")]
    return next(iter(ours or found), None)


def newest_first(client: "MlflowClient", wanted: str, most: int = 1000) -> "list[Run]":
    """Runs of all experiments that a filter finds, the one begun last first; those of older days have no number."""
    return list(
        client.search_runs(
            [experiment.experiment_id for experiment in client.search_experiments()],
            filter_string=wanted,
            order_by=[f"tags.{NUMBER_TAG} DESC", "attributes.start_time DESC"],
            max_results=most,
        )
    )


def next_number(client: "MlflowClient") -> str:
    """One more than the highest number of a run in the store."""
    found = newest_first(client, "", most=1)
    last = found[0].data.tags.get(NUMBER_TAG, "") if found else ""
    return f"{int(last) + 1 if last.isdecimal() else 1:0{_NUMBER_WIDTH}d}"


def _experiment_of(run: "Run") -> str:
    return str(run.data.tags.get(EXPERIMENT_TAG, "none"))


def is_own(run: "Run") -> bool:
    """Whether what is found out now may be added to a run: not by another DVC experiment than the one it is of."""
    now = os.environ.get("DVC_EXP_NAME")
    return not now or _experiment_of(run) == now


def log_gate(name: str, passed: bool, metrics: Mapping[str, int], failed: Iterable[str]) -> None:
    """Put a gate's outcome on the active run: tag `gate.<name>`, the checks that failed or warned, and metrics."""
    mlflow = connect()
    outcome = "passed" if passed else "failed"
    checks = ", ".join(failed)[:_TAG_LENGTH] or "none"
    send(mlflow.set_tags, {f"gate.{name}": outcome, f"gate.{name}.failed": checks})
    send(mlflow.log_metrics, {f"gate.{name}.{key}": value for key, value in metrics.items()})


@contextmanager
def judging_run(weights: Path) -> Iterator["ActiveRun | None"]:
    """The run that shows what is found out about a model: its training's, or in another DVC experiment, that one's own.

    So an experiment that trains nothing anew leaves the finished run as it is.

    Args:
        weights: Of the model.

    Yields:
        The active run; None, with a warning, if this store has no training of these weights, and none is wanted.
    """
    md5 = digest(weights, "md5")
    with surviving(EVALUATIONS, adds=True) as refuge:
        training, known = send(newest_run, md5), send(newest_run, md5, tag=JUDGED_TAG)
        unknown = training is None and not (refuge.entered and os.environ.get("DVC_EXP_NAME"))
    if unknown or (training is not None and is_own(training)):
        with model_run(weights) as run:
            yield run
        return
    if known is not None and is_own(known):
        with model_run(weights, tag=JUDGED_TAG) as run:
            yield run
        return
    with evaluation_run(weights, {}) as run:
        yield run


@contextmanager
def evaluation_run(
    weights: Path, params: BaseModel | Mapping[str, Any], inputs: Iterable[Path] = ()
) -> Iterator["ActiveRun"]:
    """Start a run that judges a model, a child of the run that trained it where this store has that.

    Args:
        weights: Of the model.
        params: See `training_run`.
        inputs: See `training_run`.
    """
    md5 = digest(weights, "md5")
    stage = os.environ.get("DVC_STAGE", EVALUATIONS).rpartition(":")[2]
    with training_run(stage, params, inputs, tags={JUDGED_TAG: md5}, experiment=EVALUATIONS) as run:
        training = send(newest_run, md5)
        if training is not None:
            send(connect().set_tag, PARENT_TAG, training.info.run_id)
        yield run


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


def log_evaluation(
    weights: Path,
    metrics: Mapping[str, Any],
    confusion: "npt.NDArray[np.int64]",
    vocabulary: "Vocabulary",
    picture: Path,
    *,
    params: Mapping[str, Any],
    inputs: Iterable[Path] = (),
) -> None:
    """Log how good a segmenter is, as a run of its own, child of its training.

    The training shows the figures of its first evaluation, too, so that trainings can be compared: only if both are of
    the same DVC experiment, and never those of a later one.

    Args:
        weights: Those of the segmenter.
        metrics: `wsss_mm.evaluation.report.split_metrics` of the test split, with `bootstrap`; logged as
            `test.ungated.<name>` and `test.gated.<name>` where they are defined, and drawn as `figures/`.
        confusion: The ungated confusion matrix (C, C), row = truth.
        vocabulary: The C classes.
        picture: The sheet of test patches, kept in `pictures/`.
        params: What the figures depend on.
        inputs: See `training_run`.
    """
    from wsss_mm.evaluation.figures import report_figures

    mlflow = connect()
    values = {
        f"{TEST}{kind}.{name}": value
        for kind in ("ungated", "gated")
        for name, value in metrics[kind].items()
        if value is not None
    }
    figures = report_figures(metrics, confusion, vocabulary)

    def log() -> None:
        send(mlflow.log_metrics, values)
        for name, figure in figures.items():
            keep(mlflow.log_figure, figure, f"figures/{name}")
        keep(mlflow.log_artifact, str(picture), "pictures")

    with evaluation_run(weights, params, inputs) as run:
        log()
        training = send(newest_run, digest(weights, "md5"))
    if training is not None and is_own(training) and not _is_judged(training):
        with model_run(weights) as added:
            if added is not None:
                log()
                send(mlflow.set_tag, EVALUATIONS, run.info.run_id)


def _is_judged(training: "Run") -> bool:
    """Whether it has figures; what was added to one while the server was lost does not tell."""
    return ADDS in training.data.tags or any(key.startswith(TEST) for key in training.data.metrics)


def flatten(params: BaseModel | Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested settings as dotted keys: {"classifier": {"lr": 0.1}} becomes {"classifier.lr": 0.1}."""
    if isinstance(params, BaseModel):
        params = params.model_dump(mode="json", by_alias=True)
    flat: dict[str, Any] = {}
    for key, value in params.items():
        if isinstance(value, BaseModel | Mapping):
            flat |= flatten(value, f"{prefix}{key}.")
        else:
            flat[f"{prefix}{key}"] = value
    return flat


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


@cache
def installed_versions() -> dict[str, str]:
    """Of each distribution by name; reading what all of them say takes a third of a second."""
    return {item.metadata["Name"]: item.version for item in metadata.distributions()}


def _log_surroundings(root: Path) -> None:
    """Log the installed versions, and the changes to tracked files that the commit lacks."""
    mlflow = connect()
    versions = [f"{name}=={version}" for name, version in installed_versions().items()]
    mlflow.log_text("\n".join(sorted(versions, key=str.lower)) + "\n", ENVIRONMENT)
    if diff := git_diff(root):
        mlflow.log_text(diff, DIFF)


def _log_params(params: BaseModel | Mapping[str, Any]) -> None:
    mlflow = connect()
    from mlflow.entities import Param

    items = [Param(key, str(value)) for key, value in flatten(params).items()]
    log_values(mlflow.MlflowClient(), mlflow.active_run().info.run_id, params=items)


def _log_inputs(digests: Mapping[str, str]) -> None:
    """Log DVC's inputs as data sets; a digest may have 36 characters, exactly those of a folder's md5."""
    mlflow = connect()
    from mlflow.data.code_dataset_source import CodeDatasetSource
    from mlflow.data.meta_dataset import MetaDataset

    for path, md5 in digests.items():
        source = CodeDatasetSource(tags={"dvc.path": path, "dvc.md5": md5})
        data = MetaDataset(source, name=path, digest=md5)  # ty: ignore[abstract-class-instantiation]  it has no profile
        adding(mlflow.log_input, data, context="training")
