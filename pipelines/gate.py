"""Stage `gate@<name>`: judge what a stage made, write the report, stop the line if it fails."""

import logging
import runpy
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from wsss_mm import places
from wsss_mm.files import write_json
from wsss_mm.formats import write_object
from wsss_mm.gates import metrics_path, report_path, run_gate
from wsss_mm.gates.page import write_page
from wsss_mm.places import GATE_REPORT

if TYPE_CHECKING:
    from wsss_mm.settings import Params
    from wsss_mm.tracking.tracker import Tracker

logger = logging.getLogger(__name__)

JUDGED = {"classifier": "classifier", "pseudo_labels": "classifier", "segmenter": "segmenter", "slides": "segmenter"}
"""The model whose run shows the outcome; those of the gates before it are logged when it is trained."""


def main(name: str, params: "Params", tracker: "Tracker") -> None:
    """Run gate `name`; the report is written whether it passes or not, DVC records it only if it passes."""
    result = run_gate(name, params, Path())
    write_object(report_path(name), GATE_REPORT, result.as_dict())
    write_json(metrics_path(name), result.metrics())
    write_page(Path())
    weights = places.MODELS / JUDGED.get(name, "") / places.WEIGHTS
    if weights.is_file():
        tracker.gate(result, weights)
    for line in result.lines():
        sys.stderr.write(line + "\n")
    result.raise_if_failed(str(report_path(name)))
    logger.info("%s", result)


if __name__ == "__main__":
    runpy.run_module("pipelines", run_name="__main__")
