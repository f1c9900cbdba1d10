"""What the stages of the line show in MLflow: handed to them, so that none of them rests on the code that tracks."""

import logging
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from wsss_mm.active_run import active_run
from wsss_mm.places import PATCHES

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from wsss_mm.gates import GateResult

logger = logging.getLogger(__name__)


class Tracker:
    """Runs of MLflow, as the stages need them. MLflow is imported when the first run begins."""

    @contextmanager
    def training(
        self,
        stage: str,
        params: Mapping[str, Any],
        inputs: Iterable[Path],
        *,
        weights: Path,
        gates: Iterable[str] = (),
    ) -> Iterator[None]:
        """A run for the training within the block, found again by the weights it leaves; see `training_run`.

        Args:
            stage: Of the pipeline.
            params: Sections of params.yaml by name.
            inputs: Files and folders that DVC knows.
            weights: What the training leaves.
            gates: Whose outcome the run shows from the start.
        """
        from wsss_mm.gates import gate_tags
        from wsss_mm.tracking.label_versions import label_tags
        from wsss_mm.tracking.runs import tag_weights, training_run

        tags = gate_tags(Path(), gates) | label_tags(Path(), PATCHES)
        with training_run(stage, params, inputs, tags=tags):
            yield
            tag_weights(weights)

    def figure(self, figure: "Figure", name: str) -> None:
        """Show a figure on the active run, as artifact `name`."""
        if run := active_run():
            run.figure(figure, name)

    def metrics(self, metrics: Mapping[str, float]) -> None:
        """Log numbers of the active run."""
        if run := active_run():
            run.metrics(metrics)

    def evaluation(self, *found: Any, **more: Any) -> None:
        """A run of its own for an evaluation; arguments are those of `wsss_mm.tracking.evaluations.log_evaluation`."""
        from wsss_mm.tracking.evaluations import log_evaluation

        log_evaluation(*found, **more)

    def gate(self, result: "GateResult", weights: Path) -> None:
        """Show a gate's outcome on the run of the model that was judged, if this store has it.

        A gate judges files: a store that does not answer is a warning.
        """
        from wsss_mm.tracking.evaluations import judging_run, log_gate

        try:
            with judging_run(weights):
                log_gate(result.gate, result.passed, [item.name for item in result.failures])
        except Exception as error:  # MLflow fails in many ways
            logger.warning("the outcome is not on the run, MLflow does not answer: %s", " ".join(str(error).split()))
