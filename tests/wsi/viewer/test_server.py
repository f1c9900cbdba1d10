"""Pages and tiles of a run; nothing outside it can be asked for."""

import io
import json
import shutil
import socket
import urllib.request

import numpy as np
import pytest
import tifffile
from PIL import Image

from tests.wsi.viewer.serving import served
from wsss_mm.errors import InputError
from wsss_mm.patches import IGNORE, VOCABULARIES
from wsss_mm.serving import serve
from wsss_mm.vocabulary import IGNORE_COLOR
from wsss_mm.wsi import SlideModel, segment_slide
from wsss_mm.wsi.certainty import ramp
from wsss_mm.wsi.viewer import make_app
from wsss_mm.wsi.viewer.overview import render_overview
from wsss_mm.wsi.viewer.results import find_slides, read_results

SCRIPT = {"openseadragon.js": b"var OpenSeadragon;", "images/home_rest.png": b"png"}


@pytest.fixture
def client(run):
    scans, folder = run
    results = read_results(folder)
    return make_app(results, find_slides(results, [scans]), SCRIPT).test_client()


def _picture(response):
    assert response.status_code == 200
    return np.asarray(Image.open(io.BytesIO(response.data)))


def test_the_overview_links_every_slide_and_escapes_names(client):
    page = client.get("/").text
    assert "se&lt;co&gt;nd &amp; &#39;third&#39;" in page
    assert "<co>" not in page
    for link in ("slides/first/", "slides/se%3Cco%3End%20%26%20%27third%27/"):
        assert f'href="{link}"' in page
        assert client.get(f"/{link}").status_code == 200


def test_the_page_of_a_slide(client):
    page = client.get("/slides/first/").text
    for item in VOCABULARIES["luad_normal"].classes:
        assert item.name in page
        assert f"rgb({', '.join(map(str, item.color))})" in page
    assert 'src="../../openseadragon/openseadragon.js"' in page
    assert "http://" not in page
    assert "https://" not in page


@pytest.fixture
def unlike(run, tmp_path):
    """Results of a slide with a band of confidence, that is unlike the model's training; and its warning."""

    def predict(images):
        red = images[..., 0] / 255.0
        return np.stack([red, 1 - red, 0 * red], axis=1).astype(np.float32)

    model, folder = SlideModel(predict, VOCABULARIES["luad_normal"].classes, 1.0, "a" * 32), tmp_path / "unlike"
    options = {"mpp_override": 0.5, "window": 64, "confidence": True, "progress": False}
    segment_slide(run[0] / "first.tiff", model, folder, **options)
    path, warning = folder / "summary.json", "its tissue is unlike <that>"
    summary = json.loads(path.read_text())
    path.write_text(
        json.dumps(summary | {"appearance": {"windows": 9, "figures": {}, "mpp": None, "warning": warning}})
    )
    return folder, warning


def test_confidence_is_a_layer(unlike):
    (result,) = read_results(unlike[0])
    client = make_app([result], {}, SCRIPT).test_client()
    page = client.get("/slides/unlike/").text
    assert 'data-kind="confidence"' in page
    for item in result.classes:
        assert (item.confidence is None) == (item.share == 0)
        assert item.confidence is None or f"<td>{item.confidence:.2f}</td>" in page
    level = max(250, 180).bit_length()
    tile = _picture(client.get(f"/slides/unlike/confidence_files/{level}/0_0.png"))
    band = tifffile.imread(unlike[0] / "confidence.tif", key=0)
    np.testing.assert_array_equal(tile[..., 3] == 0, band == 0)
    np.testing.assert_array_equal(tile[..., :3], np.array(ramp()).reshape(256, 3)[band])
    assert client.get("/slides/unlike/confidence.dzi").status_code == 200


def test_without_it_there_is_no_layer(client):
    assert 'data-kind="confidence"' not in client.get("/slides/first/").text
    assert client.get("/slides/first/confidence.dzi").status_code == 404


def test_what_is_unlike_the_training_is_said(unlike, client):
    results = read_results(unlike[0])
    shown = "its tissue is unlike &lt;that&gt;"
    assert shown in make_app(results, {}, SCRIPT).test_client().get("/slides/unlike/").text
    assert shown in render_overview(results)
    assert all('class="note alarm"' not in client.get(page).text for page in ("/slides/first/", "/"))


@pytest.mark.parametrize("appearance", [[], "odd", {"figures": {}}])
def test_an_appearance_that_is_none_is_damage(unlike, appearance):
    path = unlike[0] / "summary.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"appearance": appearance}))
    with pytest.raises(InputError):
        read_results(unlike[0])


def test_a_single_result_is_shown_at_once(run):
    app = make_app(read_results(run[1] / "first"), {}, SCRIPT)
    assert app.test_client().get("/").location.endswith("slides/first/")


def test_tiles_of_the_map_are_its_colours_on_nothing(client, run):
    labels = tifffile.imread(run[1] / "first" / "segmentation.tif", key=0)
    level = int(np.ceil(np.log2(max(labels.shape))))
    tile = _picture(client.get(f"/slides/first/map_files/{level}/0_0.png"))
    colors = np.zeros((256, 4), np.uint8)
    colors[:3] = [(*item.color, 255) for item in VOCABULARIES["luad_normal"].classes]
    expected = labels[: tile.shape[0], : tile.shape[1]]
    assert (expected == IGNORE).any()
    visible = tile[..., 3] > 0
    np.testing.assert_array_equal(visible, expected != IGNORE)
    np.testing.assert_array_equal(tile[visible], colors[expected[visible]])


@pytest.mark.parametrize("side", [500, 501, 511])
def test_smaller_tiles_of_the_map_have_its_colours_alone(tmp_path, predict, tissue, side):
    classes = VOCABULARIES["luad_normal"].classes
    image = tissue(side, side + 6)
    image[::7, ::5] = image[::7, ::5, ::-1]  # many small regions
    tifffile.imwrite(tmp_path / "a.tiff", image, tile=(64, 64), photometric="rgb", metadata=None)
    model = SlideModel(predict, classes, 1.0, "a" * 32)
    segment_slide(tmp_path / "a.tiff", model, tmp_path / "run/a", mpp_override=1.0, window=64, progress=False)
    client = make_app(read_results(tmp_path / "run"), {}, SCRIPT).test_client()
    known = {(*item.color, 255) for item in classes} | {(*IGNORE_COLOR, 0)}
    for level in (9, 8, 7, 6):
        tile = _picture(client.get(f"/slides/a/map_files/{level}/0_0.png"))
        assert set(map(tuple, tile.reshape(-1, 4).tolist())) <= known


def test_tiles_of_the_slide_are_its_pixels(client, run):
    image = tifffile.imread(run[0] / "first.tiff")
    tile = _picture(client.get("/slides/first/slide_files/9/0_0.jpeg")).astype(int)
    assert np.abs(tile - image[: tile.shape[0], : tile.shape[1]]).mean() < 3  # of JPEG
    assert b'Width="500" Height="360"' in client.get("/slides/first/slide.dzi").data


def test_without_its_slide_the_map_is_shown_alone(run):
    client = make_app(read_results(run[1]), {}, SCRIPT).test_client()
    page = client.get("/slides/first/").text
    assert "was not found" in page
    assert 'id="slide"' not in page
    assert client.get("/slides/first/slide.dzi").status_code == 404
    assert client.get("/slides/first/map.dzi").status_code == 200


def test_a_slide_that_does_not_open_any_more_is_not_found(run, tmp_path, caplog):
    bad = tmp_path / "first.tiff"
    bad.write_bytes(b"no slide")
    client = make_app(read_results(run[1]), {"first": bad}, SCRIPT).test_client()
    for path in ("slide.dzi", "slide_files/9/0_0.jpeg"):
        assert client.get(f"/slides/first/{path}").status_code == 404
    assert "first: slide does not open" in caplog.text
    assert client.get("/slides/first/map.dzi").status_code == 200


@pytest.mark.parametrize(
    "path",
    [
        "/slides/none/",
        "/slides/none/overlay.png",
        "/slides/../",
        "/slides/..%2f..%2fetc/",
        "/slides/first/../../../etc/passwd",
        "/slides/first/summary.json",
        "/slides/first/overlay.dzi",
        "/slides/first/map_files/99/0_0.png",
        "/slides/first/map_files/9/70_0.png",
        "/slides/first/map_files/-1/0_0.png",
        "/openseadragon/none.js",
        "/openseadragon/../server.py",
        "/static/../server.py",
    ],
)
def test_anything_else_is_not_found(client, path):
    assert client.get(path).status_code == 404


def test_another_host_name_is_refused(client):
    assert client.get("/", headers={"Host": "evil.example"}).status_code == 400
    assert client.get("/", headers={"Host": "localhost:5010"}).status_code == 200


def test_pages_may_load_nothing_from_outside(client):
    policy = client.get("/slides/first/").headers["Content-Security-Policy"]
    assert policy.startswith("default-src 'none'; script-src 'self';")


def test_no_page_may_frame_this_one(client):
    for path in ("/", "/slides/first/", "/none"):
        headers = client.get(path).headers
        assert "frame-ancestors 'none'" in headers["Content-Security-Policy"]
        assert headers["X-Frame-Options"] == "DENY"


@pytest.mark.parametrize("opened", [False, True])
@pytest.mark.parametrize("swapped", ["overlay.png", "segmentation.tif", "", "slide"])
def test_a_link_that_came_after_the_start_is_not_followed(run, tmp_path, swapped, opened):
    shutil.copytree(run[1], tmp_path / "results")
    shutil.copytree(run[0], tmp_path / "scans")
    shutil.copytree(run[1] / "first", tmp_path / "secret")
    results = read_results(tmp_path / "results")
    client = make_app(results, find_slides(results, [tmp_path / "scans"]), SCRIPT).test_client()
    places = {
        "overlay.png": "overlay.png",
        "segmentation.tif": "map_files/0/0_0.png",
        "": "overlay.png",
        "slide": "slide_files/0/0_0.jpeg",
    }
    url = f"/slides/first/{places[swapped]}"
    if opened:
        assert client.get(url).status_code == 200
    path = tmp_path / "scans/first.tiff" if swapped == "slide" else tmp_path / "results/first" / swapped
    path.rename(tmp_path / "moved")
    secret = tmp_path / "moved" if swapped == "slide" else tmp_path / "secret" / swapped
    path.symlink_to(secret)
    assert client.get(url).status_code == 404


def test_served_on_loopback_only(run, client):
    with served(client.application) as port:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/slides/first/") as answer:
            assert answer.status == 200
        with socket.socket() as other:
            other.bind(("127.0.0.2", port))  # free, so the server does not listen everywhere
        with pytest.raises(InputError, match="--port"):
            serve(client.application, port, lambda number: None)


_DOTS = ["..", "%2e%2e", "%2E.", ".%2e", "%252e%252e", "%c0%ae%c0%ae", "%uff0e%uff0e", "..;", "..%00"]
_SLASHES = ["/", "%2f", "%2F", "%5c", "\\", "%252f", "%c0%af", "//", "/./"]
_OUTSIDE = ["secret.txt", "first/summary.json", "etc/passwd"]


def raw(port, line, *headers):
    """The answer to a request that no client of good manners would send."""
    with socket.create_connection(("127.0.0.1", port), timeout=20) as connection:
        connection.sendall("\r\n".join([line, *headers, "Connection: close", "", ""]).encode("latin-1"))
        pieces = []
        while piece := connection.recv(1 << 16):
            pieces.append(piece)
    return b"".join(pieces)


def test_no_spelling_of_a_path_leads_out(run, tmp_path):
    shutil.copytree(run[1], tmp_path / "results")
    (tmp_path / "secret.txt").write_text("SECRET")
    (tmp_path / "results/secret.txt").write_text("SECRET")
    results = read_results(tmp_path / "results")
    begins = (
        "/",
        "/slides/",
        "/slides/first/",
        "/slides/first/map_files/",
        "/static/",
        "/openseadragon/",
        "//",
        "/slides/%2f",
    )
    with served(make_app(results, {}, SCRIPT)) as port:
        for start in begins:
            for dots in _DOTS:
                for slash in _SLASHES:
                    path = start + (dots + slash) * 2 + _OUTSIDE[len(dots) % 3]
                    answer = raw(port, f"GET {path} HTTP/1.1", f"Host: 127.0.0.1:{port}")
                    status = answer.split(b" ", 2)[1]
                    assert status in (b"404", b"400", b"308"), path
                    assert b"SECRET" not in answer, path
                    assert b"root:" not in answer, path
        for path in (f"{tmp_path}/secret.txt", f"file://{tmp_path}/secret.txt", "http://evil.example/", "*", "", "\0"):
            answer = raw(port, f"GET {path} HTTP/1.1", f"Host: 127.0.0.1:{port}")
            assert b"SECRET" not in answer, path
        assert b" 200 " in raw(port, "GET /slides/first/ HTTP/1.1", f"Host: 127.0.0.1:{port}").split(b"\r\n")[0]


@pytest.mark.parametrize(
    "host",
    [
        *(
            "evil.example",
            "127.0.0.1.evil.example",
            "localhost.evil.example",
            "evil.example#127.0.0.1",
            "127.0.0.1@evil",
        ),
        *("0.0.0.0", "[::1]", "127.1", "2130706433", "localhost.", "evil.example:80", "", "127.0.0.1 evil.example"),
    ],
)
@pytest.mark.parametrize(
    "path", ["/", "/slides/first/", "/slides/first/map.dzi", "/static/viewer.js", "/openseadragon/x"]
)
def test_other_host_names_are_refused_wherever_they_ask(client, host, path):
    assert client.get(path, headers={"Host": host}).status_code == 400


def test_a_host_named_by_a_proxys_headers_is_none(client):
    other = {
        "Host": "evil.example",
        "X-Forwarded-Host": "127.0.0.1",
        "X-Original-Host": "127.0.0.1",
        "Forwarded": "host=127.0.0.1",
    }
    assert client.get("/", headers=other).status_code == 400
    page = client.get("/", headers={"X-Forwarded-Host": "evil.example", "X-Forwarded-Prefix": "//evil.example"})
    assert page.status_code == 200
    assert "evil.example" not in page.text


@pytest.mark.parametrize(
    "number", ["99999999999999999999", "9" * 4000, "9" * 5000, "1e9", "-1", "0x10", "1_0", "+1", ""]
)
@pytest.mark.parametrize("place", ["{}/0_0", "9/{}_0", "9/0_{}"])
@pytest.mark.parametrize("kind", ["map_files/{}.png", "slide_files/{}.jpeg"])
def test_huge_and_odd_tile_numbers_are_not_found(client, number, place, kind):
    answer = client.get(f"/slides/first/{kind.format(place.format(number))}")
    assert answer.status_code in (400, 404)


def test_nothing_changes_by_a_request(client):
    for method in ("post", "put", "delete", "patch"):
        assert getattr(client, method)("/slides/first/").status_code == 405


def test_html_in_names_of_classes_is_text(run, tmp_path):
    evil = "</script><img src=x onerror=alert(1)>'\""
    shutil.copytree(run[1], tmp_path / "results")
    path = tmp_path / "results/first/summary.json"
    path.write_text(path.read_text().replace(VOCABULARIES["luad_normal"].classes[0].name, json.dumps(evil)[1:-1]))
    client = make_app(read_results(tmp_path / "results"), {}, SCRIPT).test_client()
    for url in ("/", "/slides/first/"):
        page = client.get(url).text
        assert "<img src=x" not in page
        assert "</script><" not in page
    assert "&lt;/script&gt;&lt;img" in client.get("/slides/first/").text
