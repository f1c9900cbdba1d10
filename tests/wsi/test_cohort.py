"""The table of many slides, and their folders, whoever else writes there."""

import errno
import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pandas as pd
import pytest

from wsss_mm.errors import InputError
from wsss_mm.files import write_text
from wsss_mm.wsi.cohort import share_folder, write_table
from wsss_mm.wsi.job import Job, JobResult


def test_rows_of_ten_runs_into_one_folder_are_all_kept(tmp_path):
    path = tmp_path / "slides.csv"

    def run(name):
        results = []
        for index in range(10):
            results.append(JobResult(f"{name}-{index}", error="cannot be read"))
            write_table(path, results, update=True)

    with ThreadPoolExecutor(10) as runs:
        list(runs.map(run, range(10)))
    kept = pd.read_csv(path)["slide_id"]
    assert sorted(kept) == sorted(f"{name}-{index}" for name in range(10) for index in range(10))
    assert [item.name for item in tmp_path.iterdir()] == ["slides.csv"]


@pytest.mark.parametrize("links", [True, False])
def test_a_folder_is_shared_with_what_is_in_it(tmp_path, monkeypatch, links):
    write_text(tmp_path / "work/a.txt", "a")
    write_text(tmp_path / "work/inner/b.txt", "b")
    write_text(tmp_path / "out/a.txt", "old")
    if not links:
        monkeypatch.setattr(os, "link", _refused)
    share_folder(tmp_path / "work", tmp_path / "out")
    for name, content in {"a.txt": "a", "inner/b.txt": "b"}.items():
        assert (tmp_path / "out" / name).read_text() == content
        assert (tmp_path / "out" / name).samefile(tmp_path / "work" / name) == links


def test_results_that_may_not_be_written_are_named(tmp_path, monkeypatch):
    write_text(tmp_path / "work/a.txt", "a")
    monkeypatch.setattr(Path, "unlink", _refused)
    with pytest.raises(PermissionError) as caught:
        share_folder(tmp_path / "work", tmp_path / "out")
    assert caught.value.errno == errno.EACCES  # which `explained` turns into one line


def _refused(*_, **__):
    raise PermissionError(errno.EACCES, "no")


def test_a_defect_names_the_slide_and_wrong_input_the_node_alone(caplog, tmp_path):
    job = Job("a", tmp_path / "a.svs", tmp_path / "out")
    assert JobResult.of_error(job, ZeroDivisionError("once\nmore")).error == f"{job.path}: ZeroDivisionError: once more"
    assert (
        JobResult.of_error(job, InputError("a.svs: no slide"), "10.0.0.7").error == "a.svs: no slide (on node 10.0.0.7)"
    )
    assert JobResult.of_error(job, InputError("a.svs: no slide")).error == "a.svs: no slide"
    assert [record.exc_info is not None for record in caplog.records] == [True, False, False]
