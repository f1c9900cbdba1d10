"""What readers drew on slides stands for the empty cells of their table."""

import json
import logging
import shutil
from pathlib import Path

import numpy as np
import pytest

from wsss_mm import places
from wsss_mm.cohort import Cohort
from wsss_mm.cohort.adopt import adopt_slides
from wsss_mm.errors import InputError
from wsss_mm.patches.grid import grid_of
from wsss_mm.settings import PatchSettings
from wsss_mm.slides.table import write_slide_table

PLACE = places.COHORT


@pytest.fixture
def project(tmp_path, monkeypatch, write_tiff):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "raw").mkdir()
    image = np.random.default_rng(1).integers((150, 60, 120), (200, 110, 170), (512, 512, 3)).astype(np.uint8)
    for name in ("a", "b"):
        write_tiff(tmp_path / f"raw/{name}.tif", image, 1.0)
    return tmp_path


def table(*rows):
    lines = ["slide_id,patient_id,path,split,roi,annotation", *rows]
    Path("raw/slides.csv").write_text("\n".join(lines) + "\n")


def draw(path, side=100, name="TE"):
    path.parent.mkdir(parents=True, exist_ok=True)
    ring = [[0, 0], [side, 0], [side, side], [0, side], [0, 0]]
    properties = {"classification": {"name": name}}
    feature = {
        "type": "Feature",
        "geometry": {"type": "Polygon", "coordinates": [ring]},
        "properties": properties,
    }
    path.write_text(json.dumps({"type": "FeatureCollection", "features": [feature]}))


def made():
    shutil.rmtree(PLACE, ignore_errors=True)
    PLACE.mkdir(parents=True)
    seen = Path("seen.json")
    write_slide_table(adopt_slides("raw", PLACE, PLACE, drawn=places.DRAWN, seen=seen), PLACE / "slides.csv")
    return {slide.slide_id: slide for slide in Cohort.read(PLACE / "slides.csv")}


def test_what_is_drawn_stands_for_an_empty_cell(project, caplog):
    table("a,p,a.tif,valid,,", "b,q,b.tif,train,,")
    assert made()["a"].annotation is None
    draw(places.MASKS / "a.geojson")
    draw(places.REGIONS / "b.geojson", side=200)
    caplog.set_level(logging.INFO)
    slides = made()
    assert slides["a"].annotation.read_bytes() == (places.MASKS / "a.geojson").read_bytes()
    assert (slides["a"].roi, slides["b"].annotation) == (None, None)
    assert slides["a"].known_whole
    assert "labels/masks: taken as annotation of a" in caplog.text
    assert "labels/regions: taken as roi of b" in caplog.text

    settings = PatchSettings(
        size=64, mpp=1.0, min_tissue=0.1, leave_out_pen=True, min_class_share=0.05, valid_share=0.2, storage="auto"
    )
    with slides["b"].open() as reader:
        corners = [corner for corner, _ in grid_of(slides["b"], reader, settings)]
    assert corners
    assert max(max(corner) for corner in corners) < 200

    draw(places.MASKS / "a.geojson", side=300)  # a later edit is seen, though the slide was looked at before
    assert made()["a"].annotation.read_bytes() == (places.MASKS / "a.geojson").read_bytes()


def test_the_table_counts_over_what_is_drawn(project, caplog):
    draw(project / "raw/own.geojson", side=50)
    draw(places.MASKS / "a.geojson")
    table("a,p,a.tif,valid,,own.geojson", "b,q,b.tif,train,,")
    assert made()["a"].annotation.read_bytes() == (project / "raw/own.geojson").read_bytes()
    assert "labels/masks: not taken as annotation of a, for which raw/slides.csv names a file" in caplog.text


def test_drawings_of_no_slide_and_damaged_ones_are_named(project, caplog):
    table("a,p,a.tif,valid,,", "b,q,b.tif,train,,")
    draw(places.MASKS / "elsewhere.geojson")
    made()
    assert "labels/masks: no slide of raw/slides.csv is called elsewhere" in caplog.text
    (places.MASKS / "a.geojson").write_text("<<<<<<< ours")
    with pytest.raises(InputError, match=r"labels/masks/a\.geojson: not readable as GeoJSON"):
        made()
