"""What a GPU makes of this project: rates, memory and shares of the device's ceilings, in minutes.

Sections: ceilings (products of matrices and copies), steps (an optimisation step of both networks in several
precisions), large (an encoder of 300 million parameters), loss (what ONSS and the attention add), cams (pseudo-labels
against bare forward passes), slides (end to end, the network alone, reading alone) and training (from disk, against
the same step from memory). A part that fails says so in a line, and the others go on.

    python -m benchmarks.gpu --out gpu.jsonl --cohort FOLDER
    python -m benchmarks.gpu --device cpu --quick     # whether it runs, on any machine
"""

import os
import platform
import signal
import sys
import time
import warnings
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

os.environ.setdefault("TQDM_DISABLE", "1")  # read when tqdm is imported

import torch

from benchmarks import gpu_slides, gpu_steps
from benchmarks.command import Missing, Option, run
from benchmarks.gpu_bench import Bench, Report
from benchmarks.rows import Measurement
from wsss_mm.inference.runtime import choose_device

SECTIONS = {
    "ceilings": gpu_steps.ceilings,
    "steps": gpu_steps.steps,
    "large": gpu_steps.large,
    "loss": gpu_steps.loss,
    "cams": gpu_steps.cams,
    "slides": gpu_slides.slides,
    "training": gpu_slides.training,
}
OPTIONS = {
    "only": Option(tuple(SECTIONS), tuple(SECTIONS), "sections"),
    "seconds": Option(40.0, 40.0, "of each section"),
    "out": Option(None, None, "file that gets a line of JSON for each line of the tables", kind=Path),
    "device": Option("", "", "of torch; the GPU that there is"),
    "slide_size": Option(8192, 1024, "px at 0.25 um/px"),
    "mpp": Option(0.5, 0.5, "of the slide's map, um/px"),
    "cohort": Option(None, None, "folder with params.yaml, for the trainings", kind=Path),
    "patches": Option(Path("data/patches"), Path("data/patches"), "in it", kind=Path),
    "iterations": Option(200, 200, "of a training"),
}
_GRACE = 1.75  # of a section's seconds: then what runs is cut


def _cut(*_: Any) -> None:
    raise TimeoutError("cut, it took far longer than its section may")


def run_sections(bench: Bench, names: list[str]) -> None:
    for name in names:
        start = time.perf_counter()
        bench.begin()
        bench.clear()
        bench.report.say(f"\n## {name}")
        try:
            signal.setitimer(signal.ITIMER_REAL, _GRACE * bench.seconds)
            SECTIONS[name](bench)
        except Exception as error:
            bench.report.failed(name, "all", error)
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
        bench.report.say(f"\n{name}: {time.perf_counter() - start:.0f} s")


def measure(arguments: Any) -> Iterator[Measurement]:
    device = arguments.device or choose_device()
    if device == "cpu" and not arguments.device:
        raise Missing("no GPU on this machine; --device cpu only shows whether it runs")
    if unknown := sorted({*arguments.only} - {*SECTIONS}):
        sys.exit(f"{unknown[0]} is none of {', '.join(SECTIONS)}")
    warnings.simplefilter("ignore")
    signal.signal(signal.SIGALRM, _cut)
    bench = Bench(device, Report(arguments.out), arguments.seconds, arguments.quick, arguments)
    card = torch.cuda.get_device_name() if bench.on_gpu else platform.processor() or platform.machine()
    bench.report.say(f"{card}, {os.cpu_count()} cores, torch {torch.__version__}, Python {platform.python_version()}")
    run_sections(bench, list(arguments.only))
    for one in bench.measured:
        yield replace(one, what=f"{one.what}, {card}")


if __name__ == "__main__":
    sys.exit(run(measure, OPTIONS))
