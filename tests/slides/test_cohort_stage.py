"""The stage `cohort`: whole or not at all, for the phantom and for a user's own slides."""

import os

import numpy as np
import pytest

from pipelines import cohort as stage
from wsss_mm.errors import InputError
from wsss_mm.settings import load_profile
from wsss_mm.slides import open_slide
from wsss_mm.slides.icc import icc_noted
from wsss_mm.slides.table import read_slide_table, resolve

TABLE = "slide_id,patient_id,path,split,mpp,annotation\n{}"


@pytest.fixture
def params(tmp_path, monkeypatch):
    """Parameters of a cohort, in an empty project."""
    loaded = load_profile("phantom")
    (tmp_path / "project").mkdir()
    monkeypatch.chdir(tmp_path / "project")

    def choose(**changes):
        return loaded.model_copy(update={"cohort": loaded.cohort.model_copy(update=changes)})

    return choose


@pytest.fixture
def own(tmp_path, write_tiff):
    """Two slides outside the project, one of them without mpp."""
    folder = tmp_path / "own"
    folder.mkdir()
    write_tiff(folder / "a.tif", [np.zeros((64, 64, 3), np.uint8)], 0.5)
    write_tiff(folder / "b.tif", [np.zeros((64, 64, 3), np.uint8)], None)
    return folder


def snapshot(folder):
    return {path: path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def test_phantom(params):
    loaded = params(name="phantom")
    small = loaded.cohort.phantom.model_copy(update={"slides": {"train": 1}, "size": 1024})
    stage.main(params(name="phantom", phantom=small))

    table = read_slide_table("data/cohort/slides.csv")
    assert list(table["slide_id"]) == ["phantom-train-01"]
    with open_slide(resolve("data/cohort/slides.csv", table["path"].iloc[0])) as slide:
        assert slide.size == (1024, 1024)
    assert [path.name for path in stage.COHORT.parent.iterdir()] == ["cohort"]


def test_that_slides_are_read_as_srgb_is_noted_where_it_is_asked_for(params, own):
    (own / "slides.csv").write_text(TABLE.format("a,p1,a.tif,train,,\n"))
    for icc in (True, False):
        asked = params(name="slides", source=own)
        stage.main(asked.model_copy(update={"stain": asked.stain.model_copy(update={"icc": icc})}))
        assert icc_noted(stage.COHORT) == icc


@pytest.mark.parametrize("as_folder", [True, False])
def test_own_slides_are_found_from_the_cohort(params, own, as_folder):
    (own / "slides.csv").write_text(TABLE.format("a,p1,a.tif,train,,\nb,p2,b.tif,test,0.25,\n"))
    relative = os.path.relpath(own if as_folder else own / "slides.csv")
    stage.main(params(name="slides", source=relative))

    table = read_slide_table("data/cohort/slides.csv")
    assert list(table["path"]) == [f"{own}/a.tif", f"{own}/b.tif"]
    assert table["mpp"].iloc[1] == 0.25


@pytest.mark.parametrize(("mpp", "told"), [("0.25", True), ("0.52", True), ("0.505", False), ("", False)])
def test_an_mpp_other_than_the_slides_own_stands_and_is_told(params, own, caplog, mpp, told):
    (own / "slides.csv").write_text(TABLE.format(f"b,p2,b.tif,test,0.3,\na,p1,a.tif,train,{mpp},\n"))
    stage.main(params(name="slides", source=own))
    lines = [record.message for record in caplog.records if "column mpp" in record.message]
    assert [line.split(": ", 1)[1] for line in lines] == (
        [f"line 3 (a): column mpp says {mpp} um/px, the file 0.5; the table counts, empty the cell if it should not"]
        if told
        else []
    )


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ("a,p1,a.tif,train,,\nb,p2,b.tif,test,,\n", r"line 3 \(b\): .*b\.tif: no mpp in the file"),
        ("a,p1,a.tif,train,,\nb,p2,c.tif,test,,\n", r"line 3 \(b\): path .*c\.tif does not exist"),
        ("a,p1,a.tif,train,,\nb,p1,b.tif,test,0.5,\n", r"patient 'p1' is in the splits test and train"),
        ("a,p1,a.tif,train,,\nb,p2,text.svs,test,,\n", r"line 3 \(b\): .*text\.svs: not a readable slide"),
        ("a,p1,a.tif,train,,text.svs\n", r"line 2 \(a\): .*text\.svs: not readable as GeoJSON"),
        (
            "\na,p1,a.tif,train,,off.geojson\n",
            r"line 3 \(a\): .*off\.geojson: no area lies .* 64 x 64 px",
        ),
        ("a,p1,,train,,\n", r"line 2 \(a\): path is empty"),
        ("a,p1,a.tif,train,21.2,\n", r"line 2 \(a\): mpp '21.2' is no resolution of a slide; .* 0\.1 to 4"),
        ("a,p1,a.tif,train,0.05,\n", r"line 2 \(a\): mpp '0.05' is no resolution of a slide"),
        ("a,p1,text.svs,train,,\nb,p2,b.tif,test,,\n", r"line 2 .* line 3 "),
    ],
)
def test_bad_input_damages_nothing(params, own, rows, message):
    (own / "text.svs").write_text("no slide")
    (own / "off.geojson").write_text('{"type": "Polygon", "coordinates": [[[70, 0], [90, 0], [90, 20], [70, 0]]]}')
    (own / "slides.csv").write_text(TABLE.format("a,p1,a.tif,train,,\n"))
    stage.main(params(name="slides", source=own))
    before = snapshot(stage.COHORT)

    (own / "slides.csv").write_text(TABLE.format(rows))
    with pytest.raises(InputError, match=message) as caught:
        stage.main(params(name="slides", source=own))
    assert "\n" not in str(caught.value)
    assert snapshot(stage.COHORT) == before
    assert [path.name for path in stage.COHORT.parent.iterdir()] == ["cohort"]


@pytest.mark.real_data
def test_patches_name_their_slides(params, real_data):
    stage.main(params(name="bcss_wsss", source=real_data / "bcss_wsss"))
    table = read_slide_table("data/cohort/slides.csv")
    assert set(table["path"]) == {""}
    assert len(table) == 4
