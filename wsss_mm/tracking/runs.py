"""Runs: one per training, found again by the md5 of the weights it made.

No run id enters an out of the pipeline, because outs are the same for the same inputs and run ids are not.
"""

import logging
import os
import signal
import threading
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from pydantic import BaseModel

from wsss_mm.errors import Terminated
from wsss_mm.files import digest
from wsss_mm.tracking.lineage import dvc_digests, git_diff, git_state
from wsss_mm.tracking.store import connect, experiment_id

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt
    from mlflow import ActiveRun
    from mlflow.entities import Run

    from wsss_mm.patches.vocabulary import Vocabulary

logger = logging.getLogger(__name__)

WEIGHTS_TAG = "weights_md5"
ENVIRONMENT, DIFF = "environment.txt", "git.diff"
"""Artifacts of every run: the installed versions, and what differs from its commit, if anything does."""

_PARAMS_PER_CALL = 100
_TAG_LENGTH = 500


@contextmanager
def training_run(
    stage: str,
    params: BaseModel | Mapping[str, Any],
    inputs: Iterable[Path] = (),
    *,
    tags: Mapping[str, str] | None = None,
) -> Iterator["ActiveRun"]:
    """Start a run, active within the block, which says what it was made from.

    It ends FINISHED, FAILED with the error as tag `error` (also on SIGTERM), or KILLED by Ctrl-C.

    Args:
        stage: The pipeline stage; the experiment is called like it, without "train_".
        params: Settings, or several sections by name; nested keys are joined by dots.
        inputs: Files and folders DVC knows, relative to the current folder, logged as data sets and as tags
            `dvc.md5.<path>`.
        tags: Further tags.

    Yields:
        The active run: log to it with `mlflow.log_metrics` and the like.

    Raises:
        InputError: an input does not exist.
    """
    here = Path.cwd()
    git, digests = git_state(here), dvc_digests(inputs, here)
    mlflow = connect()
    run = mlflow.start_run(
        experiment_id=experiment_id(stage.removeprefix("train_")),
        run_name=os.environ.get("DVC_EXP_NAME") or git.short,
        tags={
            "stage": stage,
            "git.commit": git.commit or "none",
            "git.dirty": str(git.dirty).lower(),
            "dvc.stage": os.environ.get("DVC_STAGE", "none"),
            "dvc.experiment": os.environ.get("DVC_EXP_NAME", "none"),
            "dvc.baseline": os.environ.get("DVC_EXP_BASELINE_REV", "none"),  # the same in a queue of experiments
            **{f"dvc.md5.{path}": md5 for path, md5 in digests.items()},
            **(tags or {}),
        },
        log_system_metrics=True,
    )
    status = "FAILED"
    try:
        _log_params(params)
        _log_inputs(digests)
        _log_surroundings(here)
        with _terminable():
            yield run
        status = "FINISHED"
    except KeyboardInterrupt:
        status = "KILLED"
        raise
    except BaseException as error:
        mlflow.set_tag("error", f"{type(error).__name__}: {error}"[:_TAG_LENGTH])
        raise
    finally:
        mlflow.end_run(status)


def tag_weights(weights: Path) -> str:
    """Mark the active run as the one that made these weights, so that `model_run` finds it.

    Returns:
        The md5 of the file.
    """
    mlflow = connect()
    md5 = digest(weights, "md5")
    mlflow.set_tag(WEIGHTS_TAG, md5)
    return md5


def find_run(weights: Path) -> "Run | None":
    """The newest run that made these weights; None, with a warning, if this store has none."""
    mlflow = connect()
    md5 = digest(weights, "md5")
    found = mlflow.search_runs(
        search_all_experiments=True,
        filter_string=f"tags.{WEIGHTS_TAG} = '{md5}'",
        order_by=["attributes.start_time DESC"],
        max_results=1,
        output_format="list",
    )
    if not found:
        logger.warning("%s: no MLflow run in %s made these weights", weights, mlflow.get_tracking_uri())
    return found[0] if found else None


def log_gate(name: str, passed: bool, metrics: Mapping[str, int], failed: Iterable[str]) -> None:
    """Put a gate's outcome on the active run: tag `gate.<name>`, the checks that failed or warned, and metrics."""
    mlflow = connect()
    outcome = "passed" if passed else "failed"
    mlflow.set_tags({f"gate.{name}": outcome, f"gate.{name}.failed": ", ".join(failed)[:_TAG_LENGTH] or "none"})
    mlflow.log_metrics({f"gate.{name}.{key}": value for key, value in metrics.items()})


@contextmanager
def model_run(weights: Path) -> Iterator["ActiveRun | None"]:
    """Open the newest run that made these weights again, to add to it; its status stays as it was.

    Yields:
        The active run, or None, with a warning, if this store has none: the weights came with `dvc pull`, or the store
        is new.
    """
    found = find_run(weights)
    if found is None:
        yield None
        return
    mlflow = connect()
    mlflow.set_experiment(experiment_id=found.info.experiment_id)  # or MLflow refuses to open the run
    run = mlflow.start_run(run_id=found.info.run_id, log_system_metrics=False)
    try:
        yield run
    finally:
        mlflow.end_run(found.info.status)
        if found.info.end_time is not None:  # or the training would seem to have lasted until now
            mlflow.MlflowClient().set_terminated(found.info.run_id, found.info.status, found.info.end_time)


def log_evaluation(
    weights: Path,
    metrics: Mapping[str, Any],
    confusion: "npt.NDArray[np.int64]",
    vocabulary: "Vocabulary",
    picture: Path,
) -> None:
    """Add how good a segmenter is to the run that trained it, if this store has it.

    Args:
        weights: Those of the segmenter.
        metrics: `wsss_mm.evaluation.report.split_metrics` of the test split, with `bootstrap`; logged as
            `test.ungated.<name>` and `test.gated.<name>` where they are defined, and drawn as `figures/`.
        confusion: The ungated confusion matrix (C, C), row = truth.
        vocabulary: The C classes.
        picture: The sheet of test patches, kept in `pictures/`.
    """
    with model_run(weights) as run:
        if run is None:
            return
        from wsss_mm.evaluation.figures import report_figures

        mlflow = connect()
        for kind in ("ungated", "gated"):
            values = {f"test.{kind}.{name}": value for name, value in metrics[kind].items() if value is not None}
            mlflow.log_metrics(values)
        for name, figure in report_figures(metrics, confusion, vocabulary).items():
            mlflow.log_figure(figure, f"figures/{name}")
        mlflow.log_artifact(str(picture), "pictures")


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


def _log_surroundings(root: Path) -> None:
    """Log the installed versions, and the changes to tracked files that the commit lacks."""
    mlflow = connect()
    versions = {f"{item.metadata['Name']}=={item.version}" for item in metadata.distributions()}
    mlflow.log_text("\n".join(sorted(versions, key=str.lower)) + "\n", ENVIRONMENT)
    if diff := git_diff(root):
        mlflow.log_text(diff, DIFF)


def _log_params(params: BaseModel | Mapping[str, Any]) -> None:
    mlflow = connect()
    items = list(flatten(params).items())
    for start in range(0, len(items), _PARAMS_PER_CALL):
        mlflow.log_params(dict(items[start : start + _PARAMS_PER_CALL]))


def _log_inputs(digests: Mapping[str, str]) -> None:
    """Log DVC's inputs as data sets; a digest may have 36 characters, exactly those of a folder's md5."""
    mlflow = connect()
    from mlflow.data.code_dataset_source import CodeDatasetSource
    from mlflow.data.meta_dataset import MetaDataset

    for path, md5 in digests.items():
        source = CodeDatasetSource(tags={"dvc.path": path, "dvc.md5": md5})
        mlflow.log_input(MetaDataset(source, name=path, digest=md5), context="training")
