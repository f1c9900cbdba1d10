"""What is clearly better on masks is chosen, ties are not, and nothing is judged on what it was fitted on."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from wsss_mm.cam import PseudoLabeller
from wsss_mm.choosing.rules import LEAST_UNITS
from wsss_mm.choosing.search import LEAST_GAIN, Search, deeper, labels_alone
from wsss_mm.choosing.windows import Windows
from wsss_mm.evaluation.bootstrap import paired_interval
from wsss_mm.evaluation.confusion import confusion_matrix, confusion_metrics
from wsss_mm.models import PatchClassifier
from wsss_mm.settings import load_profile
from wsss_mm.vocabulary import IGNORE

CODES = ("A", "B", "C")
SIDE = 32


class Colours:
    """Three classes, a colour channel each; the last one is heard at `loudness` of the others."""

    def __init__(self, loudness=1.0):
        self.head_weight = torch.diag(torch.tensor([1.0, 1.0, loudness]))

    def normalize(self, images):
        return images / 255

    def features(self, images):
        return torch.nn.functional.avg_pool2d(images, 2)


def _windows(number=24, seed=0):
    """Windows of two classes each, one left, one right, on as many slides."""
    rng = np.random.default_rng(seed)
    masks = np.empty((number, SIDE, SIDE), np.uint8)
    for index in range(number):
        first, second = rng.choice(3, 2, replace=False)
        border = rng.integers(8, 24)
        masks[index, :, :border], masks[index, :, border:] = first, second
    images = (np.eye(3)[masks] * 140 + rng.integers(0, 30, (*masks.shape, 3))).astype(np.uint8)
    sets = np.array([[(mask == index).any() for index in range(3)] for mask in masks])
    names = np.array([f"s{index}" for index in range(number)], object)
    return Windows(images, masks, sets, names, names, names, None)


@pytest.fixture(scope="module")
def settings():
    return load_profile("phantom").pseudo_labels.model_dump()


def _search(model, windows, settings):
    return Search(model, windows, CODES, resamples=200, seed=0).run(settings)


def test_a_tie_keeps_the_published_settings(settings):
    found = _search(Colours(), _windows(), settings)
    assert found.settings == settings
    assert found.after == found.before
    assert {trial.element for trial in found.trials} == {
        "normalization",
        "method",
        "scales",
        "voting",
        "flips",
        "temperatures",
    }
    assert not any(trial.taken for trial in found.trials)


def test_a_class_that_is_outshone_gets_its_pixels_back(settings):
    found = _search(Colours(loudness=0.1), _windows(), settings)
    assert found.settings["normalization"] == "class"
    assert found.after > found.before + 0.1
    taken = [trial for trial in found.trials if trial.taken]
    assert taken[0].element == "normalization"
    assert taken[0].low > 0
    assert taken[0].gain >= LEAST_GAIN
    assert sum(trial.gain for trial in taken) == pytest.approx(found.after - found.before, abs=0.05)


def test_only_what_gating_allows_is_tried(settings):
    found = _search(Colours(0.3), _windows(), {**settings, "gating": "off"})
    assert "normalization" not in {trial.element for trial in found.trials}


def test_temperatures_are_judged_on_units_they_were_not_fitted_on(settings):
    """Labels without any sense can be fitted, but what is fitted gains nothing elsewhere."""
    windows = _windows(16)
    noise = np.random.default_rng(1).integers(0, 3, windows.masks.shape).astype(np.uint8)
    spoiled = Windows(
        windows.images, noise, np.ones((16, 3), bool), windows.slides, windows.slides, windows.patches, None
    )
    found = _search(Colours(0.3), spoiled, settings)
    assert next(trial for trial in found.trials if trial.element == "temperatures").verdict != "better"


def _of(windows, slides, patients=None):
    """The same windows, of as many slides as are named, in turns."""
    names = np.resize(np.array(slides, object), len(windows))
    return replace(windows, slides=names, patients=names if patients is None else np.resize(patients, len(windows)))


def test_one_slide_decides_nothing_however_large_the_gain(settings):
    windows = _of(_windows(), ["s0"])
    found = Search(Colours(loudness=0.1), windows, CODES, resamples=50, seed=0).run(settings)
    assert found.settings == settings
    assert (found.unit, found.units, found.few, found.after) == ("slide", 1, True, found.before)
    row = next(trial for trial in found.trials if trial.element == "normalization")
    assert row.gain > 0.1
    assert row.low == row.high == row.gain  # of the one slide
    assert {trial.verdict for trial in found.trials} == {"cannot tell"}
    assert "temperatures" not in {trial.element for trial in found.trials}


def test_few_slides_confirm_what_label_sets_call_for_and_nothing_else(settings):
    windows = _of(_windows(), [f"s{index}" for index in range(LEAST_UNITS - 1)])
    wanted = {"resamples": 50, "seed": 0, "called_for": {"normalization": "class"}}
    found = Search(Colours(loudness=0.1), windows, CODES, **wanted).run(settings)
    assert [trial.element for trial in found.trials if trial.taken] == ["normalization"]
    assert found.settings == {**settings, "normalization": "class"}


def test_one_slide_that_does_not_gain_is_enough_against_it(settings):
    windows = _of(_windows(), ["s0", "s1", "s2"])
    windows.masks[windows.slides == "s1"] = 0  # one class: nothing to gain
    wanted = {"resamples": 50, "seed": 0, "called_for": {"normalization": "class"}}
    found = Search(Colours(loudness=0.1), windows, CODES, **wanted).run(settings)
    row = next(trial for trial in found.trials if trial.element == "normalization")
    assert row.gain >= LEAST_GAIN
    assert row.low <= 0
    assert found.settings == settings


def test_a_slide_of_which_nothing_is_known_is_no_witness(settings):
    windows = _of(_windows(), ["s0", "s1"])
    windows.masks[windows.slides == "s1"] = IGNORE
    wanted = {"resamples": 50, "seed": 0, "called_for": {"normalization": "class"}}
    found = Search(Colours(loudness=0.1), windows, CODES, **wanted).run(settings)
    assert next(trial for trial in found.trials if trial.element == "normalization").low == 0
    assert found.settings == settings


def test_slides_of_one_patient_are_one_witness(settings):
    slides, patients = [f"s{index}" for index in range(8)], np.array(["p0", "p1"], object)
    search = Search(Colours(), _of(_windows(), slides, patients), CODES, resamples=50, seed=0)
    assert (search.unit, search.units) == ("patient", 2)


def test_settings_of_several_classifiers_are_judged_by_the_mean_of_their_maps(settings):
    """Each is scaled before the mean, so that what is shown follows from the normalisation that is tried."""
    windows, loud, deaf = _windows(), Colours(), Colours(loudness=0.2)
    found = Search(deaf, windows, CODES, resamples=50, seed=0, others=(loud, loud)).run(settings)
    tried = {trial.shown: trial.miou for trial in found.trials if trial.element == "normalization"}
    for normalization, miou in (("joint", found.before), *tried.items()):
        labeller = PseudoLabeller(deaf, others=(loud, loud), **{**settings, "normalization": normalization})
        labels = labeller(windows.images, windows.label_sets).labels
        known = labels != IGNORE
        counts = confusion_matrix(windows.masks[known], labels[known], len(CODES))
        assert confusion_metrics(counts, CODES)["miou"] == pytest.approx(miou, abs=1e-5)
    assert tried.keys() == {"class"}


@given(st.integers(0, 1000))
def test_the_paired_interval_of_equal_variants_is_nothing(seed):
    counts = np.random.default_rng(seed).integers(0, 50, (9, 3, 3))
    assert paired_interval(counts, counts, CODES, resamples=50) == (0, 0)


def test_the_paired_interval_is_that_of_the_same_draws():
    rng = np.random.default_rng(3)
    before, after = rng.integers(1, 50, (2, 7, 3, 3))
    draws = np.random.default_rng(0).multinomial(7, np.full(7, 1 / 7), size=100)
    gains = []
    for draw in draws:
        pair = [
            confusion_metrics(sum(n * m for n, m in zip(draw, counts, strict=True)), CODES)["miou"]
            for counts in (before, after)
        ]
        gains.append(pair[1] - pair[0])
    assert paired_interval(before, after, CODES, resamples=100) == pytest.approx(np.quantile(gains, [0.025, 0.975]))


def test_labels_alone_know_pure_patches_and_nothing_else():
    windows = _windows(8)
    assert labels_alone(windows, CODES) < 0.5
    pure = np.stack([np.full((SIDE, SIDE), index % 3, np.uint8) for index in range(6)])
    pure[0, :4] = IGNORE
    sets = np.eye(3, dtype=bool)[np.arange(6) % 3]
    names = np.array(list("abcdef"), object)
    assert (
        labels_alone(Windows(np.zeros((6, SIDE, SIDE, 3), np.uint8), pure, sets, names, names, names, None), CODES) == 1
    )


@pytest.fixture(scope="module")
def network():
    torch.manual_seed(0)
    scale = {"type": "mmengine.ImgDataPreprocessor", "mean": [128.0] * 3, "std": [64.0] * 3}
    return PatchClassifier({"type": "wsss_mm.ResNet38", "width": 1 / 64}, 3, data_preprocessor=scale).eval()


def test_layers_and_their_fusion_are_tried_and_a_tie_keeps_the_last(network, settings):
    found = Search(network, _windows(6), CODES, resamples=20, seed=0).run({**settings, "scales": (1.0,)})
    tried = [trial for trial in found.trials if trial.element == "layer"]
    assert [trial.shown for trial in tried] == ["b6", "b5_2", "bn7, b6", "bn7, b6, b5_2"]
    assert deeper(network)[0] == settings["layer"]
