"""What runs a stage: `python -m pipelines.STAGE`, or `python -m pipelines STAGE`, on params.yaml in the current folder.

The stages hand over to this module without importing it: what runs and tracks them is nothing that their outs rest on.
"""

import argparse
import inspect
import sys
from collections.abc import Sequence
from functools import partial
from importlib import import_module
from pathlib import Path

from pipelines import LINE
from pipelines.running import run_stage
from wsss_mm.gates import GATES
from wsss_mm.interrupts import run_program
from wsss_mm.tracking.tracker import Tracker

STAGES = tuple(
    sorted(
        path.stem
        for path in Path(__file__).parent.glob("[!_]*.py")
        if "\ndef main(" in path.read_text(encoding="utf-8")
    )
)
"""The modules of this folder that have a `main(params)`; one whose `main` takes a `tracker` shows what it finds."""


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
    run_stage(partial(stage, tracker=Tracker()) if "tracker" in inspect.signature(stage).parameters else stage)


def _program() -> None:
    started = Path(sys.argv[0]).stem  # the stage's own module, if that was started
    main(([started] if started in STAGES else []) + sys.argv[1:])


if __name__ == "__main__":
    run_program(_program, LINE)
