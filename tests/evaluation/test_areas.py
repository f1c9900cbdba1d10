"""Intervals of areas: what validation patches say, and whether true areas lie where they should."""

import json

import numpy as np
import pytest

from wsss_mm.errors import InputError
from wsss_mm.evaluation.areas import EDGES, AreaErrors, JudgedPatch, area_errors, level_of, margin, ratio_interval

LEVELS = len(EDGES) - 1


def made_patches(rng, patients, patches, classes=3, pixels=2000):
    """Patches whose wrong pixels come in crowds: each patch, and each patient, has an error rate of its own."""
    found = []
    for patient in range(patients):
        worse = rng.uniform(0.5, 1.5)
        for _ in range(patches):
            seen = np.zeros((classes, LEVELS, classes))
            for mapped in range(classes):
                for level, error in enumerate(np.linspace(0.5, 0.01, LEVELS)):
                    count = rng.integers(0, pixels // LEVELS)
                    wrong = rng.binomial(count, min(1, error * worse * rng.uniform(0.3, 1.7)))
                    seen[mapped, level, mapped] = count - wrong
                    seen[mapped, level, (mapped + 1) % classes] = wrong
            found.append(JudgedPatch(str(patient), seen))
    return found


def test_margin_and_levels():
    logits = np.log([[0.5, 0.5, 1e-9], [0.8, 0.15, 0.05]])
    np.testing.assert_allclose(margin(logits, 1.0), [0, 0.65], atol=1e-6)
    assert margin(logits, 2.0)[1] < 0.65, "hotter is less sure"
    assert margin(np.zeros((4, 1)), 1.0).tolist() == [1] * 4
    assert level_of(np.array([0, 0.19, 0.2, 0.999, 1.0])).tolist() == [0, 0, 1, LEVELS - 1, LEVELS - 1]


def test_pixels_of_a_patch_are_counted_by_class_confidence_and_truth():
    logits = np.log([[0.92, 0.08], [0.92, 0.08], [0.45, 0.55]])
    found = JudgedPatch.of("p", logits, np.array([0, 1, 1]), 1.0).pixels
    assert found.sum() == 3
    level = int(level_of(0.84))
    assert found[0, level].tolist() == [1, 1]
    assert found[1, 0].tolist() == [0, 1]


def test_the_matrix_says_what_was_right_and_what_the_wrong_pixels_were():
    errors = area_errors(made_patches(np.random.default_rng(0), 4, 30))
    np.testing.assert_allclose(1 - errors.right[0], np.linspace(0.5, 0.01, LEVELS), rtol=0.25)
    np.testing.assert_allclose(errors.instead, np.roll(np.eye(3), 1, axis=1), atol=0.05)
    assert (errors.patients, errors.patches) == (4, 120)


def test_true_areas_lie_in_the_interval_as_often_as_it_says():
    rng = np.random.default_rng(1)
    inside = widths = 0.0
    trials = 60
    for _ in range(trials):
        errors = area_errors(made_patches(rng, 3, 12))
        slide = np.sum([patch.pixels for patch in made_patches(rng, 1, 40)], axis=0)
        for member in range(3):
            low, high = errors.interval(slide.sum(axis=2), [member])
            truth = slide[..., member].sum()
            inside += low <= truth <= high
            widths += (high - low) / truth
    assert inside / (3 * trials) >= 0.95
    assert widths / (3 * trials) < 0.5, "an interval that holds everything says nothing"


def test_a_surer_map_has_a_narrower_interval():
    errors = area_errors(made_patches(np.random.default_rng(2), 3, 12))
    sure, unsure = np.zeros((2, 3, LEVELS))
    sure[:, -1] = unsure[:, 1] = 1e6
    narrow, wide = (np.diff(errors.interval(pixels, [0])) for pixels in (sure, unsure))
    assert narrow * 3 < wide


def test_what_was_measured_is_in_it_and_nothing_below_nothing_or_above_all():
    errors = area_errors(made_patches(np.random.default_rng(3), 2, 12))
    pixels = np.zeros((3, LEVELS))
    pixels[0, -1] = 1000.0
    low, high = errors.interval(pixels, [0])
    assert 0 <= low <= 1000 == high
    low, high = errors.interval(pixels, [1])
    assert low == 0 < high < 1000
    assert errors.interval(pixels, [0, 1, 2]) == (1000, 1000), "all together are all there is"
    assert errors.interval(0 * pixels, [0]) == (0, 0)


def test_too_few_patients_or_patches_or_one_class_say_nothing():
    rng = np.random.default_rng(4)
    assert area_errors(made_patches(rng, 1, 40)) is None
    assert area_errors(made_patches(rng, 2, 4)) is None
    assert area_errors(made_patches(rng, 3, 12, classes=1)) is None
    assert area_errors([]) is None


def test_a_ratio_is_the_least_over_the_most_and_open_where_the_lower_may_be_nothing():
    assert ratio_interval((1, 2), (4, 5)) == (0.2, 0.5)
    assert ratio_interval((1, 2), (0, 5)) == (0.2, None)


class TestDescription:
    @pytest.fixture
    def errors(self):
        return area_errors(made_patches(np.random.default_rng(5), 2, 12), per_pixel=4)

    def test_it_comes_back(self, errors):
        again = AreaErrors.from_json(json.loads(json.dumps(errors.to_json())), 3, "model.json")
        assert again.to_json() == errors.to_json()
        assert again.patch > 4 * 500

    @pytest.mark.parametrize(
        "change",
        [
            {"right": [[2.0] * LEVELS] * 3},
            {"instead": [[0.5]]},
            {"spread": float("nan")},
            {"patch": 0},
            {"patients": "many"},
            {"noise": None},
        ],
    )
    def test_what_is_none_is_named(self, errors, change):
        with pytest.raises(InputError, match=r"model\.json: area_errors: .*export the model again"):
            AreaErrors.from_json(errors.to_json() | change, 3, "model.json")

    def test_nothing_and_other_levels_say_nothing(self, errors):
        assert AreaErrors.from_json(None, 3, "model.json") is None
        assert AreaErrors.from_json(errors.to_json() | {"edges": [0, 1]}, 3, "model.json") is None
