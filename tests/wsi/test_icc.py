"""A model that learnt from slides read as sRGB is shown them so, and the summary says by which profile."""

import json

import numpy as np
import pytest
import tifffile

from tests.slides.icc_profiles import swapped_profile, write_with_profile
from wsss_mm.places import LABEL_MAP, SUMMARY
from wsss_mm.slide_parameters import DEFAULTS
from wsss_mm.vocabulary import get_vocabulary
from wsss_mm.wsi import SlideModel, segment_slide
from wsss_mm.wsi.export import export_slide
from wsss_mm.wsi.job import Job
from wsss_mm.wsi.mapping import map_slide

PARAMETERS = {  # of a slide whose green is no pen
    **{"window": 64, "tissue_mask": False, "background_grey": 255, "min_island": 0.0, "min_hole": 0.0},
    "leave_out_pen": False,
}


def by_colour(images):
    """The first class where red is strongest, the second where green is, and the third where blue is."""
    scores = images.transpose(0, 3, 1, 2).astype(np.float32) + 1
    return scores / scores.sum(axis=1, keepdims=True)


@pytest.fixture
def slide(tmp_path):
    path = tmp_path / "red.tif"
    image = np.full((128, 128, 3), 40, np.uint8)
    image[..., 0] = 200
    write_with_profile(path, image, swapped_profile())
    return path


@pytest.mark.parametrize(("icc", "label"), [(False, 0), (True, 1)])
def test_a_slide_is_shown_in_the_colours_that_a_model_learnt_from(tmp_path, slide, icc, label):
    model = SlideModel(by_colour, get_vocabulary("luad_normal").classes, 1.0, "a" * 32, icc=icc)
    segment_slide(slide, model, tmp_path / "out", progress=False, **PARAMETERS)
    assert (tifffile.imread(tmp_path / "out" / LABEL_MAP, level=0) == label).all()
    said = json.loads((tmp_path / "out" / SUMMARY).read_text())["slide"]
    assert ("icc" in said) == icc
    if icc:
        assert said["icc"]["to"] == "sRGB"
        assert "sRGB" in said["icc"]["profile"]
        parameters = DEFAULTS.__class__(**PARAMETERS)  # and the two stages give the same
        map_slide(Job("s", slide, tmp_path / "maps/s"), model, parameters, progress=False)
        export_slide(Job("s", slide, tmp_path / "two", icc=True), tmp_path / "maps", parameters)
        assert (tmp_path / "two" / SUMMARY).read_bytes() == (tmp_path / "out" / SUMMARY).read_bytes()
