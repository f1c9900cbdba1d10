"""Tables in the dialects of spreadsheets: what is meant is read, what is damaged is named with its line."""

import csv
import io
import logging

import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from wsss_mm.errors import InputError
from wsss_mm.tables import nearest_name, number, read_table

COLUMNS, OPTIONAL = ("slide_id", "labels"), ("mpp",)
PLAIN = "slide_id,labels,mpp\nS1,TE;TAS,0.25\nS2,a b,\n"


@pytest.fixture
def read(tmp_path):
    def from_text(content, columns=COLUMNS, optional=OPTIONAL, encoding="utf-8"):
        path = tmp_path / "table.csv"
        path.write_bytes(content if isinstance(content, bytes) else content.encode(encoding))
        return read_table(path, columns, optional, absent="not there", remedy="save it as CSV")

    return from_text


def rows(frame):
    return list(frame.itertuples(name=None))


# -- every dialect gives the same cells

_TEXT = st.text(
    st.characters(blacklist_categories=("Cs", "Cc", "Zl", "Zp")) | st.sampled_from(',;\t|"\n\u00a0é'), max_size=12
)


@st.composite
def _dialects(draw):
    """How a table is written: separator, quotes, line ends, encoding, and what spreadsheets add around it."""
    return {
        "separator": draw(st.sampled_from(",;\t|")),
        "quoting": draw(st.sampled_from((csv.QUOTE_MINIMAL, csv.QUOTE_ALL))),
        "line_end": draw(st.sampled_from(("\n", "\r\n", "\r"))),
        "encoding": draw(st.sampled_from(("utf-8", "utf-8-sig", "utf-16", "utf-16-le"))),
        "says_separator": draw(st.booleans()),
        "headings": draw(st.sampled_from((str, str.upper, lambda name: f" {name.replace('_', ' ').title()}\u00a0"))),
        "blank": draw(st.lists(st.integers(0, 3), max_size=3)),
        "empty_columns": draw(st.integers(0, 2)),
        "order": draw(st.permutations(range(3))),
        "around": draw(st.sampled_from(("", " ", "\u00a0", "\u200b"))),
    }


def _written(cells, dialect):
    """The file's bytes, and the line on which each row begins."""
    stream, lines, line = io.StringIO(), [], 1
    out = csv.writer(stream, delimiter=dialect["separator"], quoting=dialect["quoting"], lineterminator="\n")
    if dialect["says_separator"]:
        stream.write(f"sep={dialect['separator']}\n")
    for at, row in enumerate([(*COLUMNS, *OPTIONAL), *cells]):
        for _ in range(dialect["blank"].count(at)):
            out.writerow([""] * (3 + dialect["empty_columns"]))
        change = dialect["headings"] if at == 0 else lambda cell: f"{cell}{dialect['around']}"
        line = stream.getvalue().count("\n") + 1
        lines += [] if at == 0 else [line]
        out.writerow([change(row[place]) for place in dialect["order"]] + [""] * dialect["empty_columns"])
    out.writerow([""] * 3)
    return stream.getvalue().replace("\n", dialect["line_end"]).encode(dialect["encoding"]), lines


@settings(max_examples=80, derandomize=True, database=None, suppress_health_check=list(HealthCheck))
@given(st.lists(st.tuples(_TEXT, _TEXT, _TEXT), min_size=1, max_size=4), _dialects())
def test_a_table_in_any_dialect_gives_the_same_cells_on_their_lines(read, cells, dialect):
    around = " \t\n\u00a0\u200b"
    cells = [tuple(text.strip().strip(around).strip() for text in row) for row in cells]
    cells = [(first or "x", *rest) for first, *rest in cells]
    data, lines = _written(cells, dialect)
    frame = read(data)
    expected = [tuple(text.replace("\n", dialect["line_end"]) for text in row) for row in cells]
    assert rows(frame) == [(line, *row) for line, row in zip(lines, expected, strict=True)]
    assert tuple(frame.columns) == (*COLUMNS, *OPTIONAL)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("\r\n\nslide_id,labels\n\nS1,TE\n", [(5, "S1", "TE", "")]),
        ('slide_id,labels\n"S\n1",TE\nS2,TE\n', [(2, "S\n1", "TE", ""), (4, "S2", "TE", "")]),
        (",slide_id,labels\n0,S1,TE\n1,S2,TE\n", [(2, "S1", "TE", ""), (3, "S2", "TE", "")]),  # an index of pandas
        ("labels,note,slide_id\nTE,seen,S1\n", [(2, "S1", "TE", "")]),
        ("slide_id,labels,mpp\nS1,TE\n", [(2, "S1", "TE", "")]),
        ('"sep=;";;\nslide_id;labels\nS1;"TE;TAS"\n', [(3, "S1", "TE;TAS", "")]),
        ('slide_id, labels\nS1, "TE,TAS"\n', [(2, "S1", "TE,TAS", "")]),
        ("slide_id,labels,MPP [\u00b5m/px]\nS1,TE,0.5\n", [(2, "S1", "TE", "0.5")]),
        ("slide_id,labels,mpp (old),mpp\nS1,TE,1,0.5\n", [(2, "S1", "TE", "0.5")]),
    ],
)
def test_what_is_meant_is_read(read, text, expected):
    assert rows(read(text)) == expected


def test_without_wanted_columns_all_that_have_a_name_are_read(read):
    frame = read("A;b \n1;2\n\n3\n", (), ())
    assert list(frame.columns) == ["A", "b"]
    assert rows(frame) == [(2, "1", "2"), (4, "3", "")]
    assert read("A,b\n", (), ()).empty


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "it is empty"),
        ("\n,,\n", "it is empty"),
        ("slide_id,labels,mpp,MPP\nS1,TE,1,2\n", "line 1: column 'mpp' is there twice"),
        (
            "\nslide,labels\n",
            "line 2: column slide_id is missing; the columns are .*, found was slide, labels",
        ),
        ("slide_id,labels (um)\nS1,TE\n", "line 1: column labels is missing"),
        ("slide_id,labels\n\nS1,TE,TAS\n", "line 3: 'TAS' stands in no column, of slide_id, labels; .* holds commas"),
        ("slide_id,labels,,\nS1,TE,,seen\n", "line 2: 'seen' stands in no column"),
        ("slide_id,labels\nS1;TE\n", "line 2: not readable as CSV .its cells are separated by semicolons, the head"),
        ('slide_id,labels\nS1,TE\n"S2,TE\nS3,TE\n', "line 3: not readable as CSV .a quotation mark is opened"),
        ('slide_id,labels\n"S"1,TE\n', "line 2: not readable as CSV"),
        ('slide_id,labels\n"S1,TE"\n', "line 2: .*the whole line stands in quotation marks"),
        ('"slide_id,labels"\n"S1,TE"\n', "line 1: .*the whole line stands in quotation marks"),
        ("sep=,\nslide_id;labels\nS1;TE\n", "line 2: .*its cells are separated by semicolons, it says commas"),
        ("slide_id,labels\nS1,T\0E\n", "line 2: not readable as CSV .it holds NUL bytes"),
        (b"PK\x03\x04 xl/workbook.xml", "it is a workbook"),
        ("slide_id,labels\nS1,\u0141\u00f3d\u017a\n".encode("cp1250"), "line 2: .*the text is not UTF-8"),
        ("slide_id,labels\nS1,\u041f\u0435\u0442\u0440\n".encode("cp1251"), "line 2: .*the text is not UTF-8"),
        ("slide_id,labels\nS1,M\u00fcller\n".encode("mac-roman"), "line 2: .*the text is not UTF-8"),
        ("slide_id,labels\nS1,M\u00fcller\nS2,".encode() + b"\xfc\n", "line 3: .*the text is not UTF-8"),
        ("slide_id,labels\nS1,TE\n".encode("utf-16")[:-1], "not readable as CSV"),
    ],
)
def test_damage_is_named_with_its_line(read, text, message):
    with pytest.raises(InputError, match=rf"table\.csv: .*{message}"):
        read(text)


@pytest.mark.parametrize(("heading", "told"), [("mpps", True), ("mpp_x", True), ("note", False), ("", False)])
def test_a_column_that_is_probably_meant_for_an_optional_one_is_told_of(read, caplog, heading, told):
    assert rows(read(f"slide_id,labels,{heading}\nS1,TE,\n")) == [(2, "S1", "TE", "")]
    assert (f"line 1: column {heading!r} is passed over; if it is meant, call it mpp" in caplog.text) == told


def test_text_of_an_older_windows_is_read_with_a_warning(read, caplog):
    with caplog.at_level(logging.WARNING):
        frame = read("slide_id;labels\nS1;M\u00fcller\u00a0\n", encoding="cp1252")
    assert rows(frame) == [(2, "S1", "M\u00fcller", "")]
    assert "table.csv: not UTF-8, read as Windows-1252, as line 2 shows: 'S1;M\u00fcller" in caplog.text


def test_a_file_that_is_not_there_and_a_folder(tmp_path):
    for path, message in ((tmp_path / "none.csv", "none.csv: not there"), (tmp_path, "not readable as CSV")):
        with pytest.raises(InputError, match=message):
            read_table(path, absent="not there", remedy="save it")


@pytest.mark.parametrize(
    ("text", "value"),
    [("0.25", 0.25), ("0,25", 0.25), (".5", 0.5), ("2", 2), ("2,50E-01", 0.25), ("-1", -1), ("1.", 1)]
    + [(text, None) for text in ("", "0_25", "nan", "inf", "40x", "1.0.0", "1,0.0", "\u0660.\u0665", "#N/A", "0x1")],
)
def test_numbers_as_people_write_them(text, value):
    assert number(text) == value


def test_frames_are_of_text(read):
    frame = read("slide_id,labels\n007,NA\n")
    assert rows(frame) == [(2, "007", "NA", "")]
    assert pd.api.types.is_string_dtype(frame["slide_id"])


@pytest.mark.parametrize(
    ("name", "near"), [("s1", "S1"), ("S11", "S1"), ("S4", "S1"), ("Mu\u0308ller", "M\u00fcller"), ("phantom-01", None)]
)
def test_the_nearest_name(name, near):
    assert nearest_name(name, ["S1", "M\u00fcller"]) == near
