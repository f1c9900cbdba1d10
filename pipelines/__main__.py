"""What runs a stage: `python -m pipelines.STAGE`, or `python -m pipelines STAGE`, on params.yaml in the current folder.

The stages hand over to this module without importing it: what runs and tracks them is nothing that their outs rest on.
"""

import argparse
import sys
from collections.abc import Sequence
from functools import partial
from importlib import import_module
from pathlib import Path

from pipelines.running import run_stage
from wsss_mm.gates import GATES
from wsss_mm.tracking.tracker import Tracker

STAGES = (
    "cohort",
    "patches",
    "train_classifier",
    "pseudo_labels",
    "train_segmenter",
    "evaluate",
    "segment_slides",
    "export_slides",
    "register",
    "gate",
)
TRACKED = ("train_classifier", "train_segmenter", "evaluate", "gate")
"""Stages that show what they find; `register` is tracking itself."""


def main(arguments: Sequence[str]) -> None:
    """Parse the command line and run the stage."""
    parser = argparse.ArgumentParser(prog="python -m pipelines", description=__doc__)
    parser.add_argument("stage", choices=STAGES)
    parser.add_argument("gate", nargs="?", choices=GATES, help="which gate, of stage gate")
    chosen = parser.parse_args(arguments)
    if (chosen.stage == "gate") != (chosen.gate is not None):
        parser.error("stage gate needs the name of a gate, and no other stage takes one")
    stage = import_module(f"pipelines.{chosen.stage}").main
    if chosen.gate is not None:
        stage = partial(stage, chosen.gate)
    run_stage(partial(stage, tracker=Tracker()) if chosen.stage in TRACKED else stage)


if __name__ == "__main__":
    started = Path(sys.argv[0]).stem  # the stage's own module, if that was started
    main(([started] if started in STAGES else []) + sys.argv[1:])
