"""What decides: masks of many slides, masks of few together with label sets, or label sets alone; and what is said."""

from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
import pytest

from tests.choosing.test_search import CODES, Colours, _of, _windows
from wsss_mm.choosing import choose as module
from wsss_mm.choosing.choice import BY_LABELS, BY_MASKS
from wsss_mm.settings import load_profile

MIXED = [[1, 1, 0]] * 30 + [[0, 1, 1]] * 20 + [[0, 1, 0]] * 5
PURE = [[1, 0, 0]] * 20 + [[0, 1, 0]] * 20 + [[0, 0, 1]] * 20


@dataclass(frozen=True)
class Trying:
    enabled: bool = True
    resamples: int = 100


@pytest.fixture
def settings():
    return load_profile("phantom").pseudo_labels.model_dump()


@pytest.fixture
def choose(monkeypatch, settings, tmp_path):
    def run(label_sets, windows):
        monkeypatch.setattr(module, "validation_windows", lambda *args, **kwargs: windows)
        manifest = pd.DataFrame(np.array(label_sets, bool), columns=list(CODES)).assign(split="train")
        how = {"settings": settings, "trying": Trying(), "least": 0.01, "placed": False, "seed": 0}
        return module.choose(Colours(loudness=0.1), manifest, tmp_path, CODES, **how)

    return run


def test_one_slide_with_a_huge_gain_leaves_params_yaml_and_the_reason_is_said(choose, settings):
    choice = choose(PURE, _of(_windows(), ["s0"]))
    assert choice.settings == settings
    assert (choice.by, choice.units, choice.few) == (BY_MASKS, 1, True)
    assert choice.says.startswith("masks of 1 validation slide, and fewer than 6 decide nothing alone")
    assert choice.says.endswith("label sets give no reason to leave the settings of params.yaml")


def test_one_slide_and_the_label_sets_agree(choose, settings):
    choice = choose(MIXED, _of(_windows(), ["s0"]))
    assert choice.settings == {**settings, "normalization": "class"}
    assert "normalization class: 91% of the training patches hold several classes" in choice.says
    assert "and masks agree" in choice.says


def test_masks_of_few_slides_can_refuse_what_label_sets_call_for(choose, settings):
    windows = _of(_windows(), ["s0", "s1"])
    choice = choose(MIXED, replace(windows, masks=np.where(windows.slides[:, None, None] == "s1", 0, windows.masks)))
    assert choice.settings == settings
    assert choice.says.endswith("call for normalization class, and masks do not confirm it: params.yaml stays")


def test_many_mixed_regions_decide_alone_whatever_label_sets_say(choose, settings):
    """Small mixed patches, and 80 regions with masks: normalising each class by itself is clearly better there."""
    choice = choose(PURE, _windows(80))
    assert choice.settings["normalization"] == "class"
    assert (choice.by, choice.unit, choice.units, choice.few) == (BY_MASKS, "slide", 80, False)
    assert "normalization class" in choice.says
    assert "clearly better than params.yaml on the validation masks" in choice.says


def test_without_masks_label_sets_decide(choose, settings):
    choice = choose(MIXED, None)
    assert choice.settings == {**settings, "normalization": "class"}
    assert choice.by == BY_LABELS
    assert choice.says.startswith("no validation masks; 91% of")
