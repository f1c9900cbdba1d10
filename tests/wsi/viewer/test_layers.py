"""Truth and annotations over a slide, and what lies at a place of each layer."""

import io
import json
from xml.etree import ElementTree

import numpy as np
import pytest
import tifffile
from PIL import Image

from tests.wsi.viewer.marking import HEIGHT, LUNG, WIDTH, make_marking, view_of
from tests.wsi.viewer.test_server import SCRIPT
from wsss_mm.vocabulary import IGNORE
from wsss_mm.wsi.certainty import ramp
from wsss_mm.wsi.viewer import make_app
from wsss_mm.wsi.viewer.labels import LabelTiles, Named, cut_of_map
from wsss_mm.wsi.viewer.shown import sureness

COLORS = {item.code: item.color for item in LUNG.classes}


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    return make_marking(tmp_path_factory.mktemp("layers"), confidence=True)


@pytest.fixture(scope="module")
def client(made):
    """Of slide `judged` truth is known too: necrosis on the left, nothing in the middle, stroma on the right."""
    truth = np.full((HEIGHT // 4, WIDTH // 4), IGNORE, np.uint8)
    truth[:, :32], truth[:, 96:] = LUNG.codes.index("NEC"), LUNG.codes.index("TAS")
    path = made.folder / "truth/judged.tif"
    path.parent.mkdir()
    tifffile.imwrite(path, truth)
    return make_app(list(made.results.values()), made.slides, SCRIPT, project=made.project()).test_client()


def picture(client, path):
    answer = client.get(path)
    assert answer.status_code == 200
    return np.asarray(Image.open(io.BytesIO(answer.data)))


def test_each_slide_has_the_layers_that_are_known_of_it(client):
    kinds = {name: [one["kind"] for one in view_of(client, name)["layers"]] for name in ("s1", "judged", "stranger")}
    assert kinds == {
        "s1": ["map", "confidence"],
        "judged": ["map", "confidence", "truth", "drawn"],
        "stranger": ["map", "confidence"],
    }
    assert client.get("/slides/s1/truth.dzi").status_code == 404
    assert client.get("/slides/stranger/drawn_files/8/0_0.png").status_code == 404


def test_without_a_project_there_is_the_map_alone(made):
    client = make_app(list(made.results.values()), made.slides, SCRIPT).test_client()
    assert [one["kind"] for one in view_of(client, "judged")["layers"]] == ["map", "confidence"]
    assert client.get("/slides/judged/truth.dzi").status_code == 404


def test_the_map_is_seen_at_once_and_the_layers_above_it_are_not(client):
    shown = {one["kind"]: (one["on"], one["opacity"]) for one in view_of(client, "judged")["layers"]}
    assert shown["map"][0]
    assert 20 <= shown["map"][1] <= 60
    assert not any(on for kind, (on, _) in shown.items() if kind != "map")
    assert all(opacity > 0 for _, opacity in shown.values())


def test_truth_has_the_grid_and_the_colours_of_the_map(client):
    size = ElementTree.fromstring(client.get("/slides/judged/truth.dzi").data)[0].attrib
    assert size == ElementTree.fromstring(client.get("/slides/judged/map.dzi").data)[0].attrib
    for level, step in ((8, 1), (7, 2), (5, 8)):
        tile = picture(client, f"/slides/judged/truth_files/{level}/0_0.png")
        width = WIDTH // 2 // step
        assert tile.shape[1] == min(width, 255)
        assert (tile[:, : width // 4] == (*COLORS["NEC"], 255)).all()
        assert (tile[:, width // 4 : width * 3 // 4, 3] == 0).all()
    assert (picture(client, "/slides/judged/truth_files/8/1_0.png") == (*COLORS["TAS"], 255)).all()
    for path in ("truth_files/9/0_0.png", "truth_files/8/2_0.png", "truth_files/8/0_1.png"):
        assert client.get(f"/slides/judged/{path}").status_code == 404


def test_annotations_are_drawn_in_their_classes(client):
    tile = picture(client, "/slides/judged/drawn_files/8/0_0.png")  # a square of 256 px, at half of the slide's px
    assert (tile[:128, :128] == (*COLORS["TE"], 255)).all()
    assert (tile[128:, :, 3] == 0).all()
    assert (tile[:, 128:, 3] == 0).all()


def test_what_was_drawn_last_is_shown_and_an_unknown_class_is_grey(made, client):
    path = made.labels / "masks/judged.geojson"
    path.parent.mkdir()
    ring = [[0, 0], [64, 0], [64, 64], [0, 64], [0, 0]]
    feature = {
        "type": "Feature",
        "geometry": {"type": "Polygon", "coordinates": [ring]},
        "properties": {"classification": {"name": "Fat"}},
    }
    path.write_text(json.dumps(feature))
    try:
        tile = picture(client, "/slides/judged/drawn_files/8/0_0.png")
        assert (tile[..., 3] > 0).sum() == 32 * 32
        assert (tile[0, 0] == (110, 110, 110, 255)).all()
        path.write_text("{")
        assert client.get("/slides/judged/drawn_files/8/0_0.png").status_code == 404
        assert "drawn" not in client.get("/slides/judged/at?x=1&y=1").json
    finally:
        path.unlink()


def test_what_lies_at_a_place(made, client):
    labels = tifffile.imread(made.folder / "results/judged/segmentation.tif", key=0)
    band = tifffile.imread(made.folder / "results/judged/confidence.tif", key=0)
    for x, y in ((10.9, 20.2), (300, 100), (200, 300), (WIDTH - 1, HEIGHT - 1)):
        found = client.get(f"/slides/judged/at?x={x}&y={y}").json
        label, sure = int(labels[int(y / 2), int(x / 2)]), int(band[int(y / 2), int(x / 2)])
        assert (found["map"] or {}).get("name") == (None if label == IGNORE else LUNG.classes[label].name)
        assert found["confidence"] == (None if sure == 0 else pytest.approx((sure - 1) / 254, abs=0.005))
        truth = {0: "NEC", 1: None, 2: None, 3: "TAS"}[int(x) * 4 // WIDTH]
        assert (found["truth"] or {}).get("name") == (None if truth is None else named(truth))
        assert (found["drawn"] or {}).get("name") == (named("TE") if x < 256 and y < 256 else None)
    beside = client.get(f"/slides/judged/at?x={WIDTH}&y=-1").json
    assert beside == {"map": None, "confidence": None, "truth": None, "drawn": None}
    assert client.get("/slides/judged/at?x=1e300&y=5").json["map"] is None
    for wrong in ("x=nan&y=1", "x=1", "x=a&y=1", "x=inf&y=1"):
        assert client.get(f"/slides/judged/at?{wrong}").status_code == 400
    assert client.get("/slides/none/at?x=1&y=1").status_code == 404


def named(code):
    return next(item.name for item in LUNG.classes if item.code == code)


def test_colours_of_a_band_stand_for_its_confidence():
    colors = np.array(ramp()).reshape(256, 3)
    for value in range(1, 256):
        found = sureness(tuple(int(channel) for channel in colors[value]))
        assert found == pytest.approx((value - 1) / 254, abs=0.01)
    assert sureness((255, 255, 255)) is None


@pytest.mark.parametrize("size", [(1, 1), (254, 254), (255, 300), (1000, 17)])
def test_tiles_put_together_are_the_layer(size):
    labels = np.random.default_rng(0).integers(0, 3, (size[1], size[0])).astype(np.uint8)
    names = [Named(str(value), (value, 0, 0)) for value in range(3)]
    layer = LabelTiles(cut_of_map(labels, 1, (0, 0)), size, names)
    top = int(np.ceil(np.log2(max(size))))
    found = np.full(labels.shape, IGNORE, np.uint8)
    for column in range((size[0] - 1) // 254 + 1):
        for row in range((size[1] - 1) // 254 + 1):
            tile = np.asarray(layer.labels(top, (column, row)))[..., 0]
            left, above = max(column * 254 - 1, 0), max(row * 254 - 1, 0)
            found[above : above + tile.shape[0], left : left + tile.shape[1]] = tile
    np.testing.assert_array_equal(found, labels)
    assert layer.labels(0, (0, 0)).size == (1, 1)
