"""Training from disk against the same network in memory, and what the method adds to a step."""

import pytest
import torch

from benchmarks import training_step
from benchmarks.command import settings
from benchmarks.networks import batch_of, build, step_of, switched
from wsss_mm.engine.loop import PiecewiseTrainLoop
from wsss_mm.patches import read_manifest
from wsss_mm.patches.images import read_image

TINY = {"networks": ("resnet38:0.03125",), "width": 0.03125, "batch": 2, "side": 672}


def test_patches_are_those_of_a_cohort(tmp_path):
    training_step.write_patches(tmp_path, 448)
    frame = read_manifest(tmp_path, training_step.VOCABULARY)
    assert sorted(frame["split"]) == ["train", "train", "valid", "valid"]
    assert frame[list(training_step.VOCABULARY.codes)].any(axis=None)
    assert read_image(tmp_path / frame["path"].iloc[0]).shape == (224, 224, 3)


def test_all_rows_are_measured_and_the_loop_is_as_before():
    usual = PiecewiseTrainLoop.run_iter
    disk, segmenter, onss, attention = training_step.measure(settings(training_step.OPTIONS, quick=True, **TINY))
    assert PiecewiseTrainLoop.run_iter is usual
    assert not torch.are_deterministic_algorithms_enabled()
    assert disk.what == "training of a classifier, resnet38 of width 0.03125, batches of 2"
    assert segmenter.row()["ratio"] < 1.5  # reading takes time
    assert (disk.at_least, onss.at_most, attention.at_most) == (0.85, 1.03, 1.03)


@pytest.mark.parametrize("kind", ["segmenter", "classifier"])
def test_a_part_is_switched_on_and_off(kind):
    values = {"loss": "onss"} if kind == "segmenter" else {"attention": "published"}
    network = build(kind, width=1 / 32, **values)
    step = step_of(network, *batch_of(kind, 2, 64, "cpu"), bf16=False)
    seen = []

    def looking():
        seen.append(network.attention.epoch if kind == "classifier" else network.decode_head.loss_decode.suppressing)
        step()

    switched(network, looking, True)
    switched(network, looking, False)
    assert seen == ([10, 0] if kind == "classifier" else [True, False])
