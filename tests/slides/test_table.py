import gzip

import pandas as pd
import pytest

from wsss_mm.errors import InputError
from wsss_mm.slides.table import COLUMNS, read_slide_table, resolve, write_slide_table

GOOD = """slide_id,patient_id,path,split,mpp
a1,p1,a1.svs,train,
a2,p1,a2.svs,train,0.25
b1,p2,b1.svs,test,
"""


@pytest.fixture
def folder(tmp_path):
    for name in ("a1", "a2", "b1"):
        (tmp_path / f"{name}.svs").write_text("")
    (tmp_path / "slides.csv").write_text(GOOD)
    return tmp_path


def test_a_good_table(folder):
    table = read_slide_table(folder / "slides.csv")
    assert tuple(table.columns) == COLUMNS
    assert list(table["slide_id"]) == ["a1", "a2", "b1"]
    assert table["mpp"].isna().tolist() == [True, False, True]
    assert table["mpp"].iloc[1] == 0.25
    assert set(table["roi"]) == {""}
    assert resolve(folder / "slides.csv", "a1.svs") == folder / "a1.svs"


def test_write_and_read_back(folder):
    table = read_slide_table(folder / "slides.csv")
    write_slide_table(table, folder / "again.csv")
    pd.testing.assert_frame_equal(read_slide_table(folder / "again.csv"), table)
    first = (folder / "again.csv").read_bytes()
    write_slide_table(table, folder / "again.csv")
    assert (folder / "again.csv").read_bytes() == first


def test_spreadsheets_mark_and_spaces_do_no_harm(folder):
    (folder / "slides.csv").write_text("\ufeff" + GOOD.replace(",train", ", train "), encoding="utf-8")
    assert list(read_slide_table(folder / "slides.csv")["split"]) == ["train", "train", "test"]


def test_a_german_spreadsheet_says_what_the_plain_table_says(folder):
    plain = read_slide_table(folder / "slides.csv")
    text = (
        GOOD.replace(",", ";").replace("0.25", "0,25").replace("slide_id", "Slide ID").replace("train", "Train")
        + ";;;;\n"
    )
    (folder / "slides.csv").write_text("\ufeff" + text, encoding="utf-16-le")
    pd.testing.assert_frame_equal(read_slide_table(folder / "slides.csv"), plain)


def test_lines_are_those_of_the_file(folder):
    (folder / "slides.csv").write_text("\n" + GOOD.replace("\n", "\n\n").replace("b1.svs,test", "b1.svs,prueba"))
    with pytest.raises(InputError, match=r"line 8 \(b1\): split 'prueba'"):
        read_slide_table(folder / "slides.csv")


def test_identifiers_stay_text(folder):
    (folder / "slides.csv").write_text("slide_id,patient_id,path,split\n007,NA,a1.svs,train\n")
    table = read_slide_table(folder / "slides.csv")
    assert (table["slide_id"].iloc[0], table["patient_id"].iloc[0]) == ("007", "NA")


def test_slides_known_by_their_patches_alone_need_no_file(folder):
    (folder / "slides.csv").write_text("slide_id,patient_id,path,split\na,p,,train\n")
    assert read_slide_table(folder / "slides.csv")["path"].iloc[0] == ""


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("patient_id,", "patient,", r"column patient_id is missing"),
        ("b1,p2", "a2,p2", r"line 4: slide_id 'a2' is there twice"),
        ("b1,p2", "b1,p1", r"patient 'p1' is in the splits test and train; put all slides of a patient in one split"),
        (",test,", ",tset,", r"line 4 \(b1\): split 'tset' is none of train, valid, test"),
        ("0.25", "40x", r"line 3 \(a2\): mpp '40x' is no resolution"),
        ("0.25", "-1", r"line 3 \(a2\): mpp '-1' is no resolution"),
        ("0.25", "inf", r"line 3 \(a2\): mpp 'inf' is no resolution"),
        ("0.25", "0_25", r"line 3 \(a2\): mpp '0_25' is no resolution"),
        ("0.25", "#N/A", r"line 3 \(a2\): mpp '#N/A' is no resolution"),
        (",mpp", ",mpp,Mpp", r"line 1: column 'mpp' is there twice"),
        ("a2,p1", "../a2,p1", r"line 3 \(../a2\): slide_id '../a2' must be of letters"),
        ("a2,p1", "..,p1", r"must be of letters"),
        ("a2,p1", ",p1", r"line 3 \(no slide_id\): slide_id '' must be"),
        ("a2,p1", "a2,p 1", r"line 3 \(a2\): patient_id 'p 1' must be"),
        ("a2.svs", "gone.svs", r"line 3 \(a2\): path .*gone\.svs does not exist; correct it"),
        ("b1,p2,b1.svs,test,\n", 'b1,"p2,b1.svs,test,\n', r"not readable as CSV"),
    ],
)
def test_bad_rows_are_named_with_the_remedy(folder, old, new, message):
    (folder / "slides.csv").write_text(GOOD.replace(old, new))
    with pytest.raises(InputError, match=message) as caught:
        read_slide_table(folder / "slides.csv")
    assert "slides.csv" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_no_table_and_an_empty_one(tmp_path):
    with pytest.raises(InputError, match="no such table of slides"):
        read_slide_table(tmp_path / "slides.csv")
    (tmp_path / "slides.csv").write_text("slide_id,patient_id,path,split\n")
    with pytest.raises(InputError, match="holds no slide"):
        read_slide_table(tmp_path / "slides.csv")
    (tmp_path / "slides.csv").write_text("")
    with pytest.raises(InputError, match="not readable as CSV"):
        read_slide_table(tmp_path / "slides.csv")


def test_a_compressed_table_is_not_unpacked(tmp_path):
    path = tmp_path / "slides.csv.gz"
    path.write_bytes(gzip.compress(GOOD.encode() + b"x" * 1_000_000))
    with pytest.raises(InputError, match=r"slides\.csv\.gz: not readable as CSV"):
        read_slide_table(path)


@pytest.mark.parametrize("name", ["../a1", "<img src=x onerror=alert(1)>", "=cmd()", "a\u202eb", "x" * 161, ".", "a b"])
@pytest.mark.parametrize("column", ["a1", "p1"])
def test_ids_can_name_files_and_are_no_formulas(folder, column, name):
    text = GOOD.replace(
        f"a1,{column}," if column == "p1" else "a1,p1,", f"a1,{name}," if column == "p1" else f"{name},p1,"
    )
    (folder / "slides.csv").write_text(text, encoding="utf-8")
    with pytest.raises(InputError, match=r"line 2 .* becomes part of file names"):
        read_slide_table(folder / "slides.csv")


def test_a_path_that_no_file_can_have_does_not_exist(folder):
    (folder / "slides.csv").write_text(GOOD.replace("a1.svs", "x" * 5000))
    with pytest.raises(InputError, match=r"line 2 .* does not exist"):
        read_slide_table(folder / "slides.csv")


def test_notes_are_no_rows(folder):
    """A line that begins with # is a note, a row of a table that begins with slide_id among them."""
    text = (folder / "slides.csv").read_text().splitlines()
    notes = ['# scanned by "Ann, 2026', *text[:1], "#S9,P9,gone.svs,train", "## two", *text[1:], "#"]
    (folder / "slides.csv").write_text("\n".join(notes) + "\n")
    table = read_slide_table(folder / "slides.csv")
    assert list(table["slide_id"]) == [line.split(",")[0] for line in text[1:]]
    assert table.index[0] == 5


def test_what_begins_with_a_hash_below_other_headings_is_a_row(folder):
    (folder / "slides.csv").write_text("path,slide_id,patient_id,split\n#1.svs,S1,P1,train\n")
    with pytest.raises(InputError, match=r"line 2 \(S1\): path .*#1.svs does not exist"):
        read_slide_table(folder / "slides.csv")


def test_a_row_without_a_split_is_told_what_gives_one(folder):
    (folder / "slides.csv").write_text("slide_id,patient_id,path,split\nS1,P1,,\n")
    with pytest.raises(InputError, match=r"line 2 \(S1\): has no split; .* wsss-mm cohort split"):
        read_slide_table(folder / "slides.csv")
