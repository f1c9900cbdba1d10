"""index.html needs no server, and shows what the summaries say."""

import os
import re
import shutil
from urllib.parse import unquote, unquote_to_bytes

from wsss_mm.wsi.viewer import make_app, write_overview
from wsss_mm.wsi.viewer.results import read_results


def test_pictures_are_there_and_figures_are_the_summaries(run):
    page = (run[1] / "index.html").read_text(encoding="utf-8")
    pictures = [unquote(place) for place in re.findall(r'src="([^"]+)"', page)]
    assert len(pictures) == 2
    assert all((run[1] / place).is_file() for place in pictures)
    for result in read_results(run[1]):
        for item in result.classes:
            assert f"{item.area_mm2:.3f}" in page
    assert "wsss-mm view" in page
    assert "<script" not in page


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
