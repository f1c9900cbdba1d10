"""The study of false alarms: what it compares, and the interval it states."""

from functools import partial

import numpy as np
import pandas as pd
import pytest

from studies import likeness as study
from tests.patches.test_likeness import SIDE, tissue
from wsss_mm.patches.images import write_image
from wsss_mm.patches.likeness import appearance_of


def test_the_interval_is_that_of_clopper_and_pearson():
    """Of none in n the upper end is 1 - 0.025^(1/n); 3 of 20 is in their tables."""
    like = {"slide": "s", "warning": None, "figures": {"unlikeness": {"found": 2.0}}}
    unlike = like | {"warning": "odd"}
    found = study.alarms([like] * 34)
    assert (found["low"], found["high"]) == pytest.approx((0, 1 - 0.025 ** (1 / 34)))
    found = study.alarms([like] * 17 + [unlike] * 3)
    assert (found["slides"], found["alarms"], found["share"]) == (20, 3, 0.15)
    assert (found["low"], found["high"]) == pytest.approx((0.0321, 0.3789), abs=1e-4)
    assert study.alarms([unlike])["high"] == 1.0
    assert found["warnings"] == ["s: odd"] * 3


def test_slides_of_the_same_kind_are_like_the_training(tmp_path, monkeypatch):
    """Slides of four windows each; one with red and blue exchanged, and one of the phantom, are of another kind."""
    patches = [(str(number), partial(tissue, number)) for number in range(60)]
    appearance = appearance_of(patches, SIDE)
    monkeypatch.setattr(study.places, "PATCHES", tmp_path)
    for name, number, order in (("same", 80, 1), ("other", 81, -1), ("small", 82, 1)):
        side = SIDE if name == "small" else 2 * SIDE + 5
        write_image(tmp_path / f"{name}.png", np.ascontiguousarray(tissue(number, side=side)[..., ::order]))
    rows = pd.DataFrame({"slide_id": ["same", "other", "small"], "mpp": 1.0})
    found = [*study.of_patches(rows.assign(path=rows["slide_id"] + ".png"), appearance)]
    assert [(one["slide"], one["windows"], one["warning"] is None) for one in found] == [
        ("other", 4, False),
        ("same", 4, True),
    ]
    (new,) = study.of_phantom(np.random.SeedSequence(5).spawn(1), 512, appearance, 1.0)
    assert new["windows"] >= 4
    assert study.alarms([*found, new])["slides"] == 3
