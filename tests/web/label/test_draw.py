"""What the view Draw is told and may change."""

import io
import json
import re
import shutil
from uuid import uuid4

import numpy as np
import pytest
import shapely
from PIL import Image

from tests.web.label.project import SIDE, make_project, read_cohort
from wsss_mm.slides.roi import read_annotations, read_region
from wsss_mm.vocabulary import get_vocabulary
from wsss_mm.web.label.doors import Doors
from wsss_mm.web.label.server import make_app
from wsss_mm.web.label.session import Options, Session

VOCABULARY = get_vocabulary("luad_normal")
CODES = VOCABULARY.codes
SQUARE = [[[[10, 10], [200, 10], [200, 200], [10, 200], [10, 10]]]]


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    folder = tmp_path_factory.mktemp("project")
    return folder, make_project(folder, slides=2)


@pytest.fixture
def begin(project, tmp_path):
    folder, frame = project
    begun = []

    def start(readers=("ann", "bob"), *, guarded=False):
        session = Session(
            frame,
            read_cohort(folder),
            VOCABULARY,
            readers,
            journals=tmp_path / "labels",
            options=Options(features=False, root=tmp_path),
        )
        begun.append(session)
        return make_app(session, Doors(readers, tmp_path / "server", guarded=guarded))

    yield start
    for session in begun:
        session.close()


class Drawer:
    """A reader's page."""

    def __init__(self, app, reader="ann"):
        self.client = app.test_client()
        page = self.client.get(f"/?reader={reader}", follow_redirects=True).text
        self.token = re.search(r'token" content="([^"]+)"', page)[1]

    def get(self, path, expected=200):
        response = self.client.get(path)
        assert response.status_code == expected, response.data
        return response.json if response.is_json else response.data

    def post(self, path, expected=200, **body):
        body = {"id": uuid4().hex, "slide": "s0", **body}
        response = self.client.post(path, json=body, headers={"X-WSSS-Token": self.token})
        assert response.status_code == expected, response.data
        return response.json

    def save(self, areas, edit="", sort="masks", expected=200, **more):
        return self.post("/api/draw/0", expected, sort=sort, edit=edit, areas=areas, **more)


def area(polygons=SQUARE, kind=CODES[0]):
    return {"id": uuid4().hex, "kind": kind, "polygons": polygons}


def test_slides_and_what_can_be_drawn(begin):
    said = Drawer(begin()).get("/api/draw")
    assert [slide["id"] for slide in said["slides"]] == ["s0", "s1"]
    assert not any(slide["masks"] or slide["regions"] or slide["segmented"] for slide in said["slides"])
    assert [kind["code"] for kind in said["kinds"]] == [*CODES, "ignore", "roi"]
    assert [kind["color"] for kind in said["kinds"]][: len(CODES)] == [item.hex_color for item in VOCABULARY.classes]


def test_tiles_are_the_slides_pixels(begin, project):
    page = Drawer(begin())
    about = page.get("/api/draw/0")
    assert (about["width"], about["height"], about["mpp"]) == (SIDE, SIDE, 1.0)
    data = page.get(f"/draw/0/{about['levels'] - 1}/1_2.jpeg")
    tile = np.asarray(Image.open(io.BytesIO(data)), dtype=int)
    left, top = about["tile"] - about["overlap"], 2 * about["tile"] - about["overlap"]
    with read_cohort(project[0]).slides[0].open() as slide:
        exact = slide.read(left, top, 200, 1.0).astype(int)
    assert np.abs(tile[:200, :200] - exact).mean() < 3
    page.get("/draw/0/99/0_0.jpeg", 404)
    page.get("/draw/0/2/99_0.jpeg", 404)
    page.get("/draw/7/2/0_0.jpeg", 404)
    page.get("/api/draw/7", 404)


def test_what_is_drawn_is_read_by_the_line_and_by_the_page(begin, tmp_path):
    page = Drawer(begin())
    areas = [area(), area([[[[5, 5], [9.25, 5], [9, 9], [5, 5]]]], "ignore")]
    said = page.save(areas)
    assert said["changed"] == {}
    page.save([area(kind="roi")], sort="regions")
    found = read_annotations(tmp_path / "labels/masks/s0.geojson")
    assert [item.name for item in found] == [VOCABULARY.classes[0].name, "Ignore*"]
    assert found[0].geometry.equals(shapely.box(10, 10, 200, 200))
    assert read_region(tmp_path / "labels/regions/s0.geojson").bounds == (10, 10, 190, 190)

    again = Drawer(begin(), "bob").get("/api/draw/0")  # a restarted server, another reader
    assert again["masks"] == {"edit": said["edit"], "areas": areas}
    assert [item["kind"] for item in again["regions"]["areas"]] == ["roi"]
    assert page.get("/api/draw")["slides"][0]["masks"] is True

    said = page.save(areas[:1], said["edit"])
    page.save([], said["edit"])
    assert not (tmp_path / "labels/masks/s0.geojson").exists()


def test_areas_are_made_sound(begin):
    page = Drawer(begin())
    beyond, flat = (
        area([[[[-50, -50], [100, -50], [100, 100], [-50, 100]]]]),
        area([[[[1, 1], [5, 1], [9, 1], [1, 1]]]]),
    )
    said = page.save([beyond, flat])
    assert said["changed"][flat["id"]] == []
    (rings,) = said["changed"][beyond["id"]]
    assert shapely.Polygon(rings[0]).equals(shapely.box(0, 0, 100, 100))
    assert len(page.get("/api/draw/0")["masks"]["areas"]) == 1


def test_two_readers_at_once_overwrite_nothing(begin):
    app = begin()
    ann, bob = Drawer(app), Drawer(app, "bob")
    name = uuid4().hex
    first = ann.save([area()], id=name)
    assert ann.save([area()], id=name)["edit"] == first["edit"]  # sent again
    refused = bob.save([area()], expected=409)
    assert "somebody else" in refused["error"]
    second = bob.save([*bob.get("/api/draw/0")["masks"]["areas"], area()], first["edit"])
    ann.save([area()], first["edit"], expected=409)
    assert bob.get("/api/draw/0")["masks"]["edit"] == second["edit"]


@pytest.mark.parametrize(
    "body",
    [
        {"areas": None},
        {"areas": [5]},
        {"areas": [{}]},
        {"areas": [area() | {"id": "../x"}]},
        {"areas": [area(kind="nothing")]},
        {"areas": [area(kind="roi")]},
        {"areas": [area([[[[1, 1]]]])]},
        {"areas": [area([[[["a", 1], [2, 2], [3, 1]]]])]},
        {"areas": [area([[[[1, 1], [1e300, 2], [3, 1]]]])]},
        {"areas": [area({})]},
        {"areas": [], "sort": "../masks"},
        {"areas": [], "edit": 5},
        {"areas": [area()], "id": "x"},
    ],
)
def test_what_is_no_drawing_is_refused(begin, tmp_path, body):
    Drawer(begin()).post("/api/draw/0", 400, **{"sort": "masks", "edit": "", **body})
    assert not (tmp_path / "labels/masks/s0.geojson").exists()


def test_only_pages_of_ours_draw_and_only_on_the_slide_they_mean(begin):
    page = Drawer(begin())
    page.save([area()], slide="s1", expected=409)
    page.token = page.token.replace(".", ".x", 1)
    page.save([area()], expected=403)
    stranger = begin(guarded=True).test_client()
    for path in ("/api/draw", "/api/draw/0", "/draw/0/3/0_0.jpeg", "/api/draw/0/region?x=1&y=1", "/openseadragon.js"):
        assert stranger.get(path).status_code == 401, path
    for path in ("/api/draw/0", "/api/draw/0/stroke"):
        assert stranger.post(path, json={}).status_code == 401, path


def test_files_of_others_are_named_and_not_touched(begin, tmp_path):
    page = Drawer(begin())
    path = tmp_path / "labels/masks/s0.geojson"
    path.parent.mkdir(parents=True)
    path.write_text('{"type": "FeatureCollection", "features": []}')
    assert "was not drawn here" in page.get("/api/draw/0")["masks"]["error"]
    assert "s0.geojson" in page.save([area()], expected=400)["error"]
    assert path.read_text() == '{"type": "FeatureCollection", "features": []}'
    page.save([area(kind="roi")], sort="regions")  # the other file is not in question


def test_a_class_that_is_gone_is_named(begin, tmp_path):
    page = Drawer(begin())
    page.save([area()])
    path = tmp_path / "labels/masks/s0.geojson"
    path.write_text(path.read_text().replace(VOCABULARY.classes[0].name, "Gone"))
    assert "'Gone' is no class" in page.get("/api/draw/0")["masks"]["error"]


def test_a_full_disk_is_said_so_that_the_page_sends_again(begin, tmp_path, monkeypatch):
    page = Drawer(begin())

    def full(*_):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr("wsss_mm.labelling.drawings.os.fsync", full)
        assert "no space" in page.save([area()], expected=503)["error"]
    assert not (tmp_path / "labels/masks/s0.geojson").exists()
    page.save([area()])


def test_strokes_add_and_cut(begin):
    page = Drawer(begin())

    def drawn(how, points, radius, onto=None):
        return page.post("/api/draw/0/stroke", how=how, points=points, radius=radius, onto=onto or {})

    alone = drawn("add", [[500, 500]], 20)["areas"][""]
    assert shapely.Polygon(alone[0][0]).area == pytest.approx(np.pi * 400, rel=0.03)
    (wider,) = drawn("add", [[200, 100], [300, 100]], 20, {"a": SQUARE})["areas"]["a"]
    assert shapely.Polygon(wider[0]).area > 190 * 190 + 90 * 40
    apart = drawn("add", [[500, 500]], 20, {"a": SQUARE})
    assert apart["areas"] == {}
    assert apart["apart"] == alone
    cut = drawn("cut", [[100, 100]], 20, {"a": SQUARE, "far": [[[[600, 600], [700, 600], [700, 700]]]]})["areas"]
    assert list(cut) == ["a"]
    assert len(cut["a"][0]) == 2  # a hole
    assert drawn("cut", [[0, 100], [300, 100]], 300, {"a": SQUARE})["areas"] == {"a": []}
    for body in ({"points": "x"}, {"points": [[1, 1]], "radius": -1}, {"points": [[1, 1]], "radius": "wide"}):
        page.post("/api/draw/0/stroke", 400, **{"how": "add", "radius": 5, **body})
    page.post("/api/draw/0/stroke", 400, how="cut", points=[[1, 1]], radius=5, onto=[1])


def test_a_region_of_the_segmentation_is_taken_over(begin, tmp_path):
    page = Drawer(begin())
    assert "not segmented" in page.get("/api/draw/0/region?x=5&y=5", 400)["error"]
    folder = tmp_path / "results/slides/s0"
    folder.mkdir(parents=True)
    item = VOCABULARY.classes[1]
    stairs = [[x, 100 + x % 2] for x in range(100, 301)]
    feature = {
        "type": "Feature",
        "geometry": {"type": "Polygon", "coordinates": [[*stairs, [300, 300], [100, 300], stairs[0]]]},
        "properties": {"classification": {"name": item.name, "color": list(item.color)}},
    }
    content = {"type": "FeatureCollection", "features": [feature]}
    (folder / "segmentation.geojson").write_text(json.dumps(content))
    (folder / "summary.json").write_text("{}")
    assert page.get("/api/draw/0")["segmented"] is True
    said = page.get("/api/draw/0/region?x=200&y=200")
    assert said["kind"] == item.code
    assert len(said["polygons"][0][0]) < 10  # without the stairs
    assert shapely.Polygon(said["polygons"][0][0]).area == pytest.approx(40_000, rel=0.02)
    assert page.get("/api/draw/0/region?x=900&y=900")["polygons"] == []
    for wrong in ("", "?x=1", "?x=a&y=1", "?x=nan&y=1"):
        page.get(f"/api/draw/0/region{wrong}", 400)
    shutil.rmtree(tmp_path / "results")
    assert page.get("/api/draw/0")["segmented"] is False
