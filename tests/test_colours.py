"""Colours that readers take for one another are told from those that they do not."""

import numpy as np
import pytest

from wsss_mm.colours import difference, least_difference, seen_by, to_lab
from wsss_mm.vocabulary import LEAST_DIFFERENCE, get_vocabulary, vocabulary_names

SHIPPED_DIFFERENCE = 18  # CIEDE2000 over each tissue, with all cones and without the red or the green ones
RED, ORANGE, BLUE, GREEN, PURPLE = (205, 51, 51), (255, 165, 0), (65, 105, 225), (0, 200, 80), (160, 110, 200)


@pytest.mark.parametrize(
    ("one", "other", "expected"),
    [  # of the test data of Sharma, Wu and Dalal (2005)
        ((50, 2.6772, -79.7751), (50, 0, -82.7485), 2.0425),
        ((50, -1, 2), (50, 0, 0), 2.3669),
        ((50, 2.49, -0.001), (50, -2.49, 0.0009), 7.1792),
        ((50, 2.49, -0.001), (50, -2.49, 0.0011), 7.2195),
        ((50, 2.5, 0), (73, 25, -18), 27.1492),
        ((60.2574, -34.0099, 36.2677), (60.4626, -34.1751, 39.4387), 1.2644),
        ((2.0776, 0.0795, -1.1350), (0.9033, -0.0636, -0.5514), 0.9082),
    ],
)
def test_ciede2000(one, other, expected):
    assert difference(np.array(one), np.array(other)) == pytest.approx(expected, abs=5e-5)
    assert difference(np.array(other), np.array(one)) == pytest.approx(expected, abs=5e-5)


def test_lab_of_known_colours():
    assert to_lab(np.array([255, 255, 255])) == pytest.approx([100, 0, 0], abs=0.02)
    assert to_lab(np.array([255, 0, 0])) == pytest.approx([53.24, 80.09, 67.20], abs=0.02)
    assert to_lab(np.zeros(3)) == pytest.approx([0, 0, 0], abs=1e-9)


def test_without_the_green_cones_red_and_green_are_two_browns_and_greys_stay():
    assert seen_by(np.array(GREEN), "deuteranopia") == pytest.approx([183, 168, 90], abs=1)
    assert seen_by(np.array(RED), "deuteranopia") == pytest.approx([135, 122, 45], abs=1)
    for vision in ("protanopia", "deuteranopia"):
        assert seen_by(np.array([128, 128, 128]), vision) == pytest.approx([128] * 3, abs=1)


@pytest.mark.parametrize("name", ["breast", "luad_normal", "lung"])
def test_colours_that_are_shipped_can_be_told_apart(name):
    assert least_difference(get_vocabulary(name).colors)[0] >= SHIPPED_DIFFERENCE


def test_so_can_any_two_that_are_shipped_and_put_together():
    colors = sorted({color for name in vocabulary_names() for color in get_vocabulary(name).colors})
    assert len(colors) == 9
    assert least_difference(colors)[0] > 1.5 * LEAST_DIFFERENCE


def test_the_pair_is_named_that_is_most_alike():
    assert least_difference([RED, ORANGE, GREEN]) == (pytest.approx(4.8, abs=0.1), 0, 2)
    assert least_difference([ORANGE, BLUE, PURPLE])[1:] == (1, 2)
    assert least_difference([RED, RED]) == (0, 0, 1)
