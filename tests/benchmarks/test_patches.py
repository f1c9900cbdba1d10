"""Cutting slides against a plain loop and against decoding."""

import numpy as np
import pytest

from benchmarks import patches
from benchmarks.command import settings
from wsss_mm.patches.images import read_image


@pytest.fixture
def cohort(tmp_path):
    return patches.make_cohort(tmp_path, 896, 0.5)


def test_the_loop_reads_the_patches_that_are_cut(cohort, tmp_path):
    own, plain = tmp_path / "own", tmp_path / "plain"
    own.mkdir()
    plain.mkdir()
    frame = patches.cut(cohort, own, 0.5)
    assert patches.loop(cohort, plain, 0.5) == len(frame) == 8
    for patch_id, path in zip(frame["patch_id"], frame["path"], strict=True):
        far = read_image(own / path).astype(int) - read_image(plain / f"{patch_id}.png")
        assert np.abs(far).mean() < 1


def test_rows_say_how_many_patches(monkeypatch):
    wall, cpu, once, png = patches.measure(settings(patches.OPTIONS, quick=True, side=896))
    assert wall.what.startswith("cutting 2 patches at 1 um/px of 2 slides")
    assert (wall.at_least, once.at_most, cpu.at_least, png.at_most) == (2, 1.5, None, None)
    assert png.over == once.over
