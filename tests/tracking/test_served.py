"""Runs and their reports as the application shows them, from a store."""

import asyncio
import re

import pytest
from werkzeug.test import Client

from tests.tracking.test_report import judged  # noqa: F401  a fixture
from tests.web.conftest import chromium  # noqa: F401  a fixture
from tests.web.label import axe
from tests.wsi.viewer.serving import served
from wsss_mm.cli.rooms import application

pytestmark = pytest.mark.xdist_group("mlflow")


@pytest.fixture
def rooms():
    with application("start", ["ann"]) as app:
        yield app


def test_runs_of_the_store_lead_to_their_reports(judged, rooms):  # noqa: F811
    client, run_id = Client(rooms), judged.info.run_id
    assert f'href="{run_id}/"' in client.get("/runs/").text
    page = client.get(f"/runs/{run_id}/")
    assert page.status_code == 200
    assert "mIoU on the test split" in page.text
    assert re.search(r'(?s)<nav class="rooms".*aria-current="page">Runs<', page.text)
    assert client.get(f"/runs/{'0' * 32}/").status_code == 404


@pytest.mark.slow
def test_nothing_serious_in_a_report(judged, rooms, chromium):  # noqa: F811
    browser, loop = chromium
    if not axe.AXE.archive.is_file():
        pytest.skip(f"axe-core is not installed: {axe.AXE.setup}")
    asyncio._set_running_loop(loop)
    try:
        with served(rooms) as port:
            for scheme in ("light", "dark"):
                page = browser.new_page(color_scheme=scheme)
                page.goto(f"http://127.0.0.1:{port}/runs/{judged.info.run_id}/")
                assert axe.serious(page) == []
                page.close()
    finally:
        asyncio._set_running_loop(None)
