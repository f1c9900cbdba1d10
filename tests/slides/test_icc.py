"""Slides become sRGB by their embedded profile where that is asked for, and stay as they are where it is not."""

import json

import numpy as np
import pytest
from PIL import ImageCms

from tests.slides.icc_profiles import swapped_profile, write_with_profile
from wsss_mm import places
from wsss_mm.cohort import Cohort
from wsss_mm.errors import InputError
from wsss_mm.slides import open_slide
from wsss_mm.slides.icc import NONE, icc_noted, note_icc


@pytest.fixture(scope="module")
def image():
    return np.random.default_rng(0).integers(0, 256, (96, 128, 3), np.uint8)


@pytest.fixture(scope="module")
def slide(tmp_path_factory, image):
    path = tmp_path_factory.mktemp("icc") / "with.tif"
    write_with_profile(path, image, swapped_profile())
    return path


def test_pixels_are_those_of_the_file_unless_it_is_asked_for(slide, image):
    with open_slide(slide) as reader:
        assert reader.icc is None
        np.testing.assert_array_equal(reader.read(0, 0, (128, 96), 1.0), image)


def test_pixels_are_those_that_the_profile_means(slide, image):
    with open_slide(slide, icc=True) as reader:
        assert "sRGB" in reader.icc  # what the profile calls itself
        shown = reader.read(-8, 0, (136, 96), 1.0)
    assert (shown[:, :8] == 255).all()  # beside the slide
    difference = np.abs(shown[:, 8:].astype(int) - image[..., [1, 0, 2]])
    assert difference.max() <= 2


def test_a_slide_without_a_profile_stays_as_it_is(tmp_path, image):
    write_with_profile(tmp_path / "without.tif", image, None)
    with open_slide(tmp_path / "without.tif", icc=True) as reader:
        assert reader.icc == NONE
        np.testing.assert_array_equal(reader.read(0, 0, (128, 96), 1.0), image)


@pytest.mark.parametrize(
    ("profile", "says"),
    [
        (b"no profile at all" * 20, "its ICC profile is damaged"),
        (swapped_profile()[:300], "its ICC profile is damaged"),
        (ImageCms.ImageCmsProfile(ImageCms.createProfile("LAB")).tobytes(), "its ICC profile is of Lab, not of RGB"),
    ],
    ids=["text", "cut off", "Lab"],  # profiles hold the time they were made at
)
def test_a_profile_that_cannot_be_applied_is_one_line_where_it_is_asked_for(tmp_path, image, profile, says):
    path = tmp_path / "odd.tif"
    write_with_profile(path, image, profile)
    open_slide(path).close()
    with pytest.raises(InputError, match=f"odd.tif: {says}.*stain.icc: false"):
        open_slide(path, icc=True)


def test_all_slides_of_a_cohort_follow_its_note(tmp_path, slide, image):
    table = tmp_path / places.SLIDES_TABLE
    table.write_text(f"slide_id,patient_id,path,split\na,p,{slide},train\n")
    with next(iter(Cohort.read(table))).open() as reader:
        np.testing.assert_array_equal(reader.read(0, 0, (128, 96), 1.0), image)
    assert not icc_noted(tmp_path)
    note_icc(tmp_path)
    with next(iter(Cohort.read(table))).open() as reader:
        assert np.abs(reader.read(0, 0, (128, 96), 1.0).astype(int) - image[..., [1, 0, 2]]).max() <= 2
    (tmp_path / places.ICC).write_text(json.dumps({"format": 1, "to": "CMYK"}))
    with pytest.raises(InputError, match=r"icc.json: damaged.*dvc repro -f cohort"):
        Cohort.read(table)
