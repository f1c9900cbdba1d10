"""Air bubbles below the cover glass: a dark rim with a bright edge inside, tissue in them out of focus or not."""

import cv2
import numpy as np
import pytest

from tests.slides.stains import density, field, seen
from tests.slides.test_artefacts import Slide
from wsss_mm.slides import open_slide
from wsss_mm.slides.artefacts import find_artefacts
from wsss_mm.slides.pen import densities

MPP, SIDE, GLASS = 2.0, 640, 640  # um/px; px of tissue, and of the glass at its right
DEFOCUS = 4.0  # um, sigma


def bubble(total, middle, radius, rim, *, takes=(1.0, 1.0, 1.0), defocus=0.0):
    """A slide with a bubble, and what of it is rim and what is within, (H, W) each.

    Its middle (x, y) is in px, its radius and the width of its rim in um; `takes` is the rim's optical density.
    """
    rows, columns = np.mgrid[: total.shape[0], : total.shape[1]]
    away = np.hypot(columns - middle[0], rows - middle[1]) * MPP
    blurred = cv2.GaussianBlur(total, (0, 0), defocus / MPP) if defocus else total
    inside = np.where((away < radius)[..., None], blurred, total)
    bright = 0.8 * np.exp(-0.5 * ((away - radius + 1.2 * rim) / (rim / 3)) ** 2)
    dark = np.exp(-0.5 * ((away - radius) / (rim / 2.35)) ** 2)
    image = seen(inside * (1 - bright)[..., None] + dark[..., None] * np.array(takes))
    return Slide(image), np.abs(away - radius) < rim / 2, away < radius - 2 * rim


def share(part, where):
    """Of what is drawn at 2 um/px, the share that a mask at 8 has."""
    small = cv2.resize(where.astype(np.uint8), part.shape[::-1], interpolation=cv2.INTER_AREA) > 0
    return part[small].mean()


@pytest.fixture(scope="module")
def drawn():
    nuclei = field(SIDE, 0.5, seed=5, grain=1.5)[..., None]
    total = density(SIDE, 0.3, 0.3, texture=0.3) * nuclei
    return np.pad(total, ((0, GLASS), (0, GLASS), (0, 0)))


@pytest.fixture(scope="module")
def real(real_data):
    """A real slide at 2 um/px with glass at its right and below."""
    with open_slide(real_data / "slides/tcga-cr-7395-01a-01-ts1.svs", mpp=0.5) as reader:
        size = [int(side * reader.mpp / MPP) for side in reader.size]
        image = reader.read(0, 0, tuple(size), MPP)
    total = np.maximum(densities(image, np.array([244, 242, 243], np.float32)), 0)
    side = -(-(max(size) + GLASS) // 64) * 64  # whole cells of focus
    return np.pad(total, ((0, side - size[1]), (0, side - size[0]), (0, 0)))


SLIDES = ["drawn", pytest.param("real", marks=pytest.mark.real_data)]


@pytest.mark.parametrize("name", SLIDES)
@pytest.mark.parametrize(("radius", "rim"), [(100, 16), (300, 16), (300, 30), (600, 30), (600, 60)])
def test_a_grey_rim_on_glass_is_no_tissue_and_is_pen_only_where_it_is_as_wide_as_a_stroke(request, name, radius, rim):
    total = request.getfixturevalue(name)
    slide, around, within = bubble(total, [total.shape[1] - GLASS / 2] * 2, radius, rim)
    found = find_artefacts(slide)
    assert share(found.tissue, around | within) == 0
    assert (share(found.masks["pen"], around) > 0.5) == (rim > 50)


@pytest.mark.parametrize("takes", [(0.8, 0.7, 0.55), (0.55, 0.7, 0.8)])
def test_a_coloured_rim_on_glass_is_taken_for_tissue(drawn, takes):
    """As far as it is known: nothing tells it from a thin layer of tissue. The bubble within it is glass."""
    slide, around, within = bubble(drawn, [drawn.shape[1] - GLASS / 2] * 2, 300, 30, takes=takes)
    found = find_artefacts(slide)
    assert share(found.tissue, around) > 0.9
    assert share(found.tissue, within) < 0.02


@pytest.mark.parametrize("name", SLIDES)
@pytest.mark.parametrize("radius", [300, 400])
@pytest.mark.parametrize("rim", [16, 30])
def test_tissue_in_a_bubble_is_blur_where_it_is_out_of_focus(request, name, radius, rim):
    total = request.getfixturevalue(name)
    middle = (SIDE / 2, SIDE / 2) if name == "drawn" else (500, 450)
    for defocus, least, most in ((0.0, 0.0, 0.05), (DEFOCUS, 0.6, 1.0)):
        slide, _, within = bubble(total, middle, radius, rim, defocus=defocus)
        found = find_artefacts(slide)
        assert share(found.tissue, within) > 0.9
        assert least <= share(found.masks["blur"], within) <= most
        assert not found.masks["pen"].any()
