"""Tissue is held against that of a training: the same passes, another stain and another scale are named."""

import json
from functools import partial

import cv2
import numpy as np
import pytest

from wsss_mm.errors import InputError
from wsss_mm.patches import likeness
from wsss_mm.patches.likeness import LEAST_PATCHES, Appearance, appearance_of, compared, measure_look

SIDE, EDGE = 96, 24  # px
HAEMATOXYLIN, EOSIN = (0.65, 0.70, 0.29), (0.07, 0.99, 0.11)


def tissue(seed: int, scale: float = 1.0, blue: float = 1.0, side: int = SIDE) -> np.ndarray:
    """Nuclei of 4 px radius, times `scale`, on eosin that varies; `blue` times the haematoxylin."""
    rng, wide = np.random.default_rng(seed), side + 2 * EDGE  # some nuclei lie over the edges
    nuclei = np.zeros((wide, wide), np.float32)
    for x, y in rng.integers(0, wide, (rng.poisson(60 * (wide / SIDE / scale) ** 2), 2)).tolist():
        cv2.circle(nuclei, (x, y), round(4 * scale), rng.uniform(0.5, 0.8), -1)
    nuclei = cv2.GaussianBlur(nuclei, (0, 0), 0.8 * scale)[EDGE:-EDGE, EDGE:-EDGE]
    ground = cv2.GaussianBlur(rng.standard_normal((side, side)).astype(np.float32), (0, 0), 2 * scale)
    pink = np.maximum(0.3 + 0.05 * ground / ground.std() + rng.normal(0, 0.02), 0.05)
    blue_density = blue * (nuclei + 0.05 + rng.uniform(0, 0.03))
    density = blue_density[..., None] * np.array(HAEMATOXYLIN) + pink[..., None] * np.array(EOSIN)
    noise = rng.normal(0, 1.5, (side, side, 3))
    return np.clip(244 * 10**-density + noise, 0, 255).astype(np.uint8)


@pytest.fixture(scope="module")
def appearance() -> Appearance:
    """Of a training of 60 patches on 4 slides."""
    return appearance_of([(f"slide-{number % 4}", partial(tissue, number)) for number in range(60)], SIDE)


def found(appearance, others=None, mpp=0.5, **look):
    windows = [measure_look(tissue(1000 + number, **look)) for number in range(12)]
    return compared(appearance, windows, others or {}, mpp)


def test_the_same_tissue_raises_nothing(appearance):
    result = found(appearance)
    assert result["warning"] is None
    assert result["windows"] == 12
    for figure in result["figures"].values():
        assert figure["least"] <= figure["found"] <= figure["most"]


def test_another_stain_is_named_with_its_figure(appearance):
    result = found(appearance, blue=2.5)
    figure = result["figures"]["haematoxylin"]
    assert figure["found"] > figure["most"]
    assert (
        f"haematoxylin {figure['found']:.4g} (training {figure['least']:.4g} to {figure['most']:.4g})"
        in (result["warning"])
    )
    assert "\n" not in result["warning"]


@pytest.mark.parametrize("scale", [0.5, 2.0])
def test_nuclei_of_another_size_are_another_mpp(appearance, scale):
    """They seem half as large: the slide was read too coarsely, at half of the mpp that it has, and says so."""
    here = [measure_look(tissue(2000 + number, scale=scale)) for number in range(12)]
    there = {1 / scale: 1.0, scale: scale**2}  # by factor on the mpp: the size of nuclei that is read then
    others = {
        factor: (here, [measure_look(tissue(3000 + number, scale=size)) for number in range(12)])
        for factor, size in there.items()
    }
    result = compared(appearance, here, others, 0.5)
    assert result["mpp"] == 0.5 / scale
    assert f"like that at {0.5 / scale:g} um/px, and it is said to have 0.5" in result["warning"]
    assert "grain" in result["warning"]


def test_the_right_mpp_stays(appearance):
    here = [measure_look(tissue(2000 + number)) for number in range(12)]
    others = {
        factor: (here, [measure_look(tissue(3000 + number, scale=factor)) for number in range(12)])
        for factor in (0.5, 2.0)
    }
    result = compared(appearance, here, others, 0.5)
    assert (result["mpp"], result["warning"]) == (None, None)


def test_what_is_unlike_at_any_mpp_gets_none(appearance):
    """Of foreign tissue the nearest scale means nothing."""
    here, there = ([measure_look(tissue(2000 + number, blue=blue)) for number in range(12)] for blue in (3.0, 2.5))
    result = compared(appearance, here, {0.5: (here, there), 2.0: (here, there)}, 0.5)
    assert result["mpp"] is None
    assert result["warning"]


def test_slides_of_the_training_say_what_is_unlike():
    """Where slides of one training differ, another that does so much is none to warn of."""
    alike = appearance_of([(f"{number % 4}", partial(tissue, number)) for number in range(80)], SIDE)
    diverse = appearance_of(
        [(f"{number % 4}", partial(tissue, number, blue=(1, 1.3, 1.6, 2)[number % 4])) for number in range(160)], SIDE
    )
    windows = [measure_look(tissue(5000 + number, blue=2.0)) for number in range(12)]
    assert alike.unlikeness(windows) > alike.limit
    assert diverse.unlikeness(windows) < diverse.limit


def test_of_few_slides_another_may_be_further():
    """By how much is a prediction of one more: Student's t at 1 in 100, of tables 3.747 of 4 degrees, 2.326 of many."""
    assert likeness._further(5) == pytest.approx(1.25 ** (3.747 / 2.326 * 1.2**0.5), abs=1e-3)
    assert likeness._further(100_000) == pytest.approx(1.25, abs=1e-4)
    assert likeness._further(1) == likeness._further(2) == 2.0
    found = [likeness._further(count) for count in range(1, 200)]
    assert found == sorted(found, reverse=True)


def test_the_same_patches_of_fewer_slides_allow_for_more():
    patches = [partial(tissue, number) for number in range(60)]
    few, more = (appearance_of([(f"{n % slides}", one) for n, one in enumerate(patches)], SIDE) for slides in (4, 6))
    assert (few.slides, more.slides) == (4, 6)
    assert few.limit / more.limit == pytest.approx(likeness._further(4) / likeness._further(6), rel=1e-5)


def test_glass_and_too_few_patches_say_nothing(appearance):
    assert measure_look(np.full((SIDE, SIDE, 3), 243, np.uint8)) is None
    assert appearance_of([("a", partial(tissue, number)) for number in range(LEAST_PATCHES - 1)], SIDE) is None
    result = compared(appearance, [measure_look(tissue(0))] * 3, {}, 0.5)
    assert result == {"windows": 3, "figures": {}, "mpp": None, "warning": None}


def test_it_comes_back_from_json(appearance):
    again = Appearance.from_json(json.loads(json.dumps(appearance.to_json())), "model.json")
    assert again == appearance
    assert Appearance.from_json(None, "model.json") is None


@pytest.mark.parametrize(
    "damage",
    [
        {"mean": [0.0]},
        {"deviation": [0.0] * 11},
        {"correlation": [[0.0] * 11] * 10},
        {"correlation": [[float(row != column) * 9 for row in range(11)] for column in range(11)]},
        {"limit": float("nan")},
        {"limit": -1},
        {"ranges": {}},
        {"size": 1 << 30},
        {"size": "large"},
    ],
)
def test_what_is_damaged_is_named(appearance, damage):
    with pytest.raises(InputError, match=r"model\.json: appearance: .*export the model again"):
        Appearance.from_json(appearance.to_json() | damage, "model.json")
    with pytest.raises(InputError, match="appearance"):
        Appearance.from_json([1], "model.json")
