"""Runs that judge a model, and what is added to its training of that."""

import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel

from wsss_mm.files import digest
from wsss_mm.outage import keep, send
from wsss_mm.tracking.finding import JUDGED_TAG, PARENT_TAG, is_own, newest_run
from wsss_mm.tracking.headlines import DESCRIPTION_TAG, test_headline
from wsss_mm.tracking.runs import model_run, training_run
from wsss_mm.tracking.store import TAG_LENGTH, connect
from wsss_mm.tracking.unsent import ADDS, surviving

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt
    from mlflow import ActiveRun
    from mlflow.entities import Run

    from wsss_mm.vocabulary import Vocabulary

EVALUATIONS, TEST = "evaluation", "test."
"""The experiment of evaluations, and what the names of their metrics begin with."""


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
    figures, headline = report_figures(metrics, confusion, vocabulary), test_headline(metrics)

    def log() -> None:
        send(mlflow.log_metrics, values)
        for name, figure in figures.items():
            keep(mlflow.log_figure, figure, f"figures/{name}")
        keep(mlflow.log_artifact, str(picture), "pictures")

    with evaluation_run(weights, params, inputs) as run:
        log()
        send(mlflow.set_tag, DESCRIPTION_TAG, headline)
        training = send(newest_run, digest(weights, "md5"))
    if training is not None and is_own(training) and not _is_judged(training):
        with model_run(weights) as added:
            if added is not None:
                log()
                said = training.data.tags.get(DESCRIPTION_TAG)
                described = f"{headline}\n\n{said}" if said else headline
                send(mlflow.set_tags, {EVALUATIONS: run.info.run_id, DESCRIPTION_TAG: described})


def _is_judged(training: "Run") -> bool:
    """Whether it has figures; what was added to one while the server was lost does not tell."""
    return ADDS in training.data.tags or any(key.startswith(TEST) for key in training.data.metrics)


def log_gate(name: str, passed: bool, metrics: Mapping[str, int], failed: Iterable[str]) -> None:
    """Put a gate's outcome on the active run: tag `gate.<name>`, the checks that failed or warned, and metrics."""
    mlflow = connect()
    outcome = "passed" if passed else "failed"
    checks = ", ".join(failed)[:TAG_LENGTH] or "none"
    send(mlflow.set_tags, {f"gate.{name}": outcome, f"gate.{name}.failed": checks})
    send(mlflow.log_metrics, {f"gate.{name}.{key}": value for key, value in metrics.items()})
