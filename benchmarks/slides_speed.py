"""End-to-end time of a slide over the time the same network needs for the same windows in memory; target at most 1.10.

Both are measured in turn in one process, `--rounds` times; the table gives medians. On a machine that others use, the
ratio of CPU times is the one to trust: it is what the ratio is where all cores are busy. The network is a ResNet38
PSPNet with random weights (its speed does not depend on them), the slide is one of the phantom cohort.

    python -m benchmarks.slides_speed
"""

import argparse
import logging
import os
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

os.environ.setdefault("GOMP_SPINCOUNT", "1000")  # as in the pipeline; read when torch is imported

import numpy as np
import torch

from benchmarks.networks import random_model
from wsss_mm.files import digest
from wsss_mm.slides.phantom import generate_cohort
from wsss_mm.wsi import SlideModel, segment_slide

logger = logging.getLogger("benchmarks.slides_speed")

_MOST = 256  # windows of which the probabilities are held


def _clocks() -> np.ndarray:
    """Seconds on the wall, and of all cores in this process."""
    return np.array([time.perf_counter(), time.process_time()])


def main() -> None:
    """Measure and print a row of the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", type=int, default=8192, help="of the slide, px at 0.5 um/px")
    parser.add_argument("--width", type=float, default=0.125, help="of the network")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--readers", type=int, default=2)
    parser.add_argument("--batch-size", type=int, default=16)
    parser.add_argument("--precision", choices=("auto", "fp32", "bf16"), default="auto")
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    torch.set_num_threads(os.cpu_count() or 1)
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
        several = _MOST // arguments.batch_size  # so that no core waits for another between batches
        groups = [np.concatenate(batches[first : first + several]) for first in range(0, len(batches), several)]
        whole, network = [], []
        for number in range(arguments.rounds):
            start = _clocks()
            segment_slide(slide, model, folder / f"out-{number}", **options)
            middle = _clocks()
            for group in groups:
                model.predict(group)
            whole.append(middle - start)
            network.append(_clocks() - middle)
            logger.info("end to end %.2f s (CPU %.2f s), network %.2f s (CPU %.2f s)", *whole[-1], *network[-1])
        maps = {digest(folder / f"out-{number}" / "segmentation.tif") for number in range(arguments.rounds)}
    ratios = np.median(np.array(whole) / np.array(network), axis=0)
    logger.info("| windows | end to end, s | network alone, s | ratio | ratio of CPU times |\n|---|---|---|---|---|")
    logger.info(
        "| %d | %.2f | %.2f | %.3f | %.3f |", windows, np.median(whole, 0)[0], np.median(network, 0)[0], *ratios
    )
    if len(maps) != 1:
        raise SystemExit("the rounds gave different maps")


if __name__ == "__main__":
    main()
