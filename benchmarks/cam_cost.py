"""What pseudo-labels cost beside the network: CAM + background + vote over bare forward passes at the same scales.

Both are timed in turn in one run, on the same patches; the ratio is the median over the repeats. The bound is 2.

    python -m benchmarks.cam_cost --width 0.125
"""

import argparse
import statistics
import sys
import time

import numpy as np
import torch
from torch.nn import functional

from wsss_mm.cam import PseudoLabeller
from wsss_mm.inference.runtime import choose_device
from wsss_mm.models.classifier import PatchClassifier

SIZE, CLASSES, BOUND = 224, 4, 2.0


def build(width):
    torch.manual_seed(0)
    normalisation = {"type": "ImgDataPreprocessor", "mean": [123.675, 116.28, 103.53], "std": [58.395, 57.12, 57.375]}
    model = PatchClassifier({"type": "ResNet38", "width": width}, CLASSES, data_preprocessor=normalisation)
    return model.eval()


@torch.inference_mode()
def forward_passes(model, images, scales, device):
    batch = torch.tensor(images, device=device).permute(0, 3, 1, 2).float()
    for scale in scales:
        size = round(SIZE * scale)
        model.predict(functional.interpolate(batch, size=(size, size), mode="bilinear", align_corners=False))
    if device == "cuda":
        torch.cuda.synchronize()


def seconds(function, *arguments):
    start = time.perf_counter()
    function(*arguments)
    return time.perf_counter() - start


def measure(layer, model, images, repeats, device):
    """Median seconds of the passes and of the labels, and the median ratio of neighbours in time."""
    labeller = PseudoLabeller(model, layer=layer)
    label_sets = np.ones((len(images), CLASSES), dtype=bool)
    forward, labels = [], []
    for _ in range(repeats + 1):
        forward.append(seconds(forward_passes, model, images, labeller.scales, device))
        labels.append(seconds(labeller, images, label_sets))
    ratios = [label / passes for label, passes in zip(labels[1:], forward[1:], strict=True)]  # the first warms up
    return statistics.median(forward[1:]), statistics.median(labels[1:]), statistics.median(ratios)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--width", type=float, default=0.125, help="of ResNet38; 1 is the published network")
    parser.add_argument("--batch", type=int, default=4, help="patches")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--layers", nargs="+", default=["bn7"], help="the bound holds for bn7")
    arguments = parser.parse_args()
    device = choose_device()
    model = build(arguments.width).to(device)
    images = np.random.default_rng(0).integers(0, 255, (arguments.batch, SIZE, SIZE, 3), dtype=np.uint8)
    passed = True
    for layer in arguments.layers:
        forward, labels, ratio = measure(layer, model, images, arguments.repeats, device)
        passed &= layer != "bn7" or ratio < BOUND
        sys.stdout.write(
            f"width {arguments.width:g}, {layer}: three forward passes {forward / arguments.batch:.3f} s a patch, "
            f"CAM + vote {labels / arguments.batch:.3f} s, ratio {ratio:.2f}\n"
        )
    return 0 if passed else 1


if __name__ == "__main__":
    sys.exit(main())
