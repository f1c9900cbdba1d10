"""Stage `gate@<name>`: judge what a stage made, write the report, stop the line if it fails."""

import argparse
import logging
import sys
from functools import partial
from pathlib import Path
from typing import Any

from pipelines import run_stage
from wsss_mm.files import write_json
from wsss_mm.formats import write_object
from wsss_mm.gates import GATES, GateResult, metrics_path, report_path, run_gate
from wsss_mm.gates.page import write_page
from wsss_mm.places import GATE_REPORT
from wsss_mm.settings import Params

logger = logging.getLogger(__name__)

JUDGED = {"classifier": "classifier", "pseudo_labels": "classifier", "segmenter": "segmenter", "slides": "segmenter"}
"""The model whose run shows the outcome; those of the gates before it are logged when it is trained."""


def main(name: str, params: Params) -> None:
    """Run gate `name`; the report is written whether it passes or not, DVC records it only if it passes."""
    known = {"champion": _champion(params)} if name == "segmenter" else {}
    result = run_gate(name, params, Path(), **known)
    write_object(report_path(name), GATE_REPORT, result.as_dict())
    write_json(metrics_path(name), result.metrics())
    write_page(Path())
    _log(result)
    for line in result.lines():
        sys.stderr.write(line + "\n")
    result.raise_if_failed(str(report_path(name)))
    logger.info("%s", result)


def _champion(params: Params) -> dict[str, Any] | None:
    """Figures of the registered champion; a store that does not answer is no reason to stop."""
    weights, registered = Path("models/segmenter/weights.pth"), params.register_.model_name
    if registered is None or not weights.is_file():
        return None
    try:
        from wsss_mm.tracking import champion_figures

        return champion_figures(registered, besides=weights)
    except Exception as error:  # a gate judges files; MLflow fails in many ways
        logger.warning("the champion is unknown, MLflow does not answer: %s", " ".join(str(error).split()))
        return None


def _log(result: GateResult) -> None:
    """Show the outcome on the run of the model that was judged, if this store has it."""
    weights = Path("models") / JUDGED.get(result.gate, "") / "weights.pth"
    if not weights.is_file():
        return
    try:
        from wsss_mm.tracking import judging_run, log_gate

        with judging_run(weights) as run:
            if run is not None:
                log_gate(result.gate, result.passed, result.metrics(), [item.name for item in result.failures])
    except Exception as error:  # as above
        logger.warning("the outcome is not on the run, MLflow does not answer: %s", " ".join(str(error).split()))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m pipelines.gate", description=__doc__)
    parser.add_argument("name", choices=GATES)
    run_stage(partial(main, parser.parse_args().name))
