"""What is written for other tools says to their readers what the map says."""

import gzip
import importlib
import json
import shutil
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import shapely
import tifffile
from shapely.geometry import shape

from tests.wsi.conftest import colour_predict, write_tissue
from wsss_mm.errors import InputError
from wsss_mm.places import LABEL_MAP, LABELS_ZARR, OUTLINES, OUTLINES_GZ, OVERLAY, POLYGONS, SLIDE_FILES, SUMMARY
from wsss_mm.vocabulary import IGNORE, get_vocabulary
from wsss_mm.wsi import SlideModel, outlines, segment_slide
from wsss_mm.wsi.omezarr import write_ome_zarr
from wsss_mm.wsi.spatial import to_spatialdata
from wsss_mm.wsi.viewer.results import read_result

WIDTH, HEIGHT, MPP = 700, 540, 1.0  # of the map; the slide is twice as fine
CLASSES = get_vocabulary("luad_normal").classes
ASKED = {"geojson": "gz", "simplify_um": 3.0, "geoparquet": True, "ome_zarr": True, "min_island": 100.0}


def needed(name):
    """A reader that the extra `exits` brings."""
    try:
        return importlib.import_module(name)
    except ImportError:
        pytest.skip(f"{name} is not installed: pip install 'wsss-mm[exits]'")


THREADS = pytest.mark.leaves("zarr and dask keep threads, and a loop with its sockets, while the process lives")


@pytest.fixture(scope="module")
def slide(tmp_path_factory):
    return write_tissue(tmp_path_factory.mktemp("slide") / "slide.tiff", HEIGHT, WIDTH)


def segmented(slide, out, **changes):
    model = SlideModel(colour_predict, CLASSES, MPP, "a" * 32)
    segment_slide(slide, model, out, **{"window": 64, "progress": False, "mpp_override": 0.5} | changes)
    return out


@pytest.fixture(scope="module")
def plain(slide, tmp_path_factory):
    return segmented(slide, tmp_path_factory.mktemp("plain") / "slide", min_island=100.0)


@pytest.fixture(scope="module")
def results(slide, tmp_path_factory):
    return segmented(slide, tmp_path_factory.mktemp("results") / "slide", **ASKED)


@pytest.fixture(scope="module")
def labels(results):
    return tifffile.imread(results / LABEL_MAP, key=0)


@pytest.fixture(scope="module")
def polygons(results):
    """Of the compressed GeoJSON, read without this project's help: name, area in px of the slide, and shape."""
    content = json.loads(gzip.decompress((results / OUTLINES_GZ).read_bytes()))
    return [(item["properties"]["classification"]["name"], shape(item["geometry"])) for item in content["features"]]


def test_what_a_killed_process_left_of_a_folder_is_in_nobodys_way(tmp_path):
    killed, fresh = tmp_path / "killed", tmp_path / "fresh"
    picture, background = np.full((30, 40, 3), 7, np.uint8), np.full((60, 80), IGNORE, np.uint8)
    write_ome_zarr(killed, np.zeros((60, 80), np.uint8), MPP, CLASSES, picture=picture, name="slide")
    (killed / "zarr.json").unlink()
    for path in (killed, fresh):
        write_ome_zarr(path, background, MPP, CLASSES, picture=picture, name="slide")
    found, wanted = (
        {file.relative_to(path): file.read_bytes() for file in path.rglob("*") if file.is_file()}
        for path in (killed, fresh)
    )
    assert found == wanted


def test_what_is_not_asked_for_is_not_there_and_changes_nothing(plain, results):
    assert sorted(path.name for path in plain.iterdir()) == sorted(SLIDE_FILES)
    for name in (LABEL_MAP, OVERLAY):
        assert (plain / name).read_bytes() == (results / name).read_bytes()
    assert set(json.loads((plain / SUMMARY).read_text())["parameters"]).isdisjoint(ASKED.keys() - {"min_island"})
    assert json.loads((results / SUMMARY).read_text())["parameters"].items() >= ASKED.items()
    assert not (results / OUTLINES).exists()
    assert read_result(results).folder == results, "the viewer opens it"
    found = [outlines.outlines_of(folder) for folder in (plain, results, results.parent)]
    assert found == [plain / OUTLINES, results / OUTLINES_GZ, None], "so does the page where outlines are taken over"


def test_compressed_outlines_have_the_areas_of_the_map(results, plain, polygons, labels):
    summary = json.loads((results / SUMMARY).read_text())["classes"]
    exact = json.loads((plain / SUMMARY).read_text())["classes"]
    for item in CLASSES:
        area = sum(one.area for name, one in polygons if name == item.name) * 0.5**2 / 1e6
        figures = summary[item.code]
        assert figures["simplified_area_mm2"] == pytest.approx(area, abs=1.1e-6)
        assert area == pytest.approx(figures["polygon_area_mm2"], rel=0.02)
        assert {key: value for key, value in figures.items() if key in exact[item.code]} == exact[item.code]
        assert figures["polygons"] == sum(name == item.name for name, _ in polygons)
    assert all(one.is_valid for _, one in polygons)
    assert (results / OUTLINES_GZ).stat().st_size < (plain / OUTLINES).stat().st_size / 5


def test_a_damaged_archive_is_told_of(results, tmp_path):
    whole = (results / OUTLINES_GZ).read_bytes()
    for number, content in enumerate((whole[:-100], b"no archive", whole[:50] + bytes(60) + whole[110:])):
        path = tmp_path / f"{number}.geojson.gz"
        path.write_bytes(content)
        with pytest.raises(InputError, match=r"cannot be unpacked"):
            list(outlines.read_outlines(path))


class TestGeoParquet:
    def test_rows_are_the_polygons_of_the_geojson(self, results, polygons, labels):
        table = pq.read_table(results / POLYGONS)
        geo = json.loads(table.schema.metadata[b"geo"])
        assert (geo["version"], geo["primary_column"]) == ("1.1.0", "geometry")
        column = geo["columns"]["geometry"]
        assert (column["encoding"], column["geometry_types"], column["crs"]) == ("WKB", ["Polygon"], None)
        assert float(table.schema.metadata[b"wsss_mm.mpp"]) == 0.5
        found = shapely.from_wkb(table["geometry"].to_pylist())
        assert [name for name, _ in polygons] == table["name"].to_pylist()
        assert all(one.equals(other) for one, (_, other) in zip(found, polygons, strict=True))
        boxes = [tuple(row.values()) for row in table["bbox"].to_pylist()]
        assert boxes == [one.bounds for one in found]
        summary = json.loads((results / SUMMARY).read_text())["classes"]
        for item in CLASSES:
            areas = [row["area_mm2"] for row in table.to_pylist() if row["class"] == item.code]
            assert sum(areas) == pytest.approx(summary[item.code]["polygon_area_mm2"], abs=1e-6)
        assert table["color"][0].as_py() == "#{:02x}{:02x}{:02x}".format(*CLASSES[0].color)

    def test_geopandas_opens_it(self, results, polygons):
        frame = needed("geopandas").read_parquet(results / POLYGONS, bbox=(0, 0, 400, 300))
        whole = needed("geopandas").read_parquet(results / POLYGONS)
        assert len(whole) == len(polygons)
        assert 0 < len(frame) < len(whole)
        assert whole.crs is None
        assert whole.geometry.is_valid.all()


def read_zarr(folder):
    """An array of Zarr's third version, by the letter of its specification."""
    said = json.loads((folder / "zarr.json").read_text())
    assert (said["zarr_format"], said["node_type"], said["data_type"]) == (3, "array", "uint8")
    assert [codec["name"] for codec in said["codecs"]] == ["bytes", "gzip"]
    chunk = said["chunk_grid"]["configuration"]["chunk_shape"]
    grid = [-(-side // part) for side, part in zip(said["shape"], chunk, strict=True)]
    whole = np.full([number * part for number, part in zip(grid, chunk, strict=True)], said["fill_value"], np.uint8)
    for place in np.ndindex(*grid):
        file = folder.joinpath("c", *map(str, place))
        if file.is_file():
            values = np.frombuffer(gzip.decompress(file.read_bytes()), np.uint8).reshape(chunk)
            whole[tuple(slice(at * part, (at + 1) * part) for at, part in zip(place, chunk, strict=True))] = values
    return whole[tuple(map(slice, said["shape"]))]


class TestOmeZarr:
    def test_labels_are_the_levels_of_the_map(self, results):
        folder = results / LABELS_ZARR
        assert json.loads((folder / "labels/zarr.json").read_text())["attributes"]["ome"]["labels"] == ["segmentation"]
        said = json.loads((folder / "labels/segmentation/zarr.json").read_text())["attributes"]["ome"]
        assert said["version"] == "0.5"
        assert [(item["label-value"], tuple(item["rgba"][:3])) for item in said["image-label"]["colors"]] == [
            (number, item.color) for number, item in enumerate(CLASSES, start=1)
        ]
        assert said["image-label"]["properties"][0]["class"] == CLASSES[0].code
        with tifffile.TiffFile(results / LABEL_MAP) as tiff:
            levels = [level.asarray() for level in tiff.series[0].levels]
        (scales,) = said["multiscales"]
        assert len(scales["datasets"]) == len(levels) > 1
        for level, described in zip(levels, scales["datasets"], strict=True):
            found = read_zarr(folder / "labels/segmentation" / described["path"])
            np.testing.assert_array_equal(found, np.where(level == IGNORE, 0, level + 1))
            step = round(HEIGHT / len(level))
            scale, translation = described["coordinateTransformations"]
            assert scale["scale"] == [MPP * step] * 2
            assert translation["translation"] == [MPP * (step // 2)] * 2, "each sample is the middle of its pixels"

    def test_its_picture_covers_the_same_field(self, results):
        said = json.loads((results / LABELS_ZARR / "zarr.json").read_text())["attributes"]["ome"]
        (scales,) = said["multiscales"]
        assert [axis["name"] for axis in scales["axes"]] == ["c", "y", "x"]
        for described in scales["datasets"]:
            picture = read_zarr(results / LABELS_ZARR / described["path"])
            scale, translation = (item[item["type"]] for item in described["coordinateTransformations"])
            extent = np.array(picture.shape[1:]) * scale[1:]
            np.testing.assert_allclose(extent, [HEIGHT * MPP, WIDTH * MPP], rtol=1e-9)
            np.testing.assert_allclose(np.array(translation[1:]) - np.array(scale[1:]) / 2, -MPP / 2)

    @THREADS
    def test_zarr_and_ome_zarr_open_it(self, results, labels):
        zarr = needed("zarr")
        group = zarr.open_group(results / LABELS_ZARR, mode="r")
        found = group["labels/segmentation/0"]
        assert found.metadata.dimension_names == ("y", "x")
        np.testing.assert_array_equal(found[:], np.where(labels == IGNORE, 0, labels + 1))
        reader, location = needed("ome_zarr.reader"), needed("ome_zarr.io")
        image, *nodes = reader.Reader(location.parse_url(results / LABELS_ZARR))()
        (label,) = (node for node in nodes if node.data and node.data[0].ndim == 2)
        assert image.metadata["axes"][0]["name"] == "c"
        np.testing.assert_array_equal(np.asarray(label.data[0]), np.where(labels == IGNORE, 0, labels + 1))
        assert np.allclose(np.array(label.metadata["color"][1])[:3] * 255, CLASSES[0].color)
        models = needed("ome_zarr_models.v05")  # refuses what the specification does not allow
        models.Image.from_zarr(group)
        assert models.ImageLabel.from_zarr(group["labels/segmentation"]).attributes.ome.version == "0.5"

    def test_another_takes_its_place(self, results, slide, tmp_path):
        again = tmp_path / "slide"
        shutil.copytree(results, again)
        (again / LABELS_ZARR / "stale").touch()
        segmented(slide, again, **ASKED)
        assert not (again / LABELS_ZARR / "stale").exists()
        segmented(slide, again, **ASKED | {"ome_zarr": False})
        assert not (again / LABELS_ZARR).exists()


class TestSpatialData:
    @THREADS
    def test_it_has_labels_polygons_and_areas(self, results, labels, polygons, tmp_path):
        spatialdata = needed("spatialdata")  # and what it rests on
        found = to_spatialdata(results)
        finest = np.asarray(found["segmentation"]["scale0"]["image"])
        np.testing.assert_array_equal(finest, np.where(labels == IGNORE, 0, labels + 1))
        assert len(found["regions"]) == len(polygons)
        table = found["areas"]
        total = sum(one.area for _, one in polygons) * 0.5**2 / 1e6
        assert float(table.X.sum()) == pytest.approx(total)
        assert table.uns["classes"][CLASSES[0].code]["name"] == CLASSES[0].name
        extent = spatialdata.get_extent(found, coordinate_system="global")
        assert extent["x"][1] == pytest.approx(WIDTH * MPP), "um"
        assert extent["y"][1] == pytest.approx(HEIGHT * MPP)
        found.write(tmp_path / "slide.zarr")
        again = spatialdata.read_zarr(tmp_path / "slide.zarr")
        assert list(again["areas"].obs["class"]) == list(table.obs["class"])

    def test_without_the_extra_one_line_says_which(self, results, monkeypatch):
        monkeypatch.setitem(__import__("sys").modules, "spatialdata", None)
        with pytest.raises(InputError, match=r"pip install 'wsss-mm\[spatialdata\]'"):
            to_spatialdata(results)


def test_a_folder_without_results_is_told_of(tmp_path):
    needed("spatialdata")
    with pytest.raises(InputError, match="segment the slide"):
        to_spatialdata(Path(tmp_path))
