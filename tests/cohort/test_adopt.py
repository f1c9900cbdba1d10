"""A user's table becomes data/cohort: what is small is copied, slides keep their place and their names."""

import json
import os
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from wsss_mm.cohort import Cohort, adopt
from wsss_mm.cohort.adopt import adopt_slides
from wsss_mm.cohort.splits import hold_out
from wsss_mm.errors import InputError
from wsss_mm.slides.table import write_slide_table

PLACE = Path("data/cohort")
SQUARE = {"type": "Polygon", "coordinates": [[[0, 0], [60, 0], [60, 60], [0, 60], [0, 0]]]}


@pytest.fixture
def picture(tmp_path_factory, write_tiff):
    path = tmp_path_factory.mktemp("picture") / "a.tif"
    write_tiff(path, np.zeros((64, 64, 3), np.uint8), 0.5)
    return path


@pytest.fixture
def project(tmp_path, monkeypatch):
    (tmp_path / "lab/project/data/cohort").mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "lab/project")
    return tmp_path / "lab/project"


def put(picture, path):
    path.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(picture, path)


def made(source, **options):
    """data/cohort of a source, as an object."""
    shutil.rmtree(PLACE)
    PLACE.mkdir()
    table = adopt_slides(source, PLACE, PLACE, **options)
    write_slide_table(table, PLACE / "slides.csv")
    return Cohort.read(PLACE / "slides.csv")


def list_slide(table, path, *more):
    table.parent.mkdir(parents=True, exist_ok=True)
    lines = ["slide_id,patient_id,path,split,roi,annotation", f"a,p,{path},train,,", *more]
    table.write_text("\n".join(lines) + "\n")
    return table


@given(
    table=st.sampled_from(["own", "data/raw/own", "../lab-data", "../../far/deep/er"]),
    slide=st.sampled_from([".", "scans", "../scans", "../../archive/2026", "../../../x"]),
    absolute_source=st.booleans(),
    absolute_path=st.booleans(),
)
@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_inside_stays_relative_and_all_else_is_absolute(project, picture, table, slide, absolute_source, absolute_path):
    """From a copy of the project at another depth, relative paths lead into the copy, and absolute ones stay."""
    folder = project / table
    path = Path(os.path.normpath(folder / slide / "a.tif"))
    folder.mkdir(parents=True, exist_ok=True)
    put(picture, path)
    written = path.as_posix() if absolute_path else f"{slide}/a.tif"
    source = list_slide(folder / "slides.csv", written)
    (row,) = made(source if absolute_source else Path(table) / "slides.csv")
    cell = pd.read_csv(PLACE / "slides.csv")["path"][0]
    assert row.path.samefile(path)
    inside = path.is_relative_to(project)
    assert Path(cell).is_absolute() is not inside
    if inside:
        assert os.path.normpath(project / PLACE / cell) == str(path)
    else:
        assert cell == path.as_posix()


@pytest.mark.parametrize("folder", ["own", "../outside"])
def test_a_link_keeps_its_name(project, picture, folder):
    put(picture, project / "../store/object1")
    (project / folder / "scans").mkdir(parents=True)
    (project / folder / "scans/S1.tif").symlink_to(project / "../store/object1")
    (slide,) = made(list_slide(project / folder / "slides.csv", "scans/S1.tif"))
    assert slide.path.name == "S1.tif" and slide.path.is_symlink()


def test_a_folder_that_is_a_link_is_left_by_where_it_leads(project, picture):
    put(picture, project / "../disk/scans/a.tif")
    list_slide(project / "../disk/tables/slides.csv", "../scans/a.tif")
    (project / "own").symlink_to(project / "../disk/tables")
    (slide,) = made(Path("own"))
    assert slide.path.samefile(project / "../disk/scans/a.tif")


def test_drawings_and_labels_are_copied(project, picture):
    put(picture, project / "../own/a.tif")
    put(picture, project / "../own/b.tif")
    (project / "../ann").mkdir()
    for name in ("roi", "S"):
        (project / f"../ann/{name}.geojson").write_text(json.dumps(SQUARE))
    row = "b,q,b.tif,test,../ann/roi.geojson,../ann/S.geojson"
    source = list_slide(project / "../own/slides.csv", "a.tif", row)
    (project / "../own/labels.csv").write_text("slide_id,x,y,labels\na,0,0,TE\n")
    cohort = made(source)
    shutil.rmtree(project / "../ann")
    cohort = Cohort.read(cohort.table)
    assert cohort.slides[1].annotation.read_text() == cohort.slides[1].roi.read_text() == json.dumps(SQUARE)
    assert cohort.slides[0].annotation is None
    assert cohort.labels.read_text().endswith("a,0,0,TE\n")


def test_what_journals_say_of_a_slide_that_left_is_left_out_and_said(project, picture, caplog):
    put(picture, project / "own/a.tif")
    source = list_slide(project / "own/slides.csv", "a.tif")
    header, stays = "slide_id,x,y,labels,unsure,source\n", "a,0,0,TE,,single\n"
    labels = project / "labels.csv"
    labels.write_text(f"{header}S0,0,0,TE,,agreed\nS0,9,0,TE,,single\n{stays}")
    assert made(source, labels=labels).labels.read_text() == header + stays
    assert "2 labels are of slide S0, which is not in slides.csv: left out here, kept in labels" in caplog.text
    by_hand = f"{header}S0,0,0,TE,,\n"  # a slip of somebody who is to mend it
    labels.write_text(by_hand)
    assert made(source, labels=labels).labels.read_text() == by_hand


def test_labels_that_are_named_win_if_they_hold_any(project, picture, caplog):
    put(picture, project / "own/a.tif")
    source = list_slide(project / "own/slides.csv", "a.tif")
    named, beside = project / "named.csv", project / "own/labels.csv"
    header = "slide_id,x,y,labels\n"
    named.write_text(header)
    assert made(source, labels=named).labels is None
    beside.write_text(f"{header}a,0,0,TE\n")
    assert "TE" in made(source, labels=named).labels.read_text()
    assert "cohort.labels of params.yaml names none" in caplog.text
    named.write_text(f"{header}a,0,0,LYM\n")
    assert "LYM" in made(source, labels=named).labels.read_text()


def test_slides_are_opened_again_when_something_changed_and_only_then(project, picture, monkeypatch):
    opened = []
    look = adopt.look_over
    monkeypatch.setattr(adopt, "look_over", lambda slide: opened.append(slide.slide_id) or look(slide))
    for name in ("a", "b"):
        put(picture, project / f"own/{name}.tif")
    (project / "own/b.geojson").write_text(json.dumps(SQUARE))
    source = list_slide(project / "own/slides.csv", "a.tif", "b,q,b.tif,test,,b.geojson")
    seen = project / "work_dirs/seen.json"

    def looked_at():
        opened.clear()
        made(source, seen=seen)
        return list(opened)

    assert looked_at() == ["a", "b"]
    (project / "own/stray.qpproj").write_text("{}")
    assert looked_at() == []
    os.utime(project / "own/a.tif", (1, 1))
    assert looked_at() == ["a"]
    (project / "own/b.geojson").write_text(json.dumps(SQUARE) + " ")
    assert looked_at() == ["b"]
    seen.write_text("[")
    assert looked_at() == ["a", "b"]
    (project / "own/b.geojson").write_text("no GeoJSON")
    with pytest.raises(InputError, match=r"line 3 \(b\): .*b\.geojson: not readable"):
        looked_at()


def test_a_replaced_slide_has_another_row(project, picture, write_tiff):
    put(picture, project / "own/a.tif")
    source, seen = list_slide(project / "own/slides.csv", "a.tif"), project / "seen.json"
    (before,) = made(source, seen=seen)
    (again,) = made(source, seen=seen)
    assert (again.bytes, again.quickhash) == (before.bytes, before.quickhash)
    write_tiff(project / "own/a.tif", np.full((64, 64, 3), 9, np.uint8), 0.5)
    (after,) = made(source, seen=seen)
    assert after.quickhash != before.quickhash


def test_the_folder_of_a_mirax_slide_counts(tmp_path):
    from wsss_mm.cohort.files import slide_bytes, stamp

    (tmp_path / "a").mkdir()
    (tmp_path / "a.mrxs").write_bytes(b"12")
    (tmp_path / "a/Data0001.dat").write_bytes(b"345")
    before = stamp(tmp_path / "a.mrxs")
    assert slide_bytes(tmp_path / "a.mrxs") == 5
    os.utime(tmp_path / "a/Data0001.dat", (1, 1))
    assert stamp(tmp_path / "a.mrxs") != before


def test_patients_without_labels_are_of_no_use_for_validation(project, picture):
    """Of ten patients, two are labelled, each with a slide: one of these is held out."""
    names = "abcdefghij"
    for name in names:
        put(picture, project / f"own/{name}.tif")
    rows = [f"{name},{name},{name}.tif,train,," for name in names[1:]]
    source = list_slide(project / "own/slides.csv", "a.tif", *rows)
    (project / "own/labels.csv").write_text("slide_id,x,y,labels\nb,0,0,TE\nc,0,0,TE\n")
    for seed in range(5):
        table = hold_out(adopt_slides(source, PLACE, PLACE), 0.2, seed, "here").set_index("slide_id")
        assert sorted(table.loc[["b", "c"], "split"]) == ["train", "valid"]
    (project / "own/labels.csv").unlink()
    assert "valid" in set(hold_out(adopt_slides(source, PLACE, PLACE), 0.2, 0, "here")["split"])


def test_a_slide_that_went_away_since_is_to_be_mended_in_the_users_own_table(project, picture):
    put(picture, project / "own/a.tif")
    cohort = made(list_slide(project / "own/slides.csv", "a.tif"))
    (project / "own/a.tif").unlink()
    with pytest.raises(
        InputError, match=r"does not exist; put it back, or correct the table that cohort\.source names"
    ):
        Cohort.read(cohort.table)
    with pytest.raises(InputError, match=r"does not exist; correct it \(relative to own\)"):
        made(Path("own"))


def test_a_barcode_tells_the_site_unless_the_table_does(picture, project, caplog):
    put(picture, project / "own/a.tif")
    caplog.set_level("INFO")
    lines = ["slide_id,patient_id,path,split,site"]
    lines += [f"{name},p,a.tif,train,{site}" for name, site in (("TCGA-D8-A27F-DX1", ""), ("TCGA-A1-A0SK", "Ulm"))]
    (project / "own/slides.csv").write_text("\n".join([*lines, "b,p,a.tif,train,", ""]))
    assert [slide.site for slide in made("own")] == ["D8", "Ulm", ""]
    assert "the site of TCGA-D8-A27F-DX1 is that of the TCGA barcode" in caplog.text
