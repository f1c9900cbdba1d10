"""Runs that judge a model, and what is added to its training of that."""

import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel

from wsss_mm.active_run import active_run
from wsss_mm.files import digest
from wsss_mm.tracking.finding import EVALUATION_TAG as EVALUATIONS
from wsss_mm.tracking.finding import JUDGED_TAG, TEST, WEIGHTS_TAG
from wsss_mm.tracking.headlines import DESCRIPTION_TAG, model_headline, test_headline
from wsss_mm.tracking.lineage import git_state
from wsss_mm.tracking.local import Head, LocalRun
from wsss_mm.tracking.runs import Run, adding_run, training_run
from wsss_mm.tracking.store import TAG_LENGTH, run_tags
from wsss_mm.tracking.surroundings import origin

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt
    from matplotlib.figure import Figure

    from wsss_mm.vocabulary import Vocabulary


@contextmanager
def evaluation_run(weights: Path, params: BaseModel | Mapping[str, Any], inputs: Iterable[Path] = ()) -> Iterator[Run]:
    """Open a run that judges a model, a child of the run that trained it where the store has that.

    Args:
        weights: Of the model.
        params: See `training_run`.
        inputs: See `training_run`.
    """
    tags = {JUDGED_TAG: digest(weights, "md5")}
    with training_run(_stage(), params, inputs, tags=tags, experiment=EVALUATIONS) as run:
        yield run


@contextmanager
def judging_run(weights: Path) -> Iterator[Run]:
    """The run that shows what is found out about a model: its training's, or in another DVC experiment, that one's own.

    So an experiment that trains nothing anew leaves the finished run as it is. If the store has no training of these
    weights, nothing is kept.

    Args:
        weights: Of the model.
    """
    md5, git = digest(weights, "md5"), git_state(Path.cwd())
    about = {"stage": _stage(), **origin(git, {}), JUDGED_TAG: md5}  # of a run of its own, if there has to be one
    name = os.environ.get("DVC_EXP_NAME") or git.short
    with adding_run(Head(adds="judging", md5=md5, experiment=EVALUATIONS, name=name, tags=run_tags(about))) as run:
        yield run


def _stage() -> str:
    return os.environ.get("DVC_STAGE", EVALUATIONS).rpartition(":")[2]


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
    from wsss_mm.models.description import DESCRIPTION, described

    values = {
        f"{TEST}{kind}.{name}": value
        for kind in ("ungated", "gated")
        for name, value in metrics[kind].items()
        if value is not None
    }
    figures = {name: _drawn(figure) for name, figure in report_figures(metrics, confusion, vocabulary).items()}
    headline = test_headline(metrics)

    def log(run: LocalRun) -> None:
        run.metrics(values)
        for name, figure in figures.items():
            run.content(figure, f"figures/{name}")
        run.file(picture, "pictures")

    with evaluation_run(weights, params, inputs) as run:
        log(run.local)
        run.local.tags({DESCRIPTION_TAG: headline})
    md5, folder = digest(weights, "md5"), weights.parent
    shown = Head(adds="evaluation", md5=md5, tag=WEIGHTS_TAG, of=run.local.head.id, experiment=folder.name)
    said = f"\n\n{model_headline(described(folder))}" if (folder / DESCRIPTION).is_file() else ""
    with adding_run(shown) as added:
        log(added.local)
        added.local.tags({DESCRIPTION_TAG: f"{headline}{said}"})


def _drawn(figure: "Figure") -> bytes:
    """As PNG, once for both runs: half a second each."""
    buffer = BytesIO()
    figure.savefig(buffer, format="png")
    return buffer.getvalue()


def log_gate(name: str, passed: bool, failed: Iterable[str]) -> None:
    """Put a gate's outcome on the active run: tag `gate.<name>`, and the checks that failed or warned."""
    run = active_run()
    assert run is not None
    outcome = "passed" if passed else "failed"
    checks = ", ".join(failed)[:TAG_LENGTH] or "none"
    run.tags({f"gate.{name}": outcome, f"gate.{name}.failed": checks})
