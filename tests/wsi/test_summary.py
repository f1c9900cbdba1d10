"""Figures are numbers where they mean something, and nothing elsewhere."""

import numpy as np
import pytest

from wsss_mm.patches import VOCABULARIES
from wsss_mm.vocabulary import TissueClass
from wsss_mm.wsi import overlay
from wsss_mm.wsi.summary import LEAST_RATIO_AREA, LEAST_STROMA, class_figures, tumour_stroma_ratio


def _ratio(tumour, stroma, vocabulary="luad_normal", mpp=1.0):
    classes = VOCABULARIES[vocabulary].classes
    counts = np.zeros(len(classes), np.int64)
    for index, item in enumerate(classes):
        counts[index] = {"tumour": tumour, "stroma": stroma}.get(item.role, 10**7)
    return tumour_stroma_ratio(class_figures(counts, classes, mpp), classes)


@pytest.mark.parametrize("vocabulary", ["lung", "breast", "luad_normal"])
def test_tumour_over_stroma(vocabulary):
    assert _ratio(60_000, 20_000, vocabulary) == pytest.approx(3)
    assert _ratio(0, 20_000, vocabulary) == 0


@pytest.mark.parametrize(
    ("tumour", "stroma"),
    [
        (2_070_000, 0),
        (2_070_000, 1250),  # 1656 times as much
        (990_001, 9_999),
        (5000, 4000),  # a hundredth of a mm2 is not reached
        (1, 1),
        (0, 0),
    ],
)
def test_to_next_to_no_stroma_there_is_no_ratio(tumour, stroma):
    assert _ratio(tumour, stroma) is None


def test_the_limits_are_areas_and_not_pixels():
    assert _ratio(5000, 5000) == 1  # just LEAST_RATIO_AREA at 1 um/px
    assert _ratio(5000, 5000, mpp=0.5) is None
    assert _ratio(990_000, 10_000) == pytest.approx(1 / LEAST_STROMA - 1)
    assert LEAST_RATIO_AREA == 0.01


def test_the_ratio_asks_for_roles_and_not_for_codes():
    roles = ("stroma", "tumour", "other", "tumour")
    classes = [TissueClass(code, code, (0, 0, 0), role) for code, role in zip("ABCD", roles, strict=True)]
    figures = class_figures(np.array([20_000, 40_000, 10**7, 20_000]), classes, 1.0)
    assert tumour_stroma_ratio(figures, classes) == pytest.approx(3)
    for left in (classes[1:], classes[:1], classes[2:3]):
        assert tumour_stroma_ratio(figures, left) is None


def test_the_overlay_says_no_share_where_there_is_no_tissue():
    classes = VOCABULARIES["luad_normal"].classes
    without, tissue = (class_figures(np.array([0, count, 0]), classes, 1.0) for count in (0, 9))
    assert [overlay._text(figures) for figures in without.values()] == ["0.000 mm\u00b2   \u2013"] * 3
    assert [overlay._text(figures)[-7:] for figures in tissue.values()] == ["  0.0 %", "100.0 %", "  0.0 %"]
