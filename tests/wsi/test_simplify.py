"""Outlines with fewer points: valid, near the exact ones, and no area runs away."""

import gzip
import json

import numpy as np
import pytest
import shapely

from tests.wsi.conftest import make_labels
from wsss_mm.patches import VOCABULARIES
from wsss_mm.wsi import simplify
from wsss_mm.wsi.geojson import write_geojson
from wsss_mm.wsi.outlines import read_outlines
from wsss_mm.wsi.polygons import TracedRegion, trace_regions
from wsss_mm.wsi.simplify import polygon_of, simplified

CLASSES = VOCABULARIES["luad_normal"].classes


@pytest.fixture
def labels() -> np.ndarray:
    return make_labels(300, 260, seed=5, coarse=6)


@pytest.mark.parametrize("tolerance", [0.5, 2.0, 6.0])
def test_every_outline_is_valid_and_lies_within_the_tolerance(labels, tolerance):
    before = after = 0
    for value in range(len(CLASSES)):
        for region in trace_regions(labels, value):
            drawn = simplified(region, tolerance)
            exact, fewer = (polygon_of(item, 1.0, None) for item in (region, drawn))
            assert fewer.is_valid
            assert drawn.area == region.area, "of the map"
            assert len(fewer.interiors) == len(exact.interiors)
            assert shapely.hausdorff_distance(exact.boundary, fewer.boundary) <= tolerance + 1e-9
            before += shapely.count_coordinates(exact)
            after += shapely.count_coordinates(fewer)
    assert after < before / 2 or tolerance < 1


@pytest.mark.parametrize("factor", [1.0, 2.004, 0.7])
def test_what_is_told_of_areas_is_what_the_file_has(labels, tmp_path, factor):
    limits = (round(260 * factor), round(300 * factor))
    path = tmp_path / "a.geojson"
    written = write_geojson(path, labels, CLASSES, factor=factor, limits=limits, min_area=20, tolerance=1.5)
    exact = write_geojson(tmp_path / "b.geojson", labels, CLASSES, factor=factor, limits=limits, min_area=20)
    found = list(read_outlines(path))
    assert all(item.polygon is not None for item in found)
    assert path.stat().st_size < (tmp_path / "b.geojson").stat().st_size / 2
    for item in CLASSES:
        area = sum(one.polygon.area for one in found if one.name == item.name) / factor**2
        assert written[item.code].outlined == pytest.approx(area)
        assert area == pytest.approx(written[item.code].pixels, rel=0.02)
        assert area != written[item.code].pixels
        counted = (written[item.code].polygons, written[item.code].pixels, written[item.code].dropped_pixels)
        assert counted == (exact[item.code].polygons, exact[item.code].pixels, exact[item.code].dropped_pixels)
        assert exact[item.code].outlined is None


def test_an_outline_that_would_cross_itself_stays_exact(labels, monkeypatch):
    region = max(trace_regions(labels, 0), key=lambda item: item.area)
    crossed = shapely.Polygon([*region.exterior[2:], *region.exterior[1::-1]], region.holes)
    monkeypatch.setattr(simplify.shapely, "simplify", lambda *_, **__: crossed)
    assert simplified(region, 2.0) is region


def test_a_square_has_nothing_to_lose():
    square = TracedRegion(np.array([[0, 0], [3, 0], [3, 3], [0, 3]]), 9)
    assert simplified(square, 50.0) is square


def test_the_packed_file_is_the_plain_one_whatever_the_hour(labels, tmp_path, monkeypatch):
    written = write_geojson(tmp_path / "a.geojson", labels, CLASSES)
    assert write_geojson(tmp_path / "a.geojson.gz", labels, CLASSES) == written
    packed = (tmp_path / "a.geojson.gz").read_bytes()
    assert gzip.decompress(packed) == (tmp_path / "a.geojson").read_bytes()
    monkeypatch.setattr("time.time", lambda: 1.0)
    write_geojson(tmp_path / "b.geojson.gz", labels, CLASSES)
    assert (tmp_path / "b.geojson.gz").read_bytes() == packed
    assert json.loads(gzip.decompress(packed))["type"] == "FeatureCollection"
