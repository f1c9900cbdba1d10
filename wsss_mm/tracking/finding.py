"""Runs by what they say of themselves: which made these weights, which was begun last, whose they are."""

import logging
import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from wsss_mm import places
from wsss_mm.errors import InputError
from wsss_mm.files import digest, locked
from wsss_mm.tracking.local import unsent_weights
from wsss_mm.tracking.store import connect, project_root
from wsss_mm.uris import shown

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run

logger = logging.getLogger(__name__)

WEIGHTS_TAG, DIGEST_TAG = "weights_md5", "model_digest"
"""Tags of a training and of a version: which weights it made, and `wsss_mm.models.description.model_digest`."""

BEGAN_TAG = "initial_weights"
"""Tag of a training: the file it began with, as model.json says; another with `_sha256` is that of it."""

JUDGED_TAG = "judged_weights_md5"
"""Tag of an evaluation: the weights it judged. That of a training says what it made."""

PARENT_TAG, EXPERIMENT_TAG, NUMBER_TAG = "mlflow.parentRunId", "dvc.experiment", "run_number"
"""Tags: the training an evaluation belongs to; the DVC experiment; how many runs were begun in the store before."""

EVALUATION_TAG, TEST = "evaluation", "test."
"""Tag of a training: the evaluation whose figures it shows; and what the names of such figures begin with."""

_NUMBER_WIDTH = 9  # digits: the store sorts tags as text


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
    unsent = unsent_weights(WEIGHTS_TAG)
    for path in weights:
        if unsent and path.is_file() and digest(path, "md5") in unsent:
            raise InputError(f"{path}: the run that made it is not on the MLflow server yet; first: wsss-mm sync")


def newest_run(md5: str, *, tag: str = WEIGHTS_TAG, ours: str | None = None) -> "Run | None":
    """The run of the store that made these weights.

    Of several, it is that of a DVC experiment, the one at work unless named, and else the one that was begun last:
    numbers tell, since a clock may be wrong.
    """
    ours = os.environ.get("DVC_EXP_NAME") if ours is None else ours
    found = newest_first(connect().MlflowClient(), f"tags.{tag} = '{md5}'")
    return next(iter([run for run in found if _experiment_of(run) == ours] or found), None)


def newest_first(client: "MlflowClient", wanted: str, most: int = 1000, *, deleted: bool = False) -> "list[Run]":
    """Runs of all experiments that a filter finds, the one begun last first; those of older days have no number.

    Args:
        client: Of the store.
        wanted: MLflow's filter.
        most: How many.
        deleted: Whether deleted ones, which may be restored, are among them.
    """
    from mlflow.entities import ViewType

    view = ViewType.ALL if deleted else ViewType.ACTIVE_ONLY
    return list(
        client.search_runs(
            [experiment.experiment_id for experiment in client.search_experiments(view)],
            filter_string=wanted,
            run_view_type=view,
            order_by=[f"tags.{NUMBER_TAG} DESC", "attributes.start_time DESC"],
            max_results=most,
        )
    )


@contextmanager
def next_number(client: "MlflowClient") -> Iterator[str]:
    """One more than the highest number of a run in the store, for the run that is made within the block.

    No other process of this project takes it meanwhile. Two projects that begin a run in one store at the same moment
    may get the same number: MLflow can neither lock nor count. Of such two, the clock says which was begun last.
    """
    with ExitStack() as held:
        with suppress(InputError):  # a disk that takes no lock keeps no run from the store
            held.enter_context(locked(project_root() / places.WORK / NUMBER_TAG))
        found = newest_first(client, "", most=1, deleted=True)
        last = found[0].data.tags.get(NUMBER_TAG, "") if found else ""
        yield f"{int(last) + 1 if last.isdecimal() else 1:0{_NUMBER_WIDTH}d}"


def _experiment_of(run: "Run") -> str:
    return str(run.data.tags.get(EXPERIMENT_TAG, "none"))


def is_own(run: "Run") -> bool:
    """Whether what is found out now may be added to a run: not by another DVC experiment than the one it is of."""
    return is_of(run, os.environ.get("DVC_EXP_NAME", ""))


def is_of(run: "Run", experiment: str) -> bool:
    """Whether a run is of a DVC experiment; all are where there is none."""
    return not experiment or _experiment_of(run) == experiment
