"""What pseudo-labels cost beside the network: CAM + background + vote over bare forward passes at the same scales.

Both are timed in turn in one run, on the same patches; the ratio is the median over the repeats. The target is
1.15, in CPU time where there is no GPU. Each run adds a row to `reports/benchmarks.jsonl`.

    OMP_NUM_THREADS=1 GOMP_SPINCOUNT=1000 python -m benchmarks.cam_cost --quick
"""

import argparse
import sys
import time

import numpy as np
import torch
from torch.nn import functional

from benchmarks.rows import append_row, measured_row
from wsss_mm.cam import PseudoLabeller
from wsss_mm.inference.runtime import choose_device
from wsss_mm.models.classifier import PatchClassifier

SIZE, CLASSES, TARGET = 224, 4, 1.15


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


def seconds(clock, function, *arguments):
    start = clock()
    function(*arguments)
    return clock() - start


def measure(layer, model, images, repeats, device):
    """Seconds of the passes and of the labels, by turns."""
    clock = time.perf_counter if device == "cuda" else time.process_time
    labeller = PseudoLabeller(model, layer=layer)
    label_sets = np.ones((len(images), CLASSES), dtype=bool)
    forward, labels = [], []
    for _ in range(repeats + 1):
        forward.append(seconds(clock, forward_passes, model, images, labeller.scales, device))
        labels.append(seconds(clock, labeller, images, label_sets))
    return forward[1:], labels[1:]  # the first warms up


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--width", type=float, default=0.125, help="of ResNet38; 1 is the published network")
    parser.add_argument("--batch", type=int, default=4, help="patches")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--layers", nargs="+", default=["bn7"], help="the target holds for bn7")
    parser.add_argument("--quick", action="store_true", help="two patches, width 1/16")
    arguments = parser.parse_args()
    if arguments.quick:
        arguments.width, arguments.batch = 1 / 16, 2
    device = choose_device()
    model = build(arguments.width).to(device)
    images = np.random.default_rng(0).integers(0, 255, (arguments.batch, SIZE, SIZE, 3), dtype=np.uint8)
    for layer in arguments.layers:
        forward, labels = measure(layer, model, images, arguments.repeats, device)
        row = measured_row(
            "cam",
            f"CAM, background and vote, {CLASSES} classes, ResNet38 of width {arguments.width:g}, {layer}",
            [value / arguments.batch for value in labels],
            "s a patch",
            over=[value / arguments.batch for value in forward],
            over_what="three forward passes alone",
            target=TARGET,
            quick=arguments.quick,
        )
        append_row(row)
        sys.stdout.write(f"{row['what']}: {row['value']:.4f} s a patch, ratio {row['ratio']:.3f} (at most {TARGET})\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
