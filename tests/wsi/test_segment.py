"""A slide file becomes a folder of results that agree with each other."""

import json
import os

import numpy as np
import openslide
import pytest
import tifffile
from PIL import Image
from shapely.geometry import shape

from tests.slides.test_stain import H_AND_E, OTHER, image_of
from wsss_mm.errors import InputError
from wsss_mm.patches import IGNORE, VOCABULARIES
from wsss_mm.places import PROBABILITIES
from wsss_mm.places import SLIDE_FILES as FILES
from wsss_mm.slides import open_slide
from wsss_mm.slides.stain import fit_stain, recolour, stain_of_slide
from wsss_mm.wsi import SlideModel, outputs, segment_slide
from wsss_mm.wsi.truth import judge_slide

OPTIONS = {"window": 64, "min_island": 0, "progress": False}


@pytest.fixture
def model(predict) -> SlideModel:
    return SlideModel(predict, VOCABULARIES["luad_normal"].classes, 1.0, "a" * 32)


@pytest.fixture
def write_slide(tmp_path):
    def write(image, name="slide.tiff"):
        path = tmp_path / name
        tifffile.imwrite(path, image, tile=(64, 64), photometric="rgb", compression="zlib", metadata=None)
        return path

    return write


@pytest.fixture
def slide(write_slide, tissue):
    """300 x 240 um at 0.5 um/px."""
    return write_slide(np.repeat(np.repeat(tissue(240, 300), 2, axis=0), 2, axis=1))


def test_products_agree(slide, model, tmp_path):
    out = tmp_path / "out"
    summary = segment_slide(slide, model, out, mpp_override=0.5, **OPTIONS)
    assert sorted(path.name for path in out.iterdir()) == sorted(FILES)
    assert json.loads((out / "summary.json").read_text()) == summary

    labels = tifffile.imread(out / "segmentation.tif", key=0)
    assert labels.shape == (240, 300)
    assert set(np.unique(labels)) <= {0, 1, 2, IGNORE}
    with openslide.OpenSlide(out / "segmentation.tif") as pyramid:
        assert pyramid.dimensions == (300, 240)
    features = json.loads((out / "segmentation.geojson").read_text())["features"]
    for value, item in enumerate(model.classes):
        pixels = np.count_nonzero(labels == value)
        figures = summary["classes"][item.code]
        assert figures["area_mm2"] == pytest.approx(pixels / 1e6, abs=1e-6)
        assert figures["share"] == pytest.approx(pixels / (labels != IGNORE).sum(), abs=1e-6)
        names = [feature["properties"]["classification"]["name"] for feature in features]
        shapes = [shape(f["geometry"]) for f, name in zip(features, names, strict=True) if name == item.name]
        assert sum(polygon.area for polygon in shapes) == pixels * 4  # level-0 px
    ratio = summary["classes"]["TUM"]["area_mm2"] / summary["classes"]["STR"]["area_mm2"]
    assert summary["tumour_stroma_ratio"] == pytest.approx(ratio, rel=1e-3)
    with Image.open(out / "overlay.png") as overlay:
        assert overlay.size[0] > 300


def test_the_map_comes_back_as_an_array(slide, model, tmp_path, monkeypatch):
    """It is what the file holds, with a folder for the results or without."""
    summary, labels = segment_slide(slide, model, tmp_path / "out", mpp_override=0.5, return_map=True, **OPTIONS)
    assert labels.dtype == np.uint8
    np.testing.assert_array_equal(labels, tifffile.imread(tmp_path / "out/segmentation.tif", key=0))

    (tmp_path / "temporary").mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "temporary"))
    again, same = segment_slide(slide, model, mpp_override=0.5, return_map=True, **OPTIONS)
    assert again == summary == segment_slide(slide, model, mpp_override=0.5, **OPTIONS)
    np.testing.assert_array_equal(same, labels)
    assert list((tmp_path / "temporary").iterdir()) == []


def test_progress_is_told_to_a_function(slide, model, tmp_path, capsys):
    told = []
    options = OPTIONS | {"progress": lambda done, rows: told.append((done, rows))}
    segment_slide(slide, model, tmp_path / "out", mpp_override=0.5, **options)
    assert [rows for _, rows in told] == [240] * len(told)
    assert [done for done, _ in told] == sorted({done for done, _ in told})
    assert len(told) > 2
    assert told[-1] == (240, 240)
    assert capsys.readouterr().err == ""  # no bar beside it


def test_what_progress_raises_ends_the_call_and_leaves_nothing(slide, model, tmp_path):
    class EnoughError(Exception):
        pass

    def enough(done, rows):
        raise EnoughError

    with pytest.raises(EnoughError):
        segment_slide(slide, model, tmp_path / "out", mpp_override=0.5, **(OPTIONS | {"progress": enough}))
    assert not (tmp_path / "out").exists()


def test_polygons_lie_on_their_pixels(write_slide, predict, tmp_path):
    """A dark square in a white slide comes back where it is, in level-0 px."""
    image = np.full((400, 500, 3), 245, np.uint8)
    image[120:200, 260:360] = (150, 60, 60)
    model = SlideModel(predict, VOCABULARIES["luad_normal"].classes, 1.0, "a" * 32)
    segment_slide(write_slide(image), model, tmp_path / "out", mpp_override=0.5, **OPTIONS)
    features = json.loads((tmp_path / "out" / "segmentation.geojson").read_text())["features"]
    bounds = np.array([shape(feature["geometry"]).bounds for feature in features])
    assert (*bounds[:, :2].min(axis=0), *bounds[:, 2:].max(axis=0)) == (260, 120, 360, 200)


def test_same_bytes_whatever_the_batch(slide, model, tmp_path):
    for name, batch_size in (("one", 1), ("two", 50)):
        segment_slide(slide, model, tmp_path / name, mpp_override=0.5, batch_size=batch_size, **OPTIONS)
    for name in FILES:
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes()


def test_probabilities_have_the_maps_pyramid_and_agree_with_it(slide, model, tmp_path):
    out = tmp_path / "out"
    segment_slide(slide, model, out, mpp_override=0.5, probabilities=True, **OPTIONS)
    assert sorted(path.name for path in out.iterdir()) == sorted((*FILES, PROBABILITIES))
    labels = tifffile.imread(out / "segmentation.tif", key=0)
    with tifffile.TiffFile(out / PROBABILITIES) as tiff, tifffile.TiffFile(out / "segmentation.tif") as segmentation:
        levels, expected = tiff.series[0].levels, segmentation.series[0].levels
        assert [level.shape for level in levels] == [(3, *level.shape) for level in expected]
        probabilities = tiff.asarray().astype(int)
    tissue = labels != IGNORE
    assert np.abs(probabilities.sum(axis=0)[tissue] - 255).max() <= 1  # of rounding
    assert not probabilities[:, ~tissue].any()
    best = np.take_along_axis(probabilities, np.where(tissue, labels, 0)[None].astype(int), axis=0)[0]
    assert (best[tissue] == probabilities.max(axis=0)[tissue]).all()

    segment_slide(slide, model, out, mpp_override=0.5, skip_done=True, **OPTIONS)
    assert not (out / PROBABILITIES).exists()  # would belong to another run


def test_glass_gives_a_valid_empty_result(write_slide, model, tmp_path):
    slide = write_slide(np.full((200, 200, 3), 244, np.uint8))
    summary = segment_slide(slide, model, tmp_path / "out", mpp_override=1.0, **OPTIONS)
    assert summary["tissue_area_mm2"] == 0
    assert summary["tumour_stroma_ratio"] is None
    assert all(figures["share"] is None for figures in summary["classes"].values())
    assert json.loads((tmp_path / "out" / "segmentation.geojson").read_text())["features"] == []
    assert (tifffile.imread(tmp_path / "out" / "segmentation.tif", key=0) == IGNORE).all()


class TestSmallHoles:
    """A dark rectangle, 200 x 240 px of 1 um, with white in it: 1 px, 5 x 8 px, 20 x 20 px, and a notch at its edge."""

    @pytest.fixture
    def pierced(self, write_slide):
        image = np.full((300, 340, 3), 245, np.uint8)
        image[40:240, 50:290] = (150, 60, 60)
        for rows, columns in (
            ((60, 61), (70, 71)),
            ((90, 95), (100, 108)),
            ((130, 150), (200, 220)),
            ((40, 50), (90, 93)),
        ):
            image[slice(*rows), slice(*columns)] = 245
        return write_slide(image)

    @pytest.mark.parametrize(("min_hole", "white"), [(0, 441), (1.5, 440), (40, 440), (41, 400), (200, 400), (401, 0)])
    def test_are_tissue_in_all_products(self, pierced, model, tmp_path, min_hole, white):
        out = tmp_path / "out"
        summary = segment_slide(pierced, model, out, mpp_override=1.0, min_hole=min_hole, probabilities=True, **OPTIONS)
        labels = tifffile.imread(out / "segmentation.tif", key=0)
        tissue = 200 * 240 - 30 - white
        assert (labels != IGNORE).sum() == tissue
        assert summary["tissue_area_mm2"] == pytest.approx(tissue / 1e6, abs=1e-6)
        features = json.loads((out / "segmentation.geojson").read_text())["features"]
        assert sum(shape(feature["geometry"]).area for feature in features) == tissue
        assert summary["parameters"]["min_hole"] == min_hole
        probabilities = tifffile.imread(out / PROBABILITIES).astype(int)
        inside = labels != IGNORE
        assert np.abs(probabilities.sum(axis=0)[inside] - 255).max() <= 1
        assert not probabilities[:, ~inside].any()
        best = np.take_along_axis(probabilities, np.where(inside, labels, 0)[None].astype(int), axis=0)[0]
        assert (best[inside] == probabilities.max(axis=0)[inside]).all()

    def test_but_none_as_large_as_a_window_which_nobody_looked_at(self, pierced, model, tmp_path):
        options = OPTIONS | {"window": 20, "min_hole": 1e6}
        segment_slide(pierced, model, tmp_path / "out", mpp_override=1.0, **options)
        labels = tifffile.imread(tmp_path / "out" / "segmentation.tif", key=0)
        assert (labels == IGNORE).sum() == 300 * 340 - (200 * 240 - 30 - 400)

    def test_are_um2_whatever_the_resolution(self, pierced, predict, tmp_path):
        model = SlideModel(predict, VOCABULARIES["luad_normal"].classes, 0.5, "a" * 32)
        segment_slide(pierced, model, tmp_path / "out", mpp_override=0.5, min_hole=10.25, **OPTIONS)
        labels = tifffile.imread(tmp_path / "out" / "segmentation.tif", key=0)
        assert (labels != IGNORE).sum() == 200 * 240 - 30 - 400  # the one of 10 um2 is filled


class TestBadInput:
    def test_no_mpp(self, slide, model, tmp_path):
        with pytest.raises(InputError, match=r"slide\.tiff.*mpp"):
            segment_slide(slide, model, tmp_path / "out", **OPTIONS)
        assert not (tmp_path / "out").exists()

    def test_broken_file(self, model, tmp_path):
        (tmp_path / "broken.svs").write_bytes(os.urandom(1000))
        with pytest.raises(InputError, match=r"broken\.svs"):
            segment_slide(tmp_path / "broken.svs", model, tmp_path / "out", **OPTIONS)
        assert not (tmp_path / "out").exists()

    def test_missing_slide(self, model, tmp_path):
        with pytest.raises(InputError, match=r"none\.svs"):
            segment_slide(tmp_path / "none.svs", model, tmp_path / "out", **OPTIONS)

    def test_polygons_of_another_slide(self, slide, model, tmp_path):
        ring = [[5000, 5000], [6000, 5000], [6000, 6000], [5000, 5000]]
        (tmp_path / "roi.geojson").write_text(json.dumps({"type": "Polygon", "coordinates": [ring]}))
        with pytest.raises(InputError, match=r"roi\.geojson: no polygon lies on .*slide\.tiff"):
            segment_slide(slide, model, tmp_path / "out", mpp_override=0.5, roi=tmp_path / "roi.geojson", **OPTIONS)
        assert not (tmp_path / "out").exists()

    def test_model_of_other_classes(self, slide, predict, tmp_path):
        model = SlideModel(predict, VOCABULARIES["lung"].classes, 1.0, "a" * 32)
        with pytest.raises(InputError, match="model"):
            segment_slide(slide, model, tmp_path / "out", mpp_override=0.5, **OPTIONS)
        assert not (tmp_path / "out").exists()

    def test_failure_keeps_the_result_there_was(self, slide, model, tmp_path, monkeypatch):
        out = tmp_path / "out"
        segment_slide(slide, model, out, mpp_override=0.5, **OPTIONS)
        before = {path.name: path.read_bytes() for path in out.iterdir()}

        def full_disk(*_, **__):
            raise OSError(28, "No space left on device")

        monkeypatch.setattr(outputs, "write_geojson", full_disk)
        with pytest.raises(InputError, match="the disk is full"):
            segment_slide(slide, model, out, mpp_override=0.5, **OPTIONS)
        assert {path.name: path.read_bytes() for path in out.iterdir()} == before


class TestSkipDone:
    def test_same_work_is_not_repeated(self, slide, model, tmp_path):
        first = segment_slide(slide, model, tmp_path / "out", mpp_override=0.5, **OPTIONS)

        def fail(images):
            raise AssertionError("computed again")

        again = SlideModel(fail, model.classes, model.mpp, model.weights_md5)
        for registered in ({}, {"name": "segmenter", "version": "3"}):
            options = OPTIONS | {"skip_done": True, "registered": registered}
            assert segment_slide(slide, again, tmp_path / "out", mpp_override=0.5, **options) == first

    @pytest.mark.parametrize("change", ["model", "parameter", "unfinished"])
    def test_other_work_is(self, slide, model, tmp_path, change):
        out = tmp_path / "out"
        segment_slide(slide, model, out, mpp_override=0.5, **OPTIONS)
        (out / "overlay.png").unlink() if change == "unfinished" else (out / "overlay.png").write_bytes(b"old")
        other = SlideModel(model.predict, model.classes, model.mpp, "b" * 32) if change == "model" else model
        options = OPTIONS | ({"overlap": 0.25} if change == "parameter" else {})
        segment_slide(slide, other, out, mpp_override=0.5, skip_done=True, **options)
        assert (out / "overlay.png").stat().st_size > 100

    def test_another_slide_of_that_name_and_size_is(self, model, tmp_path, tissue):
        slide, shares = tmp_path / "slide.tiff", []
        for image in (tissue(100, 120), tissue(100, 120)[..., ::-1]):
            tifffile.imwrite(slide, image, tile=(64, 64), photometric="rgb", metadata=None)
            summary = segment_slide(slide, model, tmp_path / "out", mpp_override=1.0, skip_done=True, **OPTIONS)
            shares.append([figures["share"] for figures in summary["classes"].values()])
        assert shares[0] != shares[1]

    def test_a_whole_copy_of_a_damaged_slide_is(self, model, tmp_path, tissue):
        """Of the same coarsest level: OpenSlide's hash is that of the damaged one."""
        slide = tmp_path / "slide.tiff"
        with tifffile.TiffWriter(slide) as tiff:
            for step in (1, 8):
                image = tissue(1024, 1024)[::step, ::step]
                tiff.write(image, tile=(64, 64), photometric="rgb", compression="jpeg", subfiletype=step > 1)
        whole = slide.read_bytes()
        with tifffile.TiffFile(slide) as tiff:
            start, length = tiff.pages[0].dataoffsets[40], tiff.pages[0].databytecounts[40]
        slide.write_bytes(whole[:start] + bytes(length) + whole[start + length :])
        out, options = tmp_path / "out", OPTIONS | {"window": 256, "skip_done": True}
        damaged = segment_slide(slide, model, out, mpp_override=1.0, **options)
        slide.write_bytes(whole)
        mended = segment_slide(slide, model, out, mpp_override=1.0, **options)
        assert damaged["slide"] == mended["slide"]
        assert damaged["unreadable_share"] > 0 == mended["unreadable_share"]


def test_judged_against_truth_of_another_resolution(slide, model, tmp_path):
    out = tmp_path / "out"
    segment_slide(slide, model, out, mpp_override=0.5, **OPTIONS)
    labels = tifffile.imread(out / "segmentation.tif", key=0)
    truth = np.where(labels == IGNORE, IGNORE, labels).repeat(2, axis=0).repeat(2, axis=1)
    tifffile.imwrite(tmp_path / "truth.tif", truth, tile=(256, 256), compression="zlib")
    codes = [item.code for item in model.classes]
    judged = judge_slide(out / "segmentation.tif", tmp_path / "truth.tif", codes)
    assert judged["miou"] == judged["coverage"] == 1

    truth[truth == 1] = 0
    tifffile.imwrite(tmp_path / "truth.tif", truth, tile=(256, 256), compression="zlib")
    judged = judge_slide(out / "segmentation.tif", tmp_path / "truth.tif", codes)
    zeros, ones = (np.count_nonzero(labels == value) for value in (0, 1))
    assert judged["iou.TUM"] == pytest.approx(zeros / (zeros + ones))
    assert judged["iou.STR"] is None


@pytest.mark.real_data
class TestRealSlides:
    def test_aperio(self, real_data, model, tmp_path):
        path = real_data / "slides/CMU-1-Small-Region.svs"
        summary = segment_slide(path, model, tmp_path / "out", overlap=0.0, progress=False)
        assert summary["size"] == [1108, 1481]
        assert 0.3 < summary["tissue_area_mm2"] < 1.0

    def test_slide_without_mpp_asks_for_it(self, real_data, model, tmp_path):
        with pytest.raises(InputError, match="mpp"):
            segment_slide(real_data / "slides/tcga-cr-7395-01a-01-ts1.svs", model, tmp_path / "out")

    def test_broken(self, real_data, model, tmp_path):
        with pytest.raises(InputError, match=r"broken\.svs"):
            segment_slide(real_data / "slides/broken.svs", model, tmp_path / "out")


def test_a_slide_is_shown_as_if_it_was_stained_like_those_that_a_model_learnt_from(tmp_path, predict):
    """All windows alike, by what the whole slide is stained like; what is background is told by its own pixels."""
    path, target = tmp_path / "slide.tiff", fit_stain(image_of(H_AND_E), "macenko")
    tifffile.imwrite(path, image_of(OTHER, side=256), tile=(64, 64), photometric="rgb", metadata=None)
    with open_slide(path, 1.0) as reader:
        change = recolour(stain_of_slide(reader, "macenko", 1.0), target)
    seen, maps = {None: [], target: []}, {}
    for stain, windows in seen.items():

        def looking(images, windows=windows):
            windows.extend(images)
            return predict(images)

        model = SlideModel(looking, VOCABULARIES["luad_normal"].classes, 1.0, "a" * 32, stain=stain)
        out = tmp_path / f"out-{stain is None}"
        segment_slide(path, model, out, mpp_override=1.0, window=64, min_hole=0, progress=False)
        maps[stain] = tifffile.imread(out / "segmentation.tif", level=0)
    assert len(seen[None]) == len(seen[target]) > 9
    assert np.array_equal(np.stack(seen[target]), change(np.stack(seen[None])))
    assert np.array_equal(maps[None] == 255, maps[target] == 255)
    assert not np.array_equal(maps[None], maps[target])
