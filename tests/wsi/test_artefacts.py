"""What of a slide is left out of its map, and what is said of it."""

import json
import logging

import numpy as np
import pytest
import tifffile
from PIL import Image

from studies.pen import INKS
from tests.slides.stains import density, ink, seen
from tests.wsi.conftest import colour_predict
from wsss_mm.places import LABEL_MAP, OVERLAY
from wsss_mm.slides import open_slide
from wsss_mm.slides.bands import open_label_pyramid
from wsss_mm.slides.labels import read_label_tiff
from wsss_mm.vocabulary import IGNORE, get_vocabulary
from wsss_mm.wsi import SlideModel, agreement, segment_slide
from wsss_mm.wsi.overlay import draw_overlay

SIDE = 160  # px at 8 um/px
STROKE = np.s_[:, 115 * 4 : 135 * 4]  # of the map, at 2 um/px


@pytest.fixture(scope="module")
def slide(tmp_path_factory):
    """Tissue at the left, a blue stroke at the right, 2 um/px."""
    total = density(SIDE, 0.35, 0.3)
    total[:, 90:] = 0
    image = np.kron(seen(total + ink(SIDE, INKS["blue"], width=36, column=125)[0]), np.ones((4, 4, 1), np.uint8))
    path = tmp_path_factory.mktemp("slide") / "marked.tiff"
    tifffile.imwrite(path, image, tile=(64, 64), photometric="rgb", compression="zlib", metadata=None)
    return path


def segment(slide, out, **options):
    model = SlideModel(colour_predict, get_vocabulary("luad_normal").classes, 2.0, "a" * 32)
    summary = segment_slide(slide, model, out, window=64, mpp_override=2.0, progress=False, **options)
    assert summary == json.loads((out / "summary.json").read_text())
    return summary, read_label_tiff(out / "segmentation.tif")


def test_pen_is_background_and_its_area_is_told(slide, tmp_path):
    summary, labels = segment(slide, tmp_path / "out")
    pen = summary["artefacts"]["pen"]
    assert pen["left_out"]
    assert pen["area_mm2"] == pytest.approx(36 * SIDE * 64e-6, rel=0.15)
    assert summary["artefacts"]["blur"]["left_out"] is summary["artefacts"]["folds"]["left_out"] is False
    assert (labels[STROKE] == IGNORE).all()
    kept, as_it_was = segment(slide, tmp_path / "kept", leave_out_pen=False)
    assert kept["artefacts"]["pen"] == pen | {"left_out": False}
    assert (as_it_was[STROKE] != IGNORE).all()
    np.testing.assert_array_equal(labels[:, : 90 * 4], as_it_was[:, : 90 * 4])


@pytest.mark.parametrize("left_out", [True, False])
def test_a_map_is_held_against_the_tissue_that_its_parameters_name(slide, tmp_path, left_out):
    """Gate slides takes pen for tissue where the map was told to."""
    segment(slide, tmp_path, leave_out_pen=left_out)
    vocabulary, found = get_vocabulary("luad_normal"), {}
    with open_slide(slide, 2.0) as reader, open_label_pyramid(tmp_path / LABEL_MAP) as pyramid:
        for pen in (True, False):
            against = pyramid.levels[0], reader, None, vocabulary, tmp_path / OVERLAY
            found[pen] = agreement.on_slide(*against, leave_out_pen=pen)[0]["tissue_error"]
    assert found[left_out] < 0.03
    assert found[not left_out] > 0.15


def test_it_is_hatched_on_the_overlay(slide, tmp_path):
    segment(slide, tmp_path / "out")
    sheet = np.asarray(Image.open(tmp_path / "out/overlay.png").convert("RGB")).astype(int)
    stroke = sheet[16 + 100 : 16 + 500, 16 + 115 * 4 : 16 + 135 * 4]
    black = (stroke == 20).all(axis=2)
    assert 0.1 < black.mean() < 0.3


def test_what_is_nowhere_is_not_in_the_legend():
    classes = get_vocabulary("luad_normal").classes
    figures = {item.code: {"area_mm2": 0.0, "share": None} for item in classes}
    picture, labels = np.full((60, 60, 3), 240, np.uint8), np.full((60, 60), IGNORE, np.uint8)
    plain, none, some = (
        np.asarray(draw_overlay(picture, labels, classes, figures, "s", mpp=8.0, marks=marks))
        for marks in (None, {"pen": labels == 0}, {"pen": labels != 0, "blur": labels == 0})
    )
    np.testing.assert_array_equal(plain, none)
    assert some.shape[0] == plain.shape[0] + 48


def test_a_slide_too_large_to_look_at_says_so(slide, tmp_path, monkeypatch, caplog):
    monkeypatch.setattr("wsss_mm.slides.artefacts._MOST_PIXELS", 1000)
    with caplog.at_level(logging.WARNING):
        summary, labels = segment(slide, tmp_path / "out", tissue_mask=False)
    assert summary["artefacts"] is None
    assert "has no small level; pen is not looked for and not left out" in caplog.text
    assert (labels[STROKE] != IGNORE).all()
