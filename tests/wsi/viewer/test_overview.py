"""index.html needs no server, and shows what the summaries say."""

import io
import json
import os
import re
import shutil
from html import unescape
from urllib.parse import unquote, unquote_to_bytes

import numpy as np
from PIL import Image

from wsss_mm.slide_parameters import SETTINGS, Parameters
from wsss_mm.wsi.viewer import make_app, write_overview
from wsss_mm.wsi.viewer.results import find_slides, read_results
from wsss_mm.wsi.viewer.words import in_words


def test_pictures_are_there_and_figures_are_the_summaries(run):
    page = (run[1] / "index.html").read_text(encoding="utf-8")
    pictures = [unquote(place) for place in re.findall(r'src="([^"]+)"', page)]
    assert len(pictures) == 2
    assert all((run[1] / place).is_file() for place in pictures)
    for result in read_results(run[1]):
        for item in result.classes:
            assert f"{item.area_mm2:.3f}" in page
    assert "wsss-mm view" in page
    assert "<script src" not in page


def test_same_results_same_bytes(run):
    before = (run[1] / "index.html").read_bytes()
    write_overview(run[1])
    assert (run[1] / "index.html").read_bytes() == before


def test_a_folder_whose_name_is_no_utf8_is_linked_and_shown(run, tmp_path):
    results = tmp_path / "M\udcfcller results"
    for name in ("M\udcfcller", "a\nb"):
        shutil.copytree(run[1] / "first", results / name)
    write_overview(results)
    page = (results / "index.html").read_text(encoding="utf-8")
    pictures = [os.fsdecode(unquote_to_bytes(place)) for place in re.findall(r'src="([^"]+)"', page)]
    assert {str(results / place) for place in pictures} == {str(path) for path in results.glob("*/overlay.png")}
    assert "<h2>M\\udcfcller</h2>" in page
    client = make_app(read_results(results), {}, {}).test_client()
    for link in re.findall(r'href="(slides/[^"]+)"', client.get("/").text):
        assert client.get(f"/{link}").status_code == 200
        assert client.get(f"/{link}overlay.png").status_code == 200


def test_a_folder_without_results_gets_no_page(tmp_path):
    write_overview(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_slides_that_failed_are_listed(run, tmp_path):
    results = tmp_path / "results"
    shutil.copytree(run[1] / "first", results / "first")
    table = "slide_id,status,error\nfirst,failed,cut off\nlost <b>,failed,lost.svs: no such slide file\n"
    (results / "slides.csv").write_text(table)
    write_overview(results)
    page = (results / "index.html").read_text(encoding="utf-8")
    assert "1 slide failed" in page
    assert "<li><b>lost &lt;b&gt;</b>: lost.svs: no such slide file</li>" in page
    assert "what is shown is older: cut off" in page
    failed = {"first": "cut off", "lost <b>": "lost.svs: no such slide file"}
    client = make_app(read_results(results), {}, {}, failed=failed).test_client()
    assert "lost.svs: no such slide file" in client.get("/").text
    shutil.rmtree(results / "first")
    (results / "index.html").unlink()
    write_overview(results)
    assert "2 slides failed" in (results / "index.html").read_text(encoding="utf-8")


def test_slides_can_be_sorted_by_what_the_page_says(run):
    page = make_app(read_results(run[1]), {}, {}).test_client().get("/").text
    cards = [json.loads(unescape(card)) for card in re.findall(r'data-card="([^"]*)"', page)]
    choices = re.findall(r'<option value="([^"]+)">', page)
    for result, card in zip(read_results(run[1]), cards, strict=True):
        assert (card["name"], card["tissue"]) == (result.name, result.tissue_mm2)
        assert {item.code: item.share for item in result.classes} == {
            item.code: card[f"share.{item.code}"] for item in result.classes
        }
        assert result.slide_file in card["text"]
    assert set(choices) >= {"name", "tissue", "ratio", "share.TUM", "sure"}
    assert set(choices) - {"noted", "aside"} <= cards[0].keys()


def test_thumbnails_are_small_and_asked_for_once(run):
    results = read_results(run[1])
    client = make_app(results, find_slides(results, [run[0]]), {}).test_client()
    answer = client.get("/slides/first/thumbnail.jpg")
    assert len(answer.data) < 10_000
    picture = np.asarray(Image.open(io.BytesIO(answer.data)))
    assert max(picture.shape) <= 254
    assert "no-cache" in answer.headers["Cache-Control"]
    again = client.get("/slides/first/thumbnail.jpg", headers={"If-None-Match": answer.headers["ETag"]})
    assert (again.status_code, again.data) == (304, b"")
    alone = make_app(results, {}, {}).test_client().get("/slides/first/thumbnail.jpg")
    assert alone.status_code == 200
    assert alone.headers["ETag"] != answer.headers["ETag"]
    assert "slides/first/thumbnail.jpg" in client.get("/").text


def test_a_thumbnail_follows_the_map(run, tmp_path):
    shutil.copytree(run[1] / "first", tmp_path / "first")
    client = make_app(read_results(tmp_path), {}, {}).test_client()
    before = client.get("/slides/first/thumbnail.jpg")
    path = tmp_path / "first/segmentation.tif"
    path.write_bytes(b"no map")
    assert client.get("/slides/first/thumbnail.jpg").status_code == 404
    path.unlink()
    assert client.get("/slides/first/thumbnail.jpg").status_code == 404
    assert before.status_code == 200


def test_what_was_segmented_since_the_start_is_said(run, tmp_path):
    shutil.copytree(run[1], tmp_path, dirs_exist_ok=True)
    client = make_app(read_results(tmp_path), {}, {}).test_client()
    assert "since the viewer was started" not in client.get("/").text
    shutil.copytree(tmp_path / "first", tmp_path / "newcomer")
    assert "1 slide was segmented since the viewer was started" in client.get("/").text
    assert "segmented anew" not in client.get("/slides/first/").text
    os.utime(tmp_path / "first/summary.json", ns=(1, 1))
    assert "2 slides were segmented since the viewer was started" in client.get("/").text
    assert "segmented anew since the viewer was started" in client.get("/slides/first/").text
    shutil.rmtree(tmp_path / "newcomer")
    assert "1 slide was" in client.get("/").text


def test_how_a_slide_was_segmented_is_said_in_words():
    given = {name: "5" for name in SETTINGS if SETTINGS[name].decides != "pace"}
    said = in_words(given | {"odd_thing": "7"})
    words = [words for words, _ in said]
    assert len(set(words)) == len(said) == len(given) + 1
    assert not any("_" in one for one in words)
    assert not set(words) & {name.replace("_", " ") for name in given}
    assert ("odd thing", "7") in said
    recorded = {name: str(value) for name, value in Parameters().recorded().items()}
    assert ("Neighbouring fields share", "50 % of their side") in in_words(recorded)
    assert ("Holes filled up to", "200.0 \u00b5m\u00b2") in in_words(recorded)
