"""Runs: one per training, found again by the md5 of the weights it made.

They are written on this machine first, and copied to the store meanwhile (`wsss_mm.tracking.copier`): nothing here
waits for a server. No run id enters an out of the pipeline, because outs are the same for the same inputs and run ids
are not.
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

from wsss_mm.active_run import activated, active_run
from wsss_mm.errors import Terminated
from wsss_mm.files import digest
from wsss_mm.interrupts import is_pressed
from wsss_mm.tracking.copier import Copier
from wsss_mm.tracking.finding import BEGAN_TAG, DIGEST_TAG, WEIGHTS_TAG
from wsss_mm.tracking.headlines import DESCRIPTION_TAG, model_headline, run_name
from wsss_mm.tracking.lineage import dvc_digests, git_state
from wsss_mm.tracking.local import Head, LocalRun, begin
from wsss_mm.tracking.machine import Machine
from wsss_mm.tracking.store import OUTER_RUN, TAG_LENGTH, connect, run_tags
from wsss_mm.tracking.surroundings import flatten, log_surroundings, origin
from wsss_mm.uris import shown

if TYPE_CHECKING:
    from mlflow.entities import RunInfo

logger = logging.getLogger(__name__)


class Run:
    """An open run.

    Attributes:
        local: What it is logged to.
    """

    def __init__(self, local: LocalRun, copier: Copier) -> None:
        self.local, self._copier = local, copier

    @property
    def info(self) -> "RunInfo":
        """MLflow's, of the run in the store, which has all that was logged so far.

        Raises:
            Exception: the store does not answer.
        """
        return self._copier.info()


@contextmanager
def training_run(
    stage: str,
    params: BaseModel | Mapping[str, Any],
    inputs: Iterable[Path] = (),
    *,
    tags: Mapping[str, str] | None = None,
    experiment: str | None = None,
) -> Iterator[Run]:
    """Open a run, active within the block, which says what it was made from.

    It ends FINISHED, FAILED with the error as tag `error` (also on SIGTERM), or KILLED by Ctrl-C. Runs that a killed
    process left open are closed first. What the store does not take waits for `wsss-mm sync`.

    Args:
        stage: The pipeline stage.
        params: Settings, or several sections by name; nested keys are joined by dots.
        inputs: Files and folders DVC knows, relative to the current folder, logged as data sets and as tags
            `dvc.md5.<path>`.
        tags: Further tags.
        experiment: MLflow's; called like the stage, without "train_", if None.

    Yields:
        The run; log to it with `active_run()`.

    Raises:
        InputError: an input does not exist.
    """
    here = Path.cwd()
    git, digests = git_state(here), dvc_digests(inputs, here)
    if git.problem:
        logger.warning("%s: the run cannot say from which commit it is: %s", stage, git.problem)
    around = {"outer_run": os.environ[OUTER_RUN]} if os.environ.get(OUTER_RUN) else {}
    connect()
    about = run_tags({"stage": stage, **origin(git, digests), **around, **(tags or {})})
    name = os.environ.get("DVC_EXP_NAME") or run_name(stage, params, git.short)
    local = begin(Head(experiment=experiment or stage.removeprefix("train_"), name=name, tags=about))
    copier, machine = Copier(local), Machine(local)
    status = "FAILED"
    copier.start()
    machine.start()
    with _copied(local, copier):
        try:
            local.params(flatten(params))
            local.inputs(digests)
            log_surroundings(local, here)
            with _terminable(), activated(local):
                yield Run(local, copier)
            status = "FINISHED"
        except KeyboardInterrupt:
            status = "KILLED"
            raise
        except BaseException as error:
            local.tags({"error": shown(f"{type(error).__name__}: {error}")[:TAG_LENGTH]})
            raise
        finally:
            machine.end()
            local.end(status)


@contextmanager
def model_run(weights: Path, *, tag: str = WEIGHTS_TAG) -> Iterator[Run]:
    """Add to the newest run that made these weights, whose status and times stay as they are.

    If the store has none, a warning says so, and nothing is kept: the weights came with `dvc pull`, or the store is
    new.

    Args:
        weights: Of the model.
        tag: `JUDGED_TAG` for the newest run that judged them.
    """
    head = Head(adds="model", md5=digest(weights, "md5"), tag=tag, experiment=weights.parent.name)
    with adding_run(head) as run:
        yield run


@contextmanager
def adding_run(head: Head) -> Iterator[Run]:
    """Add to a run of the store, active within the block; which one is decided when it is copied there."""
    connect()
    local = begin(head)
    copier = Copier(local)
    with _copied(local, copier), activated(local):
        yield Run(local, copier)


@contextmanager
def _copied(local: LocalRun, copier: Copier) -> Iterator[None]:
    """Copy the rest of a run at the end of the block, and let others have what the store did not take."""
    broken_off = False
    try:
        yield
    except (KeyboardInterrupt, Terminated):
        broken_off = True
        raise
    finally:
        try:
            copier.end(broken_off=broken_off or is_pressed())
        finally:
            local.close()


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
    run = active_run()
    assert run is not None
    run.tags({WEIGHTS_TAG: md5} | model)
    return md5
