import json
import logging

import numpy as np
import pytest
import shapely
from hypothesis import given
from hypothesis import strategies as st

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

    def test_a_derived_class_has_all_its_names(self, tmp_path):
        path = write(tmp_path / "a.geojson", feature(RING, classification={"names": ["Tumor", " Positive"]}))
        (area,) = read_annotations(path)
        assert (area.names, area.name) == (("Tumor", "Positive"), "Tumor: Positive")

    @pytest.mark.parametrize("beside", [True, False])
    def test_objects_that_others_hold_come_after_them(self, tmp_path, beside):
        def holding(name, *children):
            more = {"childObjects": list(children)}
            item = feature(RING, classification={"name": name}, **({} if beside else more))
            return item | more if beside else item

        root = {"type": "Feature", "geometry": None, "properties": {}, "childObjects": [holding("e")]}
        content = [holding("a", holding("b", holding("c")), holding("d")), root]
        areas = read_annotations(write(tmp_path / "a.geojson", content))
        assert [(area.name, area.place) for area in areas] == [
            ("a", "feature 1"),
            ("b", "feature 1, child 1"),
            ("c", "feature 1, child 1, child 1"),
            ("d", "feature 1, child 2"),
            ("e", "feature 2, child 1"),
        ]

    @pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-16-be"])
    def test_files_of_any_editor(self, tmp_path, encoding):
        path = tmp_path / "a.geojson"
        path.write_bytes(json.dumps(feature(RING)).encode(encoding))
        assert len(read_annotations(path)) == 1

    def test_a_third_coordinate_and_a_plane_do_no_harm(self, tmp_path):
        solid = {"type": "Polygon", "coordinates": [[[x, y, 7] for x, y in SQUARE["coordinates"][0]]]}
        path = write(tmp_path / "a.geojson", feature(solid | {"plane": {"c": -1, "z": 2, "t": 0}}, isLocked=True))
        region = read_region(path, (10, 0))
        assert region.bounds == (210, 0, 100, 100)
        assert not region.geometry.has_z

    @pytest.mark.parametrize("kind", ["Polygon", "MultiPolygon"])
    def test_a_ring_that_is_left_open_is_closed(self, tmp_path, kind):
        rings = [ring[:-1] for ring in RING["coordinates"]]
        geometry = {"type": kind, "coordinates": rings if kind == "Polygon" else [rings]}
        assert read_region(write(tmp_path / "a.geojson", feature(geometry))).geometry.area == 7500

    def test_an_outline_that_runs_over_itself_is_all_it_goes_round(self, tmp_path):
        star = [[round(50 + 40 * np.cos(a), 3), round(50 + 40 * np.sin(a), 3)] for a in np.arange(6) * 4 * np.pi / 5]
        region = read_region(write(tmp_path / "a.geojson", feature({"type": "Polygon", "coordinates": [star]})))
        assert region.mask((0, 0), (100, 100), 1)[50, 50]

    def test_a_hole_that_leaves_its_outline_adds_nothing(self, tmp_path):
        hole = [[[50, 50], [150, 50], [150, 150], [50, 150], [50, 50]]]
        geometry = {"type": "Polygon", "coordinates": [RING["coordinates"][0], *hole]}
        assert read_region(write(tmp_path / "a.geojson", feature(geometry))).geometry.area == 7500

    def test_classes_of_what_is_no_area_are_named(self, tmp_path, caplog):
        line = feature({"type": "LineString", "coordinates": [[0, 0], [5, 5]]}, classification={"name": "TE"})
        flat = feature({"type": "Polygon", "coordinates": [[[0, 0], [5, 0], [0, 0]]]}, classification="TE")
        with caplog.at_level(logging.WARNING):
            assert len(read_annotations(write(tmp_path / "a.geojson", [feature(RING), line, flat]))) == 1
        assert "2 objects with a class have no area and are left out, the first: feature 2" in caplog.text

    def test_missing_file(self, tmp_path):
        with pytest.raises(InputError, match="no such file"):
            read_annotations(tmp_path / "none.geojson")


class TestPlace:
    """Whether what was drawn lies on the slide; its size is 300 x 100 px, from QuPath's origin."""

    def test_on_the_slide(self, tmp_path, caplog):
        path = write(tmp_path / "a.geojson", [feature(RING), feature(SQUARE)])
        assert len(read_annotations(path, (1000, 50), (300, 100))) == 2
        assert len(read_annotations(path, (1000, 50), (260, 90))) == 2  # a little over the edge
        assert not caplog.records

    @pytest.mark.parametrize(
        ("size", "message"),
        [
            (
                (150, 350),
                r"\(x and y exchanged they would\): they reach from x=200, y=0 to 300, 100, the slide is 150 x 3",
            ),
            ((150, 90), r"no area lies on the slide: they reach"),
        ],
    )
    def test_off_the_slide(self, tmp_path, size, message):
        path = write(tmp_path / "a.geojson", feature(SQUARE))
        with pytest.raises(InputError, match=rf"a\.geojson: .*{message}"):
            read_region(path, (1000, 50), size)

    def test_some_of_them(self, tmp_path, caplog):
        with caplog.at_level(logging.WARNING):
            read_annotations(write(tmp_path / "a.geojson", [feature(RING), feature(SQUARE)]), size=(240, 100))
        assert "1 of 2 areas lie more than half outside the slide, the first: feature 2" in caplog.text

    @given(st.tuples(*[st.integers(-50, 350)] * 2), st.tuples(*[st.integers(1, 200)] * 2))
    def test_nothing_that_misses_the_slide_passes(self, tmp_path_factory, corner, sides):
        (x, y), (width, height) = corner, sides
        box = {"type": "Polygon", "coordinates": [[[x, y], [x + width, y], [x + width, y + height], [x, y + height]]]}
        path = write(tmp_path_factory.getbasetemp() / "box.geojson", feature(box))
        on_slide = x < 300 and x + width > 0 and y < 100 and y + height > 0
        try:
            assert read_region(path, (7, 9), (300, 100)).bounds == (x + 7, y + 9, width, height)
        except InputError:
            assert not on_slide
        else:
            assert on_slide


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

    @pytest.mark.parametrize("corner", [(0, 0), (3, 7)])
    def test_areas_that_meet_leave_no_pixel_between_them(self, corner):
        """QuPath's brush and wand give whole numbers, on which the centres of a map of half the resolution lie."""
        sides = [(shapely.box(-9, -9, 101, 201), 1), (shapely.box(101, -9, 301, 201), 2)]
        slopes = [([(-9, -9), (301, 301), (-9, 301)], 1), ([(-9, -9), (301, -9), (301, 301)], 2)]
        for areas in (sides, [(shapely.Polygon(points), label) for points, label in slopes]):
            assert set(np.unique(rasterise(areas, corner, (90, 90), 2))) == {1, 2}
        square = rasterise([(shapely.box(101, 51, 141, 91), 1)], (0, 0), (100, 100), 2)
        assert (square == 1).sum() == 20 * 20


def test_lists_of_collections_are_read_as_their_features(tmp_path):
    squares = [
        {
            "type": "Feature",
            "geometry": shapely.geometry.mapping(shapely.box(x, 0, x + 9, 9)),
            "properties": {"classification": name},
        }
        for x, name in ((0, "TE"), (20, "LYM"), (40, "TAS"))
    ]
    collections = [{"type": "FeatureCollection", "features": part} for part in (squares[:2], squares[2:])]
    for content in (collections, {"type": "FeatureCollection", "features": squares}, squares):
        (tmp_path / "a.geojson").write_text(json.dumps(content))
        assert [area.name for area in read_annotations(tmp_path / "a.geojson")] == ["TE", "LYM", "TAS"]
