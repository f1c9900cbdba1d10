"""Only what is wanted is computed and read, and what is computed sees the slide as it is."""

import json

import numpy as np
import pytest
import shapely
import tifffile

from wsss_mm.errors import InputError
from wsss_mm.patches import IGNORE, VOCABULARIES
from wsss_mm.slide_parameters import Parameters
from wsss_mm.slides.roi import Region
from wsss_mm.slides.tissue import TissueMask
from wsss_mm.wsi import SlideModel, segment_slide
from wsss_mm.wsi import raster as raster_module
from wsss_mm.wsi.engine import segment_rows
from wsss_mm.wsi.raster import Raster
from wsss_mm.wsi.work_mask import WorkMask


def test_tissue_and_region_both_count():
    mask = np.zeros((5, 10), bool)
    mask[1:4, 2:9] = True
    region = Region(shapely.box(120, 0, 400, 90))
    wanted = WorkMask((100, 50), (50, 20), 3.0, TissueMask(mask, (35.0, 40.0)), region)
    y, x = np.mgrid[:50, :100]
    left, top = 50 + 3 * (x + 0.5), 20 + 3 * (y + 0.5)
    expected = mask[(top / 40).astype(int), np.minimum(left / 35, 9).astype(int)]
    expected &= (left > 120) & (left < 400) & (top < 90)
    np.testing.assert_array_equal(wanted.rows(0, 50), expected)
    np.testing.assert_array_equal(wanted.rows(7, 19), expected[7:19])
    np.testing.assert_array_equal(wanted.columns(-10, 12), expected[:12].any(axis=0))


@pytest.mark.parametrize(("strip", "block"), [(512, 2048), (32, 40), (64, 17)])
def test_same_map_inside_whatever_was_not_read(array_slide, predict, tissue, monkeypatch, strip, block):
    image = tissue(300, 260)
    region = Region(shapely.Polygon([(40, 50), (140, 60), (120, 160), (50, 130)], [[(70, 80), (90, 80), (80, 100)]]))
    whole = np.concatenate(
        [
            rows.labels
            for rows in segment_rows(Raster(lambda: array_slide(image), 1.0), predict, 3, Parameters(window=32))
        ]
    )
    monkeypatch.setattr(raster_module, "_STRIP", strip)
    monkeypatch.setattr(raster_module, "_BLOCK", block)
    seen, read = [], []

    def counting(images):
        seen.append(len(images))
        return predict(images)

    class Watched(array_slide):
        def read(self, x, y, size, mpp):
            read.append(size[0] * size[1])
            return super().read(x, y, size, mpp)

    raster = Raster(lambda: Watched(image), 1.0, readers=2)
    raster.reach, raster.wanted = 32, WorkMask((260, 300), (0, 0), 1.0, None, region)
    labels = np.concatenate([rows.labels for rows in segment_rows(raster, counting, 3, Parameters(window=32))])
    raster.close()
    inside = region.mask((0, 0), (260, 300), 1.0)
    np.testing.assert_array_equal(labels, np.where(inside, whole, IGNORE))
    assert sum(seen) <= 9 * 9
    if block < 50:
        assert sum(read) < 0.6 * image.shape[0] * image.shape[1]


class TestSegmentSlide:
    @pytest.fixture
    def slide(self, tmp_path):
        image = np.full((400, 500, 3), 245, np.uint8)
        image[100:300, 100:400] = (170, 80, 140)
        tifffile.imwrite(tmp_path / "s.tiff", image, tile=(64, 64), photometric="rgb", compression="zlib")
        return tmp_path / "s.tiff"

    @pytest.fixture
    def model(self, predict):
        return SlideModel(predict, VOCABULARIES["luad_normal"].classes, 1.0, "a" * 32)

    def test_outside_the_roi_is_ignored_and_holes_are_kept(self, slide, model, tmp_path):
        rings = [
            [[120, 120], [320, 120], [320, 280], [120, 280], [120, 120]],
            [[200, 180], [240, 180], [240, 220], [200, 220], [200, 180]],
        ]
        (tmp_path / "roi.geojson").write_text(json.dumps({"type": "Polygon", "coordinates": rings}))
        summary = segment_slide(
            *(slide, model, tmp_path / "out"),
            mpp_override=1.0, window=64, min_island=0, progress=False, roi=tmp_path / "roi.geojson",
        )  # fmt: skip
        labels = tifffile.imread(tmp_path / "out/segmentation.tif", key=0)
        expected = np.zeros((400, 500), bool)
        expected[120:280, 120:320] = True
        expected[180:220, 200:240] = False
        np.testing.assert_array_equal(labels != IGNORE, expected)
        assert summary["roi"]["file"] == "roi.geojson"

    def test_a_roi_that_is_not_there(self, slide, model, tmp_path):
        with pytest.raises(InputError, match=r"none\.geojson: No such file"):
            segment_slide(slide, model, tmp_path / "out", mpp_override=1.0, roi=tmp_path / "none.geojson")

    def test_the_thumbnail_changes_nothing_where_there_is_tissue(self, model, tmp_path, tissue, monkeypatch):
        """Of a slide with small levels, tissue far inside glass: the same map, without looking at the glass."""
        image = np.full((1024, 1536, 3), 244, np.uint8)
        image[400:600, 700:900] = tissue(200, 200) // 2 + (90, 20, 70)
        with tifffile.TiffWriter(tmp_path / "s.tiff") as tiff:
            for step in (1, 4):
                level = image.reshape(1024 // step, step, 1536 // step, step, 3).mean((1, 3)).astype(np.uint8)
                tiff.write(level, tile=(64, 64), photometric="rgb", subfiletype=int(step > 1), metadata=None)
        maps, summaries = [], []
        for mask in (True, False):
            out = tmp_path / str(mask)
            options = {"mpp_override": 1.0, "window": 64, "min_island": 0, "progress": False}
            summaries.append(segment_slide(tmp_path / "s.tiff", model, out, tissue_mask=mask, **options))
            maps.append((out / "segmentation.tif").read_bytes())
        assert maps[0] == maps[1]
        assert summaries[0]["tissue_area_mm2"] == summaries[1]["tissue_area_mm2"] > 0
