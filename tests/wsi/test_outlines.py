"""Outlines are read back as they were written, in little memory, and whatever is wrong with the file is an error."""

import json
import tracemalloc

import numpy as np
import pytest
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st
from shapely.geometry import shape

from wsss_mm.errors import InputError
from wsss_mm.patches import VOCABULARIES
from wsss_mm.wsi import outlines
from wsss_mm.wsi.geojson import write_geojson
from wsss_mm.wsi.outlines import read_outlines

CLASSES = VOCABULARIES["lung"].classes


def written(folder, seed=0, side=60, factor=1.0):
    labels = np.random.default_rng(seed).choice([0, 1, 2, 255], (side, side), p=[0.6, 0.2, 0.1, 0.1]).astype(np.uint8)
    write_geojson(folder / "map.geojson", labels, CLASSES, factor=factor)
    return folder / "map.geojson"


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 2**32 - 1), st.floats(0.5, 9), st.sampled_from([None, 2]))
def test_the_same_as_json_says(tmp_path_factory, seed, factor, indent):
    path = written(tmp_path_factory.mktemp("map"), seed, 25, factor)
    features = json.loads(path.read_text())["features"]
    if indent:  # by other hands
        path.write_text(json.dumps({"features": features, "type": "FeatureCollection"}, indent=indent))
    found = list(read_outlines(path))
    assert len(found) == len(features)
    for outline, feature in zip(found, features, strict=True):
        assert shapely.equals_exact(outline.polygon, shape(feature["geometry"]), 0)
        assert {"name": outline.name, "color": outline.color} == feature["properties"]["classification"]


def test_all_of_what_is_written_is_read_as_numbers(tmp_path, monkeypatch):
    path = written(tmp_path)
    monkeypatch.delattr(outlines, "_outline")
    assert len(list(read_outlines(path))) > 100


def test_an_empty_map_has_none(tmp_path):
    write_geojson(tmp_path / "map.geojson", np.full((9, 9), 255, np.uint8), CLASSES)
    assert list(read_outlines(tmp_path / "map.geojson")) == []


def test_memory_does_not_grow_with_the_file(tmp_path):
    path = written(tmp_path, side=300)  # 5 MB
    tracemalloc.start()
    try:
        count = sum(1 for _ in read_outlines(path))
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    longest = max(map(len, path.read_text().splitlines()))
    assert count > 10_000
    assert peak < 8 * longest + (1 << 18) < path.stat().st_size


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda text: text[: len(text) // 2], "Expecting|Unterminated|ends before|parted by commas|delimiter"),
        (lambda text: text.removesuffix("]}\n"), "parted by commas"),
        (lambda text: text.replace("}},\n", "}}\n", 1), "parted by commas"),
        (lambda text: text.replace("}}\n]}", "}},\n]}"), "parted by commas"),
        (lambda text: text + "{}", "goes on"),
        (lambda text: text.replace("\n", "\n\n", 2), "ends before|parted"),
        (lambda text: text.replace("FeatureCollection", "Feature"), "no FeatureCollection"),
        (lambda text: "[]", "no FeatureCollection"),
    ],
)
def test_what_is_no_collection(tmp_path, change, says):
    path = written(tmp_path)
    path.write_text(change(path.read_text()))
    with pytest.raises((InputError, ValueError), match=says):
        list(read_outlines(path))


def test_a_large_file_without_line_breaks_is_refused(tmp_path, monkeypatch):
    path = written(tmp_path)
    path.write_text(path.read_text().replace("\n", ""))
    assert len(list(read_outlines(path))) > 100
    monkeypatch.setattr(outlines, "LARGEST_TEXT", 1000)
    with pytest.raises(InputError, match="not one feature a line, and more than 1,000"):
        list(read_outlines(path))


@pytest.mark.parametrize(
    "geometry",
    [
        '{"type":"Polygon","coordinates":[[[0,0],[4,0],[0,4],[4,4],[0,0]]]}',
        '{"type":"Polygon","coordinates":[[[0,0],[4,0]]]}',
        '{"type":"Polygon","coordinates":[[[0,0],[4,0],[4,1e999],[0,0]]]}',
        '{"type":"Polygon","coordinates":[]}',
        '{"type":"Circle","coordinates":[[[0,0],[4,0],[4,4],[0,0]]]}',
        "null",
        "7",
    ],
)
def test_what_is_no_valid_polygon(tmp_path, geometry):
    properties = '{"objectType":"annotation","classification":{"name":"Necrosis","color":[0,200,80]}}'
    line = f'{{"type":"Feature","geometry":{geometry},"properties":{properties}}}'
    (tmp_path / "map.geojson").write_text(f'{{"type": "FeatureCollection", "features": [\n{line}\n]}}\n')
    (outline,) = read_outlines(tmp_path / "map.geojson")
    assert outline.polygon is None
    assert outline.name == "Necrosis"


@pytest.mark.parametrize("feature", ["{}", "[]", '{"geometry":{"type":"Point","coordinates":[1,2]},"properties":null}'])
def test_what_has_no_class(tmp_path, feature):
    (tmp_path / "map.geojson").write_text(f'{{"type": "FeatureCollection", "features": [\n{feature}\n]}}\n')
    (outline,) = read_outlines(tmp_path / "map.geojson")
    assert outline.name is None
