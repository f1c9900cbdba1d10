"""The page that rows are printed on."""

import json
import re

from benchmarks.rows import PAGE, Measurement, read_rows
from benchmarks.tables import NONE, fill, print_page

EMPTY = "Text\n<!-- rows: cam -->\n<!-- end of rows -->\nmore\n<!-- machines -->\n<!-- end of machines -->\n"


def row(value, machine="CPU", subject="cam", **targets):
    measured = Measurement("maps", [value] * 5, "s", over=[2.0] * 5, over_what="passes", **targets).row()
    where = {"date": "2020-01-02", "commit": "abc", "machine": machine, "versions": {"python": "3.11"}, "busy": 0.5}
    return {"subject": subject, **measured, "quick": True, "command": "python -m benchmarks.cam", **where}


def test_the_committed_page_is_what_the_printer_makes_of_the_committed_rows():
    page = PAGE.read_text(encoding="utf-8")
    assert fill(page, read_rows()) == page


def test_every_subject_with_rows_has_its_place_in_the_page():
    listed = re.findall(r"<!-- rows: (.+) -->", PAGE.read_text(encoding="utf-8"))
    placed = set(" ".join(listed).split())
    assert {item["subject"] for item in read_rows()} <= placed


def test_the_newest_row_is_printed_and_a_missed_target_said():
    page = fill(EMPTY, [row(2.0, at_most=9.0), row(6.0, at_most=2.0)])
    assert page.count("| maps |") == 1
    assert "| 3.00 | at most 2, **missed** | 5, quick | A, 2020-01-02, load 0.5 |" in page
    assert "- A: CPU, Python 3.11" in page


def test_targets_say_their_kind():
    assert "| 1.00 | at least 0.9 |" in fill(EMPTY, [row(2.0, at_least=0.9)])
    assert "| 1.00 | at least 2, **missed** |" in fill(EMPTY, [row(2.0, at_least=2.0)])


def test_rows_of_another_machine_have_another_letter():
    page = fill(EMPTY, [row(2.0), row(2.0, machine="GPU", subject="gpu")])
    assert "- A: CPU, Python 3.11\n- B: GPU, Python 3.11" in page
    assert page.count("| maps |") == 1  # the other has no place in this page


def test_tables_that_follow_an_empty_one_keep_their_places():
    both = EMPTY.replace("more", "<!-- rows: gpu -->\n<!-- end of rows -->\nmore")
    page = fill(both, [row(2.0, subject="gpu")])
    assert page.index("<!-- rows: cam -->") < page.index("<!-- rows: gpu -->") < page.index("| maps |")


def test_printing_again_changes_nothing():
    once = fill(EMPTY, [row(2.0)])
    assert fill(once, [row(2.0)]) == once


def test_the_page_on_disk_is_printed(tmp_path):
    (tmp_path / "page.md").write_text(EMPTY)
    (tmp_path / "rows.jsonl").write_text(json.dumps(row(2.0)) + "\n")
    print_page(tmp_path / "page.md", tmp_path / "rows.jsonl")
    assert "| what | median |" in (tmp_path / "page.md").read_text()


def test_a_table_without_rows_says_so():
    assert f"<!-- rows: cam -->\n{NONE}\n<!-- end" in fill(EMPTY, [])
