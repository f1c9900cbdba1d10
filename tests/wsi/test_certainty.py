"""How sure a map is: what the values mean, the band beside the map, and pixels that are left out by it."""

import json

import numpy as np
import pytest
import tifffile
from openslide import OpenSlide

from wsss_mm.errors import InputError
from wsss_mm.patches import VOCABULARIES
from wsss_mm.places import CONFIDENCE, LABEL_MAP, OVERLAY, SUMMARY
from wsss_mm.settings import load_profile
from wsss_mm.slide_parameters import DEFAULTS, as_recorded, faults
from wsss_mm.vocabulary import IGNORE, IGNORE_COLOR
from wsss_mm.wsi import SlideModel, segment_slide
from wsss_mm.wsi.certainty import confidence, ramp, share_of
from wsss_mm.wsi.export import export_slide
from wsss_mm.wsi.job import Job
from wsss_mm.wsi.mapping import map_slide

CLASSES = VOCABULARIES["luad_normal"].classes
OPTIONS = {"window": 64, "min_island": 0.0, "progress": False, "mpp_override": 1.0}


def model(predict, temperature=1.0):
    return SlideModel(predict, CLASSES, 1.0, "a" * 32, temperature=temperature)


@pytest.fixture
def slide(tmp_path, tissue):
    path = tmp_path / "s.tiff"
    image = tissue(200, 260)
    tifffile.imwrite(path, image, tile=(64, 64), photometric="rgb", compression="zlib", metadata=None)
    return path


def columns(*pixels):
    return np.array(pixels, np.float32).T[:, None]


class TestValues:
    def test_the_margin_between_the_two_best(self):
        found = confidence(columns([0.5, 0.5, 0], [1, 0, 0], [0.6, 0.3, 0.1], [0.2, 0.2, 0.6]))
        np.testing.assert_allclose(share_of(found.astype(float)), [[0, 1, 0.3, 0.4]], atol=0.002)

    def test_sums_that_are_no_one_count_as_shares(self):
        """Of windows that were not computed, and of far background, which is 0."""
        halves = confidence(columns([0.3, 0.15, 0.05]))
        np.testing.assert_array_equal(halves, confidence(columns([0.6, 0.3, 0.1])))
        assert confidence(columns([0, 0, 0])).tolist() == [[1]]

    def test_a_temperature_is_that_of_the_softmax(self):
        logits = np.random.default_rng(0).normal(0, 2, (4, 5, 6)).astype(np.float32)
        powers = np.exp(logits / 2.5)
        ordered = np.sort(powers / powers.sum(axis=0), axis=0)
        found = confidence(np.exp(logits) / np.exp(logits).sum(axis=0), 2.5)
        np.testing.assert_allclose(share_of(found.astype(float)), ordered[-1] - ordered[-2], atol=0.003)

    def test_one_class_is_certain(self):
        assert confidence(columns([0.4])).tolist() == [[255]]

    def test_the_ramp_has_a_colour_for_each_and_none_is_that_of_no_class(self):
        colours = np.array(ramp()).reshape(256, 3)
        assert tuple(colours[0]) == IGNORE_COLOR
        assert not (colours[1:] == IGNORE_COLOR).all(axis=1).any()
        luma = colours[1:] @ [0.2126, 0.7152, 0.0722]
        assert (np.diff(luma) > -1.5).all(), "surer is brighter"


class TestBand:
    @pytest.fixture
    def results(self, slide, predict, tmp_path):
        segment_slide(slide, model(predict), tmp_path / "plain", **OPTIONS)
        segment_slide(slide, model(predict, 3.0), tmp_path / "sure", confidence=True, probabilities=True, **OPTIONS)
        return tmp_path

    def test_it_lies_on_the_map_and_means_what_the_probabilities_say(self, results):
        plain, sure = results / "plain", results / "sure"
        assert (plain / LABEL_MAP).read_bytes() == (sure / LABEL_MAP).read_bytes(), "a temperature changes no label"
        assert not (plain / CONFIDENCE).exists()
        labels, found = (tifffile.imread(sure / name) for name in (LABEL_MAP, CONFIDENCE))
        np.testing.assert_array_equal(found == 0, labels == IGNORE)
        powers = (tifffile.imread(sure / "probabilities.ome.tif") / 255.0) ** (1 / 3)
        ordered = np.sort(powers / np.maximum(powers.sum(axis=0), 1e-9), axis=0)
        here = (labels != IGNORE) & (powers.min(axis=0) > 0.25)  # where rounding to 255ths means little
        off = share_of(found.astype(float)) - (ordered[-1] - ordered[-2])
        assert here.sum() > 1000
        assert np.abs(off[here]).max() < 0.04

    def test_each_class_has_its_mean(self, results):
        labels, found = (tifffile.imread(results / "sure" / name) for name in (LABEL_MAP, CONFIDENCE))
        classes = json.loads((results / "sure" / SUMMARY).read_text())["classes"]
        for value, item in enumerate(CLASSES):
            here = labels == value
            mean = share_of(found[here].astype(float)).mean() if here.any() else None
            assert classes[item.code]["confidence"] == (None if mean is None else pytest.approx(mean, abs=1e-6))
        assert "confidence" not in json.loads((results / "plain" / SUMMARY).read_text())["classes"][CLASSES[0].code]

    def test_it_opens_as_a_pyramid_of_the_same_grid(self, results):
        with OpenSlide(results / "sure" / CONFIDENCE) as band, OpenSlide(results / "sure" / LABEL_MAP) as labels:
            assert band.level_dimensions == labels.level_dimensions
            found = np.asarray(band.read_region((0, 0), 0, band.dimensions))[..., :3]
        colours = np.array(ramp()).reshape(256, 3)
        np.testing.assert_array_equal(found, colours[tifffile.imread(results / "sure" / CONFIDENCE)])

    def test_the_stages_write_the_same(self, slide, predict, results):
        parameters = DEFAULTS.__class__(window=64, min_island=0.0, confidence=True, probabilities=True)
        job = Job("s", slide, results / "maps/s", 1.0)
        map_slide(job, model(predict, 3.0), parameters, progress=False)
        export_slide(Job("s", slide, results / "two", 1.0), results / "maps", parameters)
        for name in (LABEL_MAP, CONFIDENCE, OVERLAY, "probabilities.ome.tif"):
            assert (results / "two" / name).read_bytes() == (results / "sure" / name).read_bytes()


class TestUnsure:
    def test_less_sure_pixels_have_no_class(self, slide, predict, tmp_path):
        segment_slide(slide, model(predict), tmp_path / "all", confidence=True, **OPTIONS)
        segment_slide(slide, model(predict), tmp_path / "some", confidence=True, unsure_below=0.3, **OPTIONS)
        labels, left = (tifffile.imread(tmp_path / name / LABEL_MAP) for name in ("all", "some"))
        band = tifffile.imread(tmp_path / "all" / CONFIDENCE)
        unsure = (labels != IGNORE) & (share_of(band.astype(float)) < 0.3)
        assert 0.05 < unsure.mean() < 0.95
        np.testing.assert_array_equal(left, np.where(unsure, IGNORE, labels))
        np.testing.assert_array_equal(tifffile.imread(tmp_path / "some" / CONFIDENCE), band), "the band keeps them"
        every, some = (json.loads((tmp_path / name / SUMMARY).read_text()) for name in ("all", "some"))
        for value, item in enumerate(CLASSES):
            area = some["classes"][item.code]["unsure_area_mm2"]
            assert area == pytest.approx((unsure & (labels == value)).sum() / 1e6, abs=1e-6)
            assert some["classes"][item.code]["area_mm2"] + area == pytest.approx(
                every["classes"][item.code]["area_mm2"], abs=2e-6
            )
            assert "unsure_area_mm2" not in every["classes"][item.code]
        assert some["tissue_area_mm2"] < every["tissue_area_mm2"]

    def test_it_asks_for_the_confidence(self, slide, predict, tmp_path):
        wanted = {"unsure_below": 0.2, "confidence": False}
        assert [name for name, _ in faults(wanted)] == ["unsure_below"]
        assert not list(faults({"unsure_below": "off", "confidence": False}))
        assert not list(faults({"unsure_below": 0.2, "confidence": True}))
        assert [name for name, _ in faults({"unsure_below": 1.5, "confidence": True})] == ["unsure_below"]

    def test_off_is_off_however_yaml_reads_it(self):
        slides = load_profile("phantom").slides
        for value in ("off", False):
            assert type(slides).model_validate(slides.model_dump() | {"unsure_below": value}).unsure_below == "off"
        with pytest.raises(ValueError, match="unsure_below"):
            type(slides).model_validate(slides.model_dump() | {"unsure_below": 0.2})
        made = type(slides).model_validate(slides.model_dump() | {"unsure_below": 0.2, "confidence": True})
        assert made.unsure_below == 0.2


def test_what_older_files_do_not_name_held_before():
    wanted = DEFAULTS.recorded()
    older = {name: value for name, value in wanted.items() if name not in ("confidence", "unsure_below")}
    assert as_recorded(wanted, older) == wanted
    assert as_recorded(wanted, older | {"confidence": True})["confidence"] is True


def test_an_error_of_a_map_without_the_band_is_none(slide, predict, tmp_path):
    """A map that was made without is no map for an export that asks for it."""
    parameters = DEFAULTS.__class__(window=64)
    map_slide(Job("s", slide, tmp_path / "maps/s", 1.0), model(predict), parameters, progress=False)
    with pytest.raises(InputError, match="the map is of another parameters"):
        export_slide(
            Job("s", slide, tmp_path / "out", 1.0),
            tmp_path / "maps",
            DEFAULTS.__class__(window=64, confidence=True),
        )
