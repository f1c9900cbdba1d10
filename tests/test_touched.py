"""What `make test` says of the lines that it touched."""

from tests.touched import ROOT, merged, spans, summary


def lines(executed, missing):
    return {"executed_lines": executed, "missing_lines": missing}


def test_a_line_counts_that_any_process_ran():
    every = {"wsss_mm/cam/vote.py": lines([1], [2, 3, 4]), "pipelines/cohort.py": lines([], [1])}
    one = {"wsss_mm/cam/vote.py": lines([1, 2], [3, 4])}
    two = {f"{ROOT}/wsss_mm/cam/vote.py": lines([1, 3], [2, 4])}
    found = {"wsss_mm/cam/vote.py": ({1, 2, 3}, {4}), "pipelines/cohort.py": (set(), {1})}
    assert merged([every, one, {}, two]) == found


def test_lines_that_count_for_nothing_are_no_more_where_a_worker_ran_them():
    every = {"wsss_mm/cam/vote.py": lines([1], [2])}
    assert merged([every, {"wsss_mm/cam/vote.py": lines([1, 2, 7], [8]), "x.py": lines([1], [])}]) == {
        "wsss_mm/cam/vote.py": ({1, 2}, set())
    }


def test_rooms_are_folders_and_modules_and_the_least_comes_first():
    said = summary(
        {"wsss_mm/cam/vote.py": ({1, 2, 3}, {4}), "wsss_mm/names.py": ({1}, set()), "pipelines/x.py": (set(), {1})}
    )
    assert said == "coverage: 66.7 % of 6 lines (pipelines 0, cam 75, names 100); the others: .coverage.txt"


def test_untouched_lines_are_one_span_where_none_between_them_ran():
    assert spans({3, 4, 6, 9, 12}, {1, 8, 10}) == "3-6, 9, 12"
    assert not spans(set(), {1})
