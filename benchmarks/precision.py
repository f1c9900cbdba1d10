"""Time of a training step of ResNet38 on this CPU: bfloat16 against float32, alternating in one run.

`python benchmarks/precision.py [--width 0.125] [--batch 8] [--size 224]`, with OMP_NUM_THREADS=1 for one thread.
Prints medians of CPU time, which other work disturbs less than wall time.
"""

import argparse
import statistics
import sys
import time

import torch

from wsss_mm.models import ResNet38

ROUNDS = 5


def step(network, images, rounded):
    start = time.process_time()
    with torch.autocast("cpu", torch.bfloat16, enabled=rounded):
        (features,) = network(images)
    features.float().mean().backward()
    return time.process_time() - start


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--width", type=float, default=0.125, help="of the network (default: %(default)s)")
    parser.add_argument("--batch", type=int, default=8, help="patches (default: %(default)s)")
    parser.add_argument("--size", type=int, default=224, help="px of a patch (default: %(default)s)")
    arguments = parser.parse_args()
    torch.manual_seed(0)
    network, images = ResNet38(arguments.width).train(), torch.randn(arguments.batch, 3, arguments.size, arguments.size)
    times = {"fp32": [], "bf16": []}
    for _ in range(ROUNDS):
        for name, found in times.items():
            found.append(step(network, images, name == "bf16"))
    fp32, bf16 = (statistics.median(found[1:]) for found in times.values())
    sys.stdout.write(f"fp32 {fp32:.2f} s, bf16 {bf16:.2f} s CPU a step: bf16 takes {bf16 / fp32:.2f} times as long\n")


if __name__ == "__main__":
    main()
