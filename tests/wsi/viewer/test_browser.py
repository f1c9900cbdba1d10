"""The real page in a real browser: OpenSeadragon draws slide and map."""

import re
import subprocess

import pytest

from tests.web.conftest import browser_path
from tests.wsi.viewer.serving import served
from wsss_mm.wsi.viewer import make_app
from wsss_mm.wsi.viewer.openseadragon import archive_path, read_archive
from wsss_mm.wsi.viewer.results import find_slides, read_results


@pytest.fixture
def browser():
    found = browser_path()
    if not archive_path().is_file():
        pytest.skip("OpenSeadragon is not installed: wsss-mm view --setup")
    return found


@pytest.mark.slow
def test_slide_and_map_are_drawn(run, browser, tmp_path):
    from flask import request

    results = read_results(run[1])
    app = make_app(results, find_slides(results, [run[0]]), read_archive(archive_path()))
    asked, failed = [], []

    @app.after_request
    def note(response):
        asked.append(request.path)
        if response.status_code >= 400:
            failed.append(request.path)
        return response

    options = "--headless --no-sandbox --disable-gpu --no-first-run --disable-background-networking"
    with served(app) as port:
        page = subprocess.run(
            [
                *(
                    browser,
                    *options.split(),
                    f"--user-data-dir={tmp_path}",
                    "--virtual-time-budget=10000",
                    "--dump-dom",
                ),
                f"http://127.0.0.1:{port}/slides/{results[1].name}/",
            ],
            capture_output=True,
            text=True,
            timeout=120,
            check=True,
        ).stdout
    # 500 px of 0.5 um across: the bar appears when a view has opened, and knows the resolution
    assert re.search(r'class="scale"[^>]*>(20|50|100) \u00b5m<', page)
    assert any("slide_files" in path for path in asked)
    assert any("map_files" in path for path in asked)
    assert failed == []
