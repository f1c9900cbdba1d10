"""Training from disk against the same network on tensors in memory, and what the method adds to a step.

* Images a second of the trainings themselves (`train_classifier`, and `train_segmenter` on masks): an iteration from
  files to the updated weights, and in turn a step of the same network and optimizer on the batch that it just read.
  Iterations that follow a validation do not count.
* A step with the noise suppression of the loss (ONSS), or the attention (PDA), over the same step without.

CPU time where there is no GPU, with the data loaded in the training's own process, so that all of it counts.

    OMP_NUM_THREADS=1 GOMP_SPINCOUNT=1000 python -m benchmarks.training_step
"""

import sys
import tempfile
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.command import Clock, Option, by_turns, clock_of, clocked, run
from benchmarks.networks import batch_of, build, step_of, switched
from benchmarks.rows import Measurement
from studies.rows import with_values
from wsss_mm.engine import Paths, train_classifier, train_segmenter
from wsss_mm.engine.loop import PiecewiseTrainLoop
from wsss_mm.inference.runtime import choose_device
from wsss_mm.patches import get_vocabulary, write_manifest
from wsss_mm.patches.images import store_patch
from wsss_mm.patches.manifest import build_manifest
from wsss_mm.patches.truth import classes_in
from wsss_mm.settings import load_profile
from wsss_mm.slides.phantom.cohort import generate_slide

SIZE = 224
OPTIONS = {
    "networks": Option(
        ("resnet38:0.125", "efficientnet_lite0", "resnet38:1"),
        ("resnet38:0.0625", "efficientnet_lite0"),
        "that are trained: an encoder, :WIDTH of resnet38",
    ),
    "width": Option(0.125, 0.0625, "of ResNet38, for ONSS and PDA"),
    "batch": Option(8, 2, "patches"),
    "side": Option(1344, 672, "px of the phantom's slide whose patches are read"),
}
FULL, NARROW = 0.95, 0.85  # least of the rate in memory: of ResNet38 as published, and of quicker networks
ALWAYS = ("threads=1", "pseudo_labels.layer=last", "segmenter.init=none", "segmenter.loss=onss")
PARTS = {"segmenter": "noise suppression in its loss (ONSS)", "classifier": "progressive dropout attention (PDA)"}
VALID = 2  # patches
VOCABULARY = get_vocabulary("lung")


class Enough(Exception):
    """As many iterations as were wanted."""


def write_patches(folder: Path, side: int) -> None:
    """Patches of a phantom's slide with their masks, as files of a manifest."""
    image, labels = generate_slide(side, np.random.SeedSequence(0))
    rows = []
    for number, (y, x) in enumerate(np.ndindex(side // SIZE, side // SIZE)):
        place = slice(y * SIZE, (y + 1) * SIZE), slice(x * SIZE, (x + 1) * SIZE)
        split = "valid" if number < VALID else "train"
        kept = store_patch(folder, f"p-{number}", split, image=image[place], mask=labels[place], vocabulary=VOCABULARY)
        states = dict(zip(VOCABULARY.codes, classes_in(labels[place], len(VOCABULARY), 0.0), strict=True))
        where = {"slide_id": split, "patient_id": split, "site": None, "x": x * SIZE, "y": y * SIZE, "mpp": 1.0}
        rows.append({**kept, **where, "tissue": 1.0, "unsure": None, **states})
    write_manifest(build_manifest(rows, VOCABULARY, str(folder)), folder)


def trained(kind: str, network: str, folder: Path, arguments: Any, clock: Clock) -> tuple[list[float], list[float]]:
    """Seconds of iterations from disk, and of steps in memory beside them."""
    encoder, _, width = network.partition(":")
    values = [f"{kind}.encoder={encoder}", f"{kind}.batch_size={arguments.batch}"]
    values += [f"{kind}.width={width}"] if width else []
    params = with_values(load_profile("phantom"), [*values, *ALWAYS])
    disk: list[float] = []
    memory: list[float] = []
    usual, began = PiecewiseTrainLoop.run_iter, clock()

    def run_iter(loop: Any, data_batch: Any) -> None:
        nonlocal began
        number, wrapper = loop.iter, loop.runner.optim_wrapper
        usual(loop, data_batch)
        whole = clock() - began
        alone = clocked(lambda: loop.runner.model.train_step(data_batch, optim_wrapper=wrapper), clock)
        if number % loop.val_interval and number > 1:  # the first warm up
            disk.append(whole)
            memory.append(alone)
        if len(disk) >= arguments.repeats:
            raise Enough
        began = clock()

    PiecewiseTrainLoop.run_iter = run_iter  # ty: ignore[invalid-assignment]  to take its time
    paths = Paths(folder, folder / "model", folder / "curves.csv", work=folder / f"work-{kind}-{network}")
    try:
        if kind == "classifier":
            train_classifier(params, paths, tracked=False)
        else:
            train_segmenter(params, paths, target="masks")
    except Enough:
        pass
    finally:
        PiecewiseTrainLoop.run_iter = usual
        torch.use_deterministic_algorithms(False)
    return disk, memory


def measure(arguments: Any) -> Iterator[Measurement]:
    device = choose_device()
    clock = clock_of(device)
    with tempfile.TemporaryDirectory() as place:
        write_patches(Path(place), arguments.side)
        for network in arguments.networks:
            for kind in ("classifier", "segmenter"):
                disk, memory = trained(kind, network, Path(place), arguments, clock)
                yield Measurement(
                    f"training of a {kind}, {network.replace(':', ' of width ')}, batches of {arguments.batch}",
                    [arguments.batch / seconds for seconds in disk],
                    "images/s",
                    over=[arguments.batch / seconds for seconds in memory],
                    over_what="the same network on tensors in memory",
                    at_least=FULL if network == "resnet38:1" else NARROW,
                )
    for kind, part in PARTS.items():
        values = {"loss": "onss"} if kind == "segmenter" else {"attention": "published"}
        model: Any = build(kind, width=arguments.width, **values).to(device)
        step = step_of(model, *batch_of(kind, arguments.batch, SIZE, device), bf16=False)
        own, without = by_turns(
            *(partial(switched, model, step, on) for on in (True, False)), repeats=arguments.repeats, clock=clock
        )
        yield Measurement(
            f"step of a {kind} with {part}, width {arguments.width:g}, batches of {arguments.batch}",
            own,
            "s",
            over=without,
            over_what="the step without",
            at_most=1.03,
        )


if __name__ == "__main__":
    sys.exit(run(measure, OPTIONS))
