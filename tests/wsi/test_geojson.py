"""The GeoJSON is what QuPath expects, and its areas are the map's."""

import json

import numpy as np
import pytest
from shapely.geometry import shape

from tests.wsi.conftest import make_labels
from wsss_mm.patches import IGNORE, VOCABULARIES
from wsss_mm.wsi import geojson
from wsss_mm.wsi.geojson import write_geojson

CLASSES = VOCABULARIES["luad_normal"].classes


@pytest.fixture
def labels() -> np.ndarray:
    return make_labels(180, 240, seed=3, coarse=4)


def _read(path):
    return json.loads(path.read_text(encoding="utf-8"))["features"]


@pytest.mark.parametrize("factor", [1.0, 2.0, 2.004, 0.7])
def test_areas_are_the_maps(labels, tmp_path, factor):
    written = write_geojson(tmp_path / "a.geojson", labels, CLASSES, factor=factor)
    features = _read(tmp_path / "a.geojson")
    assert any(len(feature["geometry"]["coordinates"]) > 1 for feature in features)
    for value, item in enumerate(CLASSES):
        shapes = [
            shape(feature["geometry"])
            for feature in features
            if feature["properties"]["classification"]["name"] == item.name
        ]
        assert all(polygon.is_valid for polygon in shapes)
        assert len(shapes) == written[item.code].polygons
        pixels = np.count_nonzero(labels == value)
        assert written[item.code].pixels == pixels
        assert sum(polygon.area for polygon in shapes) == pytest.approx(pixels * factor**2, rel=1e-3)


def test_properties_are_qupaths(labels, tmp_path):
    write_geojson(tmp_path / "a.geojson", labels, CLASSES)
    feature = _read(tmp_path / "a.geojson")[0]
    assert feature["type"] == "Feature"
    assert feature["properties"] == {
        "objectType": "annotation",
        "classification": {"name": CLASSES[0].name, "color": list(CLASSES[0].color)},
    }
    for ring in feature["geometry"]["coordinates"]:
        assert ring[0] == ring[-1]


def test_small_islands_are_dropped_and_counted(labels, tmp_path):
    written = write_geojson(tmp_path / "a.geojson", labels, CLASSES, min_area=400)
    shapes = [shape(feature["geometry"]) for feature in _read(tmp_path / "a.geojson")]
    assert min(polygon.area for polygon in shapes) >= 400
    for value, item in enumerate(CLASSES):
        assert written[item.code].pixels + written[item.code].dropped_pixels == np.count_nonzero(labels == value)
    assert sum(item.dropped_pixels for item in written.values()) > 0


@pytest.mark.parametrize("points", [3, 50])
def test_pieces_of_outlines_do_not_show(labels, tmp_path, monkeypatch, points):
    write_geojson(tmp_path / "a.geojson", labels, CLASSES, factor=0.7)
    monkeypatch.setattr(geojson, "_POINTS_AT_ONCE", points)
    write_geojson(tmp_path / "b.geojson", labels, CLASSES, factor=0.7)
    assert _read(tmp_path / "a.geojson") == _read(tmp_path / "b.geojson")


def test_coordinates_stay_on_the_slide(tmp_path):
    labels = np.zeros((10, 10), np.uint8)
    write_geojson(tmp_path / "a.geojson", labels, CLASSES, factor=2.004, limits=(20, 20))
    (feature,) = _read(tmp_path / "a.geojson")
    assert shape(feature["geometry"]).bounds == (0, 0, 20, 20)


def test_empty_map_is_a_valid_collection(tmp_path):
    write_geojson(tmp_path / "a.geojson", np.full((9, 9), IGNORE, np.uint8), CLASSES)
    assert json.loads((tmp_path / "a.geojson").read_text()) == {"type": "FeatureCollection", "features": []}
