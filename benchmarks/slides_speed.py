"""End-to-end time of a slide over the time the same network needs for the same windows in memory; target at most 1.10.

By turns in one process. On a machine that others use, the ratio of CPU times is the one to trust: it is what the ratio
is where all cores are busy. The network is a ResNet38 PSPNet with random weights (its speed does not depend on them),
the slide is one of the phantom cohort.

    python -m benchmarks.slides_speed
"""

import os
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

os.environ.setdefault("GOMP_SPINCOUNT", "1000")  # as in the pipeline; read when torch is imported

import numpy as np
import torch

from benchmarks.command import Option, cores, run
from benchmarks.networks import random_model
from benchmarks.rows import Measurement
from wsss_mm.files import digest
from wsss_mm.slides.phantom import generate_cohort
from wsss_mm.wsi import SlideModel, segment_slide

OPTIONS = {
    "size": Option(8192, 1344, "of the slide, px at 0.5 um/px"),
    "width": Option(0.125, 0.0625, "of the network"),
    "readers": Option(2, 2, "threads that read ahead"),
    "batch_size": Option(16, 16, "windows at a time"),
    "precision": Option("auto", "auto", "auto, fp32 or bf16"),
}
_MOST = 256  # windows of which the probabilities are held


def _clocks() -> np.ndarray:
    """Seconds on the wall, and of all cores in this process."""
    return np.array([time.perf_counter(), time.process_time()])


def measure(arguments) -> Iterator[Measurement]:
    torch.set_num_threads(cores())
    options: dict[str, Any] = {"batch_size": arguments.batch_size, "readers": arguments.readers, "progress": False}
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        random_model(folder / "model", arguments.width)
        model = SlideModel.from_folder(folder / "model", precision=arguments.precision)
        generate_cohort(folder / "cohort", {"test": 1}, arguments.size, seed=0, workers=1, progress=False)
        slide = next((folder / "cohort" / "slides").iterdir())
        batches: list[np.ndarray] = []

        def keeping(images: np.ndarray) -> np.ndarray:
            batches.append(images)
            return model.predict(images)

        segment_slide(slide, replace(model, predict=keeping), folder / "warm-up", **options)
        windows = sum(map(len, batches))
        several = max(1, _MOST // arguments.batch_size)  # so that no core waits for another between batches
        groups = [np.concatenate(batches[first : first + several]) for first in range(0, len(batches), several)]
        whole, network = [], []
        for number in range(arguments.repeats):
            start = _clocks()
            segment_slide(slide, model, folder / f"out-{number}", **options)
            middle = _clocks()
            for group in groups:
                model.predict(group)
            whole.append(middle - start)
            network.append(_clocks() - middle)
        if len({digest(folder / f"out-{number}" / "segmentation.tif") for number in range(arguments.repeats)}) != 1:
            sys.exit("the runs gave different maps")
    what = f"a slide end to end, {windows} windows, width {arguments.width:g}, {model.precision}"
    for clock, name in enumerate(("wall", "CPU")):
        yield Measurement(
            f"{what}, {name}",
            [times[clock] for times in whole],
            "s",
            over=[times[clock] for times in network],
            over_what="the same network on the same windows in memory",
            at_most=1.1,
        )


if __name__ == "__main__":
    sys.exit(run(measure, OPTIONS))
