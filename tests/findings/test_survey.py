"""A look over a map: pixels by class and confidence, and the fields where a class is surest and least sure."""

import numpy as np
import pytest

from tests.findings.making import make_result
from wsss_mm.errors import InputError
from wsss_mm.evaluation.areas import EDGES
from wsss_mm.findings import survey as module
from wsss_mm.findings.survey import EXAMPLE, LEAST, MOST, survey
from wsss_mm.places import CONFIDENCE, LABEL_MAP
from wsss_mm.wsi.viewer.results import read_result


@pytest.fixture
def drawn():
    """A map of 1100 x 700 px whose class 1 covers the right half, with one sure and one unsure field of 200 px."""
    labels = np.full((700, 1100), 255, np.uint8)
    labels[:, 550:] = 1
    sure = np.full(labels.shape, 128, np.uint8)
    sure[200:400, 600:800] = 250
    sure[400:600, 800:1000] = 10
    sure[0:5, 0:5] = 255  # where no class is
    return labels, sure


def test_pixels_and_places(drawn, tmp_path, model, monkeypatch):
    monkeypatch.setattr(module, "_AT_ONCE", 1100 * 130)  # bands that end within fields
    found = survey(read_result(make_result(tmp_path / "s", *drawn, model, tmp_path)))
    assert found.pixels.sum() == 700 * 550
    assert found.pixels[1, 0] == 200 * 200, "10 of 255 is 0.04"
    assert found.pixels[1, list(EDGES).index(0.95)] == 200 * 200, "250 of 255 is 0.98"
    assert found.pixels[[0, 2, 3]].sum() == 0
    most, least = found.places
    assert (most.why, most.index, most.x, most.y, most.side) == (MOST, 1, 600, 200, 200)
    assert (least.why, least.x, least.y) == (LEAST, 800, 400)
    assert most.confidence == pytest.approx(249 / 254)
    assert least.confidence == pytest.approx(9 / 254)


def test_without_confidence_there_are_examples_and_no_certainty(drawn, tmp_path, model):
    found = survey(read_result(make_result(tmp_path / "s", drawn[0], None, model, tmp_path)))
    assert [(place.why, place.index, place.confidence) for place in found.places] == [(EXAMPLE, 1, None)]
    assert found.places[0].x >= 600, "a field that is full of the class"


def test_a_map_smaller_than_a_field_and_one_without_tissue(tmp_path, model):
    small = np.full((30, 40), 2, np.uint8)
    found = survey(read_result(make_result(tmp_path / "s", small, small + 100, model, tmp_path)))
    assert [(place.x, place.y) for place in found.places] == [(0, 0), (0, 0)]
    empty = np.full((30, 40), 255, np.uint8)
    assert survey(read_result(make_result(tmp_path / "e", empty, empty, model, tmp_path))).places == ()


@pytest.mark.parametrize("name", [LABEL_MAP, CONFIDENCE])
def test_a_damaged_file_is_named(drawn, tmp_path, model, name):
    folder = make_result(tmp_path / "s", *drawn, model, tmp_path)
    (folder / name).write_bytes(b"II*\0 no tiff")
    with pytest.raises(InputError, match=rf"{name}: not readable .*segment the slide again"):
        survey(read_result(folder))


def test_a_map_of_another_size_is_refused(drawn, tmp_path, model):
    folder = make_result(tmp_path / "s", *drawn, model, tmp_path)
    make_result(tmp_path / "t", drawn[0][:300], drawn[1][:300], model, tmp_path)
    (tmp_path / "t" / CONFIDENCE).replace(folder / CONFIDENCE)
    with pytest.raises(InputError, match=rf"{CONFIDENCE}: has 1100 x 300 px"):
        survey(read_result(folder))
