"""What a GPU makes of this project: rates, memory and shares of the device's ceilings, in minutes.

Sections: ceilings (products of matrices and copies), steps (an optimisation step of both networks in several
precisions), large (an encoder of 300 million parameters), loss (what ONSS and the attention add), cams (pseudo-labels
against bare forward passes), slides (end to end, the network alone, reading alone) and training (from disk, against
the same step from memory). A part that fails says so in a line, and the others go on.

    python -m benchmarks.gpu --out gpu.jsonl --cohort FOLDER
    python -m benchmarks.gpu --device cpu --tiny     # whether it runs, on any machine
"""

import argparse
import os
import platform
import signal
import sys
import time
import warnings
from pathlib import Path
from typing import Any

os.environ.setdefault("TQDM_DISABLE", "1")  # read when tqdm is imported

import torch

from benchmarks import gpu_slides, gpu_steps
from benchmarks.gpu_bench import Bench, Report
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
_GRACE = 1.75  # of a section's seconds: then what runs is cut


def _cut(*_: Any) -> None:
    raise TimeoutError("cut, it took far longer than its section may")


def run(bench: Bench, names: list[str]) -> None:
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


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="+", choices=SECTIONS, default=list(SECTIONS), metavar="SECTION")
    parser.add_argument("--seconds", type=float, default=40, help="of each section (default: %(default)s)")
    parser.add_argument("--out", type=Path, help="file that gets a line of JSON for each row")
    parser.add_argument("--device", default=choose_device(), help="of torch (default: %(default)s)")
    parser.add_argument("--tiny", action="store_true", help="sizes that only show whether it runs")
    parser.add_argument("--slide-size", type=int, help="px at 0.25 um/px (default: 8192)")
    parser.add_argument("--mpp", type=float, default=0.5, help="of the slide's map, um/px (default: %(default)s)")
    parser.add_argument("--cohort", type=Path, help="folder with params.yaml, for the trainings")
    parser.add_argument("--patches", type=Path, default=Path("data/patches"), help="in it (default: %(default)s)")
    parser.add_argument("--iterations", type=int, default=200, help="of a training (default: %(default)s)")
    arguments = parser.parse_args()
    if arguments.slide_size is None:
        arguments.slide_size = 1024 if arguments.tiny else 8192
    warnings.simplefilter("ignore")
    signal.signal(signal.SIGALRM, _cut)
    bench = Bench(arguments.device, Report(arguments.out), arguments.seconds, arguments.tiny, arguments)
    card = torch.cuda.get_device_name() if bench.on_gpu else platform.processor() or platform.machine()
    bench.report.say(f"{card}, {os.cpu_count()} cores, torch {torch.__version__}, Python {platform.python_version()}")
    run(bench, arguments.only)


if __name__ == "__main__":
    sys.exit(main())
