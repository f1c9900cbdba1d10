"""Time of a training step of ResNet38 on this CPU: bfloat16 over float32, by turns in one run, in CPU time.

OMP_NUM_THREADS=1 python -m benchmarks.precision
"""

import sys
from collections.abc import Iterator
from functools import partial

import torch
from torch import nn

from benchmarks.command import Option, by_turns, run
from benchmarks.rows import Measurement
from wsss_mm.models import ResNet38

OPTIONS = {
    "width": Option(0.125, 0.0625, "of the network"),
    "batch": Option(8, 1, "patches"),
    "size": Option(224, 224, "px of a patch"),
}


def step(network: nn.Module, images: torch.Tensor, *, rounded: bool) -> None:
    """Forward and backward."""
    with torch.autocast("cpu", torch.bfloat16, enabled=rounded):
        (features,) = network(images)
    features.float().mean().backward()


def measure(arguments) -> Iterator[Measurement]:
    torch.manual_seed(0)
    network, images = ResNet38(arguments.width).train(), torch.randn(arguments.batch, 3, arguments.size, arguments.size)
    own, over = by_turns(
        *(partial(step, network, images, rounded=rounded) for rounded in (True, False)), repeats=arguments.repeats
    )
    what = f"step of ResNet38 of width {arguments.width:g} in bf16, {arguments.batch} patches of {arguments.size} px"
    yield Measurement(what, own, "s", over=over, over_what="the step in fp32")


if __name__ == "__main__":
    sys.exit(run(measure, OPTIONS))
