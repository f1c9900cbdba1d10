"""Rows of the benchmarks, and the page they are printed on."""

import pytest

from benchmarks.rows import append_row, measured_row, read_rows
from benchmarks.tables import PAGE, fill, print_rows


def cam_row(values, target=2.0):
    return measured_row(
        "cam", "maps", values, "s", over=[1.0, 2.0, 2.0, 4.0, 5.0], over_what="passes", target=target, quick=True
    )


def test_the_committed_page_is_what_the_printer_makes_of_the_committed_rows():
    page = PAGE.read_text(encoding="utf-8")
    assert fill(page, read_rows()) == page


def test_a_row_holds_medians_and_the_ratio_of_neighbours():
    row = cam_row([2.0, 3.0, 2.0, 4.0, 10.0])
    assert (row["value"], row["ratio"], row["runs"]) == (3.0, 1.5, 5)


def test_fewer_than_five_runs_are_no_row():
    with pytest.raises(ValueError, match="needs 5"):
        cam_row([1.0])


def test_the_newest_row_is_printed_and_a_missed_target_said(tmp_path):
    for values, target in (([2.0] * 5, 9.0), ([3.0, 6.0, 6.0, 12.0, 15.0], 2.0)):
        append_row(cam_row(values, target), tmp_path / "rows.jsonl")
    printed = print_rows(read_rows(tmp_path / "rows.jsonl")).splitlines()
    assert len(printed) == 3
    assert "| 3.00 | at most 2, **missed** |" in printed[-1]
