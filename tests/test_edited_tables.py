"""A user's table, changed in place: nothing of it is lost, in any dialect."""

import codecs
import subprocess
import sys

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from wsss_mm.edited_tables import edit_of, edited
from wsss_mm.errors import InputError

COLUMNS, OPTIONAL = ("slide_id", "path"), ("mpp", "site")
TEXT = 'Slide ID;Scanner;path\r\nS1;"GT ""450"";x";a.svs\r\n# S2 is being scanned again; and "so on\r\n\r\nS3;;b.svs'


@pytest.fixture
def table(tmp_path):
    path = tmp_path / "slides.csv"
    path.write_bytes(TEXT.encode())
    return path


def opened(path, **options):
    return edited(path, COLUMNS, OPTIONAL, absent="not there", **options)


def test_what_is_not_changed_stays_byte_by_byte(table):
    with opened(table) as rows:
        assert rows.rows == {
            2: {"slide_id": "S1", "Scanner": 'GT "450";x', "path": "a.svs"},
            5: {"slide_id": "S3", "Scanner": "", "path": "b.svs"},
        }
        rows.append({"slide_id": "S4", "path": "c;d.svs"})
        rows.change(5, {"path": "new.svs"})
    assert table.read_bytes().decode() == TEXT.replace("b.svs", "new.svs") + '\r\nS4;;"c;d.svs"\r\n'


def test_a_new_column_stands_behind_all_others(table):
    with opened(table) as rows:
        rows.add_column("site")
        rows.change(2, {"site": "Ulm"})
    lines = table.read_text().split("\n")
    assert lines[0].rstrip() == "Slide ID;Scanner;path;site"
    assert lines[1] == 'S1;"GT ""450"";x";a.svs;Ulm'
    assert lines[4] == "S3;;b.svs;"


def test_rows_that_are_shorter_or_longer_than_the_headings_are_filled(tmp_path):
    path = tmp_path / "slides.csv"
    path.write_text("slide_id,path,mpp\nS1,a\nS2,b,,\n")
    with opened(path) as rows:
        rows.add_column("site")
        rows.change(2, {"site": "A"})
        rows.change(3, {"site": "B"})
    assert path.read_text() == "slide_id,path,mpp,site\nS1,a,,A\nS2,b,,B\n"


def test_nothing_changed_is_not_written(table):
    before = table.stat()
    with opened(table) as rows:
        assert not rows.change(2, {"path": "a.svs"})
    assert (table.stat().st_mtime_ns, table.stat().st_ino) == (before.st_mtime_ns, before.st_ino)


@pytest.mark.parametrize(
    ("codec", "mark"),
    [
        ("utf-8", codecs.BOM_UTF8),
        ("utf-16-le", codecs.BOM_UTF16_LE),
        ("utf-16-be", codecs.BOM_UTF16_BE),
        ("cp1252", b""),
    ],
)
def test_the_encoding_stays(tmp_path, codec, mark):
    path = tmp_path / "slides.csv"
    path.write_bytes(mark + "sep=;\nslide_id;path;ärztin\nS1;a;Müller\n".encode(codec))
    with opened(path) as rows:
        rows.append({"slide_id": "S2", "path": "b", "ärztin": "Jäger"})
    assert path.read_bytes() == mark + "sep=;\nslide_id;path;ärztin\nS1;a;Müller\nS2;b;Jäger\n".encode(codec)


def test_letters_that_the_encoding_lacks_make_it_utf8(tmp_path, caplog):
    path = tmp_path / "slides.csv"
    path.write_bytes("slide_id,path,who\nS1,a,Müller\n".encode("cp1252"))
    with opened(path) as rows:
        rows.append({"slide_id": "S2", "path": "Łódź.svs"})
    assert path.read_text("utf-8").endswith("S2,Łódź.svs,\n")
    assert "it is UTF-8 now" in caplog.text


def test_an_error_leaves_the_table_as_it_was(table):
    with pytest.raises(InputError, match="formula"), opened(table) as rows:
        rows.change(2, {"path": "b.svs"})
        rows.append({"slide_id": "S4", "path": "=1+2"})
    assert table.read_bytes().decode() == TEXT


@pytest.mark.parametrize("cell", [" a.svs", "a.svs\u00a0"])
def test_white_space_that_would_be_lost_is_refused(table, cell):
    with pytest.raises(InputError, match="white space"), opened(table) as rows:
        rows.append({"slide_id": "S4", "path": cell})


def test_a_note_in_place_of_a_row_is_refused(tmp_path):
    path = tmp_path / "slides.csv"
    path.write_text("path,slide_id\na,S1\n")
    with pytest.raises(InputError, match="would not be read as it is meant"), opened(path) as rows:
        rows.append({"slide_id": "S2", "path": "# 2.svs"})
    assert path.read_text() == "path,slide_id\na,S1\n"


def test_a_read_only_table_is_refused(table):
    table.chmod(0o444)
    with pytest.raises(InputError, match=r"slides\.csv: is read-only; chmod u\+w it"), opened(table):
        pass


def test_mode_and_link_stay(table, tmp_path):
    table.chmod(0o640)
    link = tmp_path / "elsewhere/slides.csv"
    link.parent.mkdir()
    link.symlink_to(table)
    with opened(link) as rows:
        rows.remove(2)
    assert link.is_symlink()
    assert table.stat().st_mode & 0o777 == 0o640
    assert "S1" not in table.read_text()


def test_a_table_open_in_a_spreadsheet_is_told_of(table, caplog):
    (table.parent / ".~lock.slides.csv#").touch()
    with opened(table):
        pass
    assert "is open in LibreOffice" in caplog.text


def test_a_dry_run_needs_no_right_to_write(table):
    table.chmod(0o444)
    with opened(table, dry=True) as rows:
        rows.remove(2)
    assert table.read_bytes().decode() == TEXT


def test_what_two_processes_add_is_all_there(tmp_path):
    path = tmp_path / "slides.csv"
    code = (
        "import sys\nfrom pathlib import Path\nfrom wsss_mm.edited_tables import edited\n"
        "for n in range(20):\n"
        "    with edited(Path(sys.argv[1]), ('slide_id',), (), absent='', create=('slide_id',)) as rows:\n"
        "        rows.append({'slide_id': f'{sys.argv[2]}{n}'})\n"
    )
    running = [subprocess.Popen([sys.executable, "-c", code, str(path), name]) for name in "ab"]
    assert [process.wait() for process in running] == [0, 0]
    names = path.read_text().split()[1:]
    assert sorted(names) == sorted(f"{name}{n}" for name in "ab" for n in range(20))
    assert [file.name for file in tmp_path.iterdir()] == ["slides.csv"]


_cell = st.text(st.sampled_from("ab;,\t|\"'# \nä"), max_size=6)


@given(
    rows=st.lists(st.tuples(_cell, _cell), max_size=5),
    added=st.lists(st.tuples(_cell, _cell), max_size=3),
    separator=st.sampled_from(",;\t|"),
    end=st.sampled_from(["\n", "\r\n"]),
)
@settings(max_examples=80, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_rows_are_read_as_they_were_meant(tmp_path, rows, added, separator, end):
    import csv

    path = tmp_path / "any.csv"
    with path.open("w", newline="") as stream:
        writer = csv.writer(stream, delimiter=separator, lineterminator=end)
        writer.writerow(["slide_id", "path", "own"])
        writer.writerows([f"S{n}", *cells] for n, cells in enumerate(rows))
    before = path.read_bytes()
    with opened(path) as table:
        for n, (cell, own) in enumerate(added):
            table.append({"slide_id": f"T{n}", "path": cell.strip(), "own": own.strip()})
    assert path.read_bytes().startswith(before)
    found = list(edit_of(path, COLUMNS, OPTIONAL, absent="").rows.values())
    assert [row["slide_id"] for row in found] == [f"S{n}" for n in range(len(rows))] + [
        f"T{n}" for n in range(len(added))
    ]
    assert [(row["path"], row["own"]) for row in found[len(rows) :]] == [(a.strip(), b.strip()) for a, b in added]
