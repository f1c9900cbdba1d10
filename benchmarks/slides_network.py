"""Time of a window on one core: the network as trained, as slides use it, and in bfloat16; and how far they agree.

Medians of CPU time, in turns in one process. With a trained model and a slide the labels that agree mean something:

    python -m benchmarks.slides_network --model models/segmenter --slide data/cohort/slides/phantom-test-01.tiff
"""

import argparse
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import torch

from benchmarks.networks import random_model
from wsss_mm.models import Segmenter, load_model
from wsss_mm.slides import open_slide
from wsss_mm.wsi.cores import predict_by_window

WINDOW, ROUNDS = 224, 5


def as_trained(network: Segmenter, reduced: torch.dtype | None) -> Callable[[np.ndarray], np.ndarray]:
    @torch.inference_mode()
    def predict(windows: np.ndarray) -> np.ndarray:
        with torch.autocast("cpu", reduced, enabled=reduced is not None):
            images = torch.from_numpy(windows).permute(0, 3, 1, 2)
            found = [network.predict_probabilities(image.contiguous()) for image in images.split(1)]
        return torch.cat(found).float().numpy()

    return predict


def windows_of(slide: Path | None, mpp: float, count: int) -> np.ndarray:
    """Windows spread over a slide, or noise."""
    if slide is None:
        return np.random.default_rng(0).integers(0, 256, (count, WINDOW, WINDOW, 3), np.uint8)
    with open_slide(slide) as reader:
        side = int(np.ceil(np.sqrt(count)))
        far = [length - WINDOW * mpp / reader.mpp for length in reader.size]
        x, y = (np.linspace(0, end, side) for end in far)
        return np.stack([reader.read(left, top, WINDOW, mpp) for top in y for left in x][:count])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, help="folder of a segmenter (default: an untrained one of width 1/8)")
    parser.add_argument("--slide", type=Path, help="where windows come from (default: noise)")
    parser.add_argument("--count", type=int, default=16, help="windows (default: %(default)s)")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as place:
        if arguments.model is None:
            random_model(Path(place), 0.125)
        network, info = load_model(arguments.model or Path(place))
    windows = windows_of(arguments.slide, info["mpp"], arguments.count)
    ways = {
        "as trained, fp32": as_trained(network, None),
        "as slides use it, fp32": predict_by_window(network, 1, None),
        "as trained, bf16": as_trained(network, torch.bfloat16),
        "as slides use it, bf16": predict_by_window(network, 1, torch.bfloat16),
    }
    found = {name: predict(windows) for name, predict in ways.items()}
    times: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(ROUNDS):
        for name, predict in ways.items():
            start = time.process_time()
            predict(windows)
            times[name].append((time.process_time() - start) / len(windows) * 1000)
    exact = found["as trained, fp32"]
    grey = np.stack([cv2.cvtColor(window, cv2.COLOR_RGB2GRAY) for window in windows])
    tissue = grey <= 210 if arguments.slide else np.ones_like(grey, bool)
    for name, probabilities in found.items():
        same = (probabilities.argmax(1) == exact.argmax(1))[tissue].mean()
        sys.stdout.write(
            f"| {name} | {statistics.median(times[name]):.1f} ms | {np.abs(probabilities - exact).max():.0e} "
            f"| {100 * same:.2f} % |\n"
        )


if __name__ == "__main__":
    main()
