"""index.html needs no server, and shows what the summaries say."""

import re
from urllib.parse import unquote

from wsss_mm.wsi.viewer import write_overview
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


def test_a_folder_without_results_gets_no_page(tmp_path):
    write_overview(tmp_path)
    assert list(tmp_path.iterdir()) == []
