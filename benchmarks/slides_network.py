"""Time of a window on one core: the network as trained, as slides use it, and in bfloat16; and how far they agree.

In CPU time, by turns in one process. With a trained model and a slide the labels that agree mean something:

    python -m benchmarks.slides_network --model models/segmenter --slide data/cohort/slides/phantom-test-01.tiff
"""

import sys
import tempfile
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import cv2
import numpy as np
import torch

from benchmarks.command import Option, by_turns, run
from benchmarks.networks import random_model
from benchmarks.rows import Measurement
from wsss_mm.models import Segmenter, load_model
from wsss_mm.slides import open_slide
from wsss_mm.wsi.cores import predict_by_window

WINDOW = 224
OPTIONS = {
    "model": Option(None, None, "folder of a segmenter; an untrained one of `width` without", kind=Path),
    "slide": Option(None, None, "where windows come from; noise without", kind=Path),
    "width": Option(0.125, 0.0625, "of an untrained network"),
    "count": Option(16, 4, "windows"),
}


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


def measure(arguments) -> Iterator[Measurement]:
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as place:
        if arguments.model is None:
            random_model(Path(place), arguments.width)
        network, info = load_model(arguments.model or Path(place))
    windows = windows_of(arguments.slide, info["mpp"], arguments.count)
    ways = {
        "as trained, fp32": as_trained(network, None),
        "as slides use it, fp32": predict_by_window(network, 1, None),
        "as trained, bf16": as_trained(network, torch.bfloat16),
        "as slides use it, bf16": predict_by_window(network, 1, torch.bfloat16),
    }
    found = {name: predict(windows) for name, predict in ways.items()}
    times = by_turns(*(partial(predict, windows) for predict in ways.values()), repeats=arguments.repeats)
    exact, bound = found["as trained, fp32"], [1000 * seconds / len(windows) for seconds in times[0]]
    grey = np.stack([cv2.cvtColor(window, cv2.COLOR_RGB2GRAY) for window in windows])
    tissue = grey <= 210 if arguments.slide else np.ones_like(grey, bool)
    which = f"{'an untrained' if arguments.model is None else 'the'} segmenter of width {info['width']:g}"
    for name, seconds in list(zip(ways, times, strict=True))[1:]:
        what = f"a window by {which}, {name}"
        own = [1000 * value / len(windows) for value in seconds]
        yield Measurement(what, own, "ms", over=bound, over_what="as trained, fp32")
        same = (found[name].argmax(1) == exact.argmax(1))[tissue].mean()
        yield Measurement(f"{what}: labels that agree", [100 * same] * arguments.repeats, "%")


if __name__ == "__main__":
    sys.exit(run(measure, OPTIONS))
