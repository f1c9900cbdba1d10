"""The study of false alarms: what it compares, and the interval it states."""

from functools import partial

import numpy as np
import pandas as pd
import pytest

from studies import likeness as study
from wsss_mm.patches.images import write_image
from wsss_mm.patches.likeness import appearance_of
from wsss_mm.slides.phantom.cohort import generate_slide

SIZE = 96


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


def test_slides_of_the_same_kind_are_compared(tmp_path, monkeypatch):
    """Patches of two phantom slides; a third is of the same kind, and with red and blue exchanged it is not."""
    seeds = np.random.SeedSequence(5).spawn(4)
    slides = [generate_slide(1024, seed)[0][::2, ::2] for seed in seeds[:3]]
    windows = [[*study._windows(slide, SIZE)] for slide in slides[:2]]
    patches = [(str(name), partial(np.asarray, one)) for name, own in enumerate(windows) for one in own]
    appearance = appearance_of(patches, SIZE)
    monkeypatch.setattr(study.places, "PATCHES", tmp_path)
    for name, picture in (("same.png", slides[2]), ("other.png", slides[2][..., ::-1])):
        write_image(tmp_path / name, np.ascontiguousarray(picture))
    rows = pd.DataFrame({"slide_id": ["same", "other"], "path": ["same.png", "other.png"], "mpp": 1.0})
    found = {one["slide"]: one["figures"]["unlikeness"]["found"] for one in study.of_patches(rows, appearance)}
    assert set(found) == {"same", "other"}
    assert found["other"] > 1.5 * found["same"]
    (new,) = study.of_phantom(seeds[3:], 512, appearance, 1.0)
    assert new["figures"]["unlikeness"]["found"] < found["other"]
    assert new["windows"] >= 4
