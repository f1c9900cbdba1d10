"""Results of a fabricated run: maps and confidence that are drawn, so that every figure is known."""

import numpy as np
import pytest

from tests.findings.making import make_model, make_result


@pytest.fixture(scope="session")
def model(tmp_path_factory):
    """The folder of a model that says what it mistakes for what."""
    return make_model(tmp_path_factory.mktemp("model") / "segmenter")


@pytest.fixture
def run(tmp_path, model):
    """Folder of results of two slides with confidence, one without tissue; scans lie beside it, with their table."""
    results, scans = tmp_path / "results", tmp_path / "scans"
    scans.mkdir()
    labels = np.full((600, 800), 255, np.uint8)
    labels[:, :400] = 0
    labels[:300, 400:800] = 3
    sure = np.full(labels.shape, 255, np.uint8)
    sure[:200, :200] = 30
    make_result(results / "one", labels, sure, model, scans)
    make_result(results / "emp<ty>", np.full((600, 800), 255, np.uint8), sure, model, scans)
    table = "slide_id,patient_id,site,path\none,patient-7,Hôpital Nord,scans/one.tiff\nemp<ty>,patient-8,,x.tiff\n"
    (tmp_path / "slides.csv").write_text(table, encoding="utf-8")
    return tmp_path
