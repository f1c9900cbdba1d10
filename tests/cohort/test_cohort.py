"""The table of slides as objects."""

import numpy as np
import pytest

from wsss_mm.cohort import Cohort
from wsss_mm.errors import InputError

HEADER = "slide_id,patient_id,site,path,split,mpp,roi,annotation,bytes,quickhash\n"


@pytest.fixture
def folder(tmp_path, write_tiff):
    write_tiff(tmp_path / "a.tif", np.zeros((64, 64, 3), np.uint8), 0.5)
    (tmp_path / "r.geojson").write_text("{}")
    return tmp_path


def read(folder, *rows, header=HEADER, **options):
    (folder / "slides.csv").write_text(header + "".join(f"{row}\n" for row in rows))
    return Cohort.read(folder / "slides.csv", **options)


def test_a_row_becomes_a_slide(folder):
    cohort = read(folder, "a,p,Here,a.tif,Train,0.25,r.geojson,,9,abc", "b,q,,,test,,,,,")
    first, second = cohort
    assert (first.slide_id, first.patient_id, first.site, first.split) == ("a", "p", "Here", "train")
    assert (first.path, first.roi, first.annotation) == (folder / "a.tif", folder / "r.geojson", None)
    assert (first.mpp, first.bytes, first.quickhash) == (0.25, 9, "abc")
    assert first.truth == folder / "truth/a.tif"
    assert (second.path, second.mpp, second.roi, second.bytes, second.quickhash) == (None, None, None, None, "")
    assert cohort.splits == {"a": "train", "b": "test"}
    assert list(cohort.frame.columns) == ["slide_id", "patient_id", "split"]
    assert cohort.labels is None
    assert cohort.with_files() == [first] == cohort.with_files(["train"])
    assert cohort.with_files(["test"]) == cohort.with_files(without={"a"}) == []


def test_a_table_without_the_new_columns_is_read(folder):
    (slide,) = read(folder, "a,p,a.tif,train", header="slide_id,patient_id,path,split\n")
    assert (slide.site, slide.bytes, slide.quickhash) == ("", None, "")
    with slide.open() as reader:
        assert reader.mpp == 0.5
    (slide,) = read(folder, "a,a.tif", header="slide_id,path\n", for_training=False)
    assert (slide.patient_id, slide.split) == ("", "")


def test_labels_lie_beside_the_table(folder):
    (folder / "labels.csv").write_text("slide_id,x,y,labels\n")
    assert read(folder, "a,p,,a.tif,train,,,,,").labels == folder / "labels.csv"


def test_a_slide_that_was_replaced_does_not_open(folder, write_tiff):
    with read(folder, "a,p,,a.tif,train,,,,,").slides[0].open() as reader:
        size, quickhash = (folder / "a.tif").stat().st_size, reader.quickhash
    good = read(folder, f"a,p,,a.tif,train,,,,{size},{quickhash}").slides[0]
    good.open().close()
    for row in (f"{size + 1},{quickhash}", f"{size},{quickhash[:-1]}"):
        with pytest.raises(InputError, match=r"a\.tif: was replaced since .*slides\.csv: line 2 .*dvc repro cohort"):
            read(folder, f"a,p,,a.tif,train,,,,{row}").slides[0].open()
