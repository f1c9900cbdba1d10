"""What label sets say where there is no mask."""

import numpy as np
import pytest

from wsss_mm.choosing.rules import advice, called_for, inseparable, single_class_shares

CODES = ("A", "B", "C")
SETTINGS = {"normalization": "joint", "gating": "labels", "method": "cam"}


def _sets(*rows):
    return np.array(rows, bool)


def test_shares_of_patches_that_hold_a_class_alone():
    sets = _sets([1, 0, 0], [1, 1, 0], [0, 1, 0], [1, 1, 0])
    assert single_class_shares(sets)[:2] == pytest.approx([1 / 3, 1 / 3])
    assert np.isnan(single_class_shares(sets)[2])


def test_classes_are_normalised_apart_where_one_never_stands_alone():
    mixed = _sets(*[[1, 1, 0]] * 30, *[[1, 0, 0]] * 5)
    wanted, says = called_for(mixed, CODES, SETTINGS)
    assert wanted == {"normalization": "class"}
    assert "86%" in says
    assert "B hardly ever stands alone" in says
    wanted, says = called_for(mixed, CODES, {**SETTINGS, "normalization": "class"})
    assert wanted == {}
    assert "as in params.yaml" in says


@pytest.mark.parametrize(
    ("sets", "settings"),
    [
        (_sets(*[[1, 1, 0]] * 30, *[[1, 0, 0]] * 5, *[[0, 1, 0]] * 5), SETTINGS),
        (_sets(*[[1, 1, 0]] * 5, *[[1, 0, 0]] * 30), SETTINGS),
        (_sets(*[[1, 1, 0]] * 30), {**SETTINGS, "gating": "off"}),
    ],
)
def test_otherwise_the_settings_stay(sets, settings):
    assert called_for(sets, CODES, settings)[0] == {}


def test_what_labels_cannot_tell_apart_is_said():
    sets = _sets([1, 1, 0], [0, 1, 0], [1, 1, 1])
    assert [(pair.a, pair.b) for pair in inseparable(sets, CODES)] == [("A", "B"), ("C", "A"), ("C", "B")]
    assert advice(sets, CODES)[0].startswith("A stands in no training patch without B")
    assert advice(np.eye(3, dtype=bool), CODES) == []


def test_a_class_that_is_nearly_always_beside_another_is_named_with_its_number():
    sets = _sets(*[[1, 1, 0]] * 97, *[[1, 0, 0]] * 3, *[[0, 1, 0]] * 50)
    (pair,) = inseparable(sets, CODES)
    assert (pair.a, pair.b, pair.patches, pair.separate) == ("A", "B", 100, 3)
    assert str(pair).startswith("A stands in 3 of its 100 training patches without B: labels can hardly")
    assert inseparable(_sets(*[[1, 1, 0]] * 95, *[[1, 0, 0]] * 5, *[[0, 1, 0]] * 50), CODES) == []
