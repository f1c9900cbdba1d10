"""What pseudo-labels cost beside the network: CAM + background + vote over bare forward passes at the same scales.

Both are timed in turn in one run, on the same patches; the ratio is the median over the repeats. The target is
1.15, in CPU time where there is no GPU.

    OMP_NUM_THREADS=1 GOMP_SPINCOUNT=1000 python -m benchmarks.cam_cost --quick
"""

import sys

import numpy as np
import torch
from torch.nn import functional

from benchmarks.command import Option, by_turns, clock_of, run
from benchmarks.rows import Measurement
from wsss_mm.cam import PseudoLabeller
from wsss_mm.inference.runtime import choose_device
from wsss_mm.models.classifier import PatchClassifier

SIZE, CLASSES = 224, 4
OPTIONS = {
    "width": Option(0.125, 1 / 16, "of ResNet38; 1 is the published network"),
    "batch": Option(4, 2, "patches"),
    "layers": Option(("bn7",), ("bn7",), "of which the maps are"),
}


def build(width):
    torch.manual_seed(0)
    normalisation = {"type": "ImgDataPreprocessor", "mean": [123.675, 116.28, 103.53], "std": [58.395, 57.12, 57.375]}
    model = PatchClassifier({"type": "wsss_mm.ResNet38", "width": width}, CLASSES, data_preprocessor=normalisation)
    return model.eval()


@torch.inference_mode()
def forward_passes(model, images, scales, device):
    batch = torch.tensor(images, device=device).permute(0, 3, 1, 2).float()
    for scale in scales:
        size = round(SIZE * scale)
        model.predict(functional.interpolate(batch, size=(size, size), mode="bilinear", align_corners=False))


def measure(arguments):
    device = choose_device()
    model = build(arguments.width).to(device)
    images = np.random.default_rng(0).integers(0, 255, (arguments.batch, SIZE, SIZE, 3), dtype=np.uint8)
    label_sets = np.ones((len(images), CLASSES), dtype=bool)
    for layer in arguments.layers:
        labeller = PseudoLabeller(model, layer=layer)
        labels, forward = by_turns(
            lambda labeller=labeller: labeller(images, label_sets),
            lambda labeller=labeller: forward_passes(model, images, labeller.scales, device),
            repeats=arguments.repeats,
            clock=clock_of(device),
        )
        yield Measurement(
            f"CAM, background and vote, {CLASSES} classes, ResNet38 of width {arguments.width:g}, {layer}",
            [value / arguments.batch for value in labels],
            "s a patch",
            over=[value / arguments.batch for value in forward],
            over_what="three forward passes alone",
            at_most=1.15,
        )


if __name__ == "__main__":
    sys.exit(run(measure, OPTIONS))
