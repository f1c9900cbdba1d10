import json

import numpy as np
import pytest
import shapely

from wsss_mm.errors import InputError
from wsss_mm.slides.roi import Region, rasterise, read_annotations, read_region

RING = {
    "type": "Polygon",
    "coordinates": [
        [[0, 0], [100, 0], [100, 100], [0, 100], [0, 0]],
        [[25, 25], [75, 25], [75, 75], [25, 75], [25, 25]],
    ],
}
SQUARE = {"type": "Polygon", "coordinates": [[[200, 0], [300, 0], [300, 100], [200, 100], [200, 0]]]}


def feature(geometry, **properties):
    return {
        "type": "Feature",
        "id": "1",
        "geometry": geometry,
        "properties": {"objectType": "annotation", **properties},
    }


def write(path, content):
    path.write_text(json.dumps(content))
    return path


class TestRead:
    @pytest.mark.parametrize(
        "wrap",
        [lambda items: {"type": "FeatureCollection", "features": items}, lambda items: items, lambda items: items[0]],
    )
    def test_collections_lists_and_single_features(self, tmp_path, wrap):
        path = write(tmp_path / "roi.geojson", wrap([feature(RING)]))
        assert read_region(path).geometry.area == 7500

    def test_class_names_of_both_dialects(self, tmp_path):
        path = write(
            tmp_path / "a.geojson",
            [
                feature(RING, classification={"name": "Tumor", "color": [200, 0, 0]}),
                feature(SQUARE, classification="Stroma"),
                feature(SQUARE),
                feature({"type": "LineString", "coordinates": [[0, 0], [5, 5]]}, classification={"name": "ruler"}),
            ],
        )
        assert [annotation.name for annotation in read_annotations(path)] == ["Tumor", "Stroma", ""]

    def test_a_feature_that_lies_nowhere_is_passed_over(self, tmp_path):
        path = write(tmp_path / "a.geojson", [feature(None), feature(SQUARE)])
        assert len(read_annotations(path)) == 1

    def test_coordinates_count_from_the_origin_of_the_scan(self, tmp_path):
        path = write(tmp_path / "a.geojson", feature(SQUARE))
        assert read_region(path, origin=(1000, 50)).bounds == (1200, 50, 100, 100)

    def test_an_outline_that_crosses_itself_is_mended(self, tmp_path):
        bow = {"type": "Polygon", "coordinates": [[[0, 0], [10, 10], [10, 0], [0, 10], [0, 0]]]}
        region = read_region(write(tmp_path / "a.geojson", feature(bow)))
        assert region.geometry.is_valid
        assert region.geometry.area == 50

    @pytest.mark.parametrize(
        ("text", "message"),
        [
            ("{", "not readable as GeoJSON"),
            ("[]", "holds no polygon"),
            ('{"type": "FeatureCollection", "features": []}', "holds no polygon"),
            ('[{"geometry": {"type": "Polygon"}}]', "feature 1 is no GeoJSON geometry"),
            ("[3]", "feature 1 is no GeoJSON geometry"),
            ("[" * 100_000, "not readable as GeoJSON"),
            (
                json.dumps(
                    [
                        feature(RING),
                        feature(RING)
                        | {"geometry": {"type": "Polygon", "coordinates": [[[0, 0], [1e300, 0], [0, 1e300], [0, 0]]]}},
                    ]
                ),
                "feature 2 is no GeoJSON geometry",
            ),
        ],
    )
    def test_bad_files_are_named(self, tmp_path, text, message):
        path = tmp_path / "bad.geojson"
        path.write_text(text)
        with pytest.raises(InputError, match=rf"bad\.geojson: {message}"):
            read_annotations(path)

    @pytest.mark.parametrize(
        "properties", ["x", [1], 7, {"classification": [1]}, {"classification": {"name": None}}, None]
    )
    def test_an_area_without_a_name_that_is_text_has_none(self, tmp_path, properties):
        path = write(tmp_path / "a.geojson", feature(RING) | {"properties": properties})
        assert [area.name for area in read_annotations(path)] == [""]

    def test_areas_of_one_feature_that_overlap_count_once(self, tmp_path):
        twice = {"type": "GeometryCollection", "geometries": [SQUARE, SQUARE]}
        (area,) = read_annotations(write(tmp_path / "a.geojson", feature(twice)))
        assert area.geometry.is_valid
        assert area.geometry.area == shapely.from_geojson(json.dumps(SQUARE)).area

    def test_missing_file(self, tmp_path):
        with pytest.raises(InputError, match="no such file"):
            read_annotations(tmp_path / "none.geojson")


def test_share_of_rectangles():
    region = Region(shapely.union_all(shapely.from_geojson([json.dumps(RING), json.dumps(SQUARE)])))
    boxes = [
        (0, 0, 25, 25),
        (25, 25, 50, 50),
        (0, 0, 100, 100),
        (90, 0, 120, 100),
        (400, 400, 10, 10),
        (-50, 0, 100, 20),
    ]
    assert region.share(boxes) == pytest.approx([1, 0, 0.75, 20 / 120, 0, 0.5])


class TestRasterise:
    def test_pixels_take_what_their_centre_lies_in_and_holes_stay_open(self):
        labels = rasterise([(shapely.from_geojson(json.dumps(RING)), 2)], (0, 0), (120, 110), 1)
        expected = np.full((110, 120), 255)
        expected[:100, :100] = 2
        expected[25:75, 25:75] = 255
        np.testing.assert_array_equal(labels, expected)

    def test_later_areas_cover_earlier_ones_at_any_scale_and_corner(self):
        areas = [(shapely.box(0, 0, 100, 100), 0), (shapely.box(50, 0, 100, 40), 3)]
        labels = rasterise(areas, (20, -20), (10, 10), 10)
        expected = np.full((10, 10), 255)
        expected[2:, :8] = 0
        expected[2:6, 3:8] = 3
        np.testing.assert_array_equal(labels, expected)
