"""Slides are found where they were segmented, without being named again."""

import shutil

import pytest

from wsss_mm.errors import InputError
from wsss_mm.wsi.viewer.memory import remember, remembered_slides
from wsss_mm.wsi.viewer.results import failed_slides, find_slides, read_all, read_results


def test_what_was_segmented_is_found_where_it_was(run, tmp_path):
    scans, folder = run
    memory, results = tmp_path / "work/segmented.json", read_results(folder)
    assert remembered_slides(results, memory) == []
    remember({result.folder: scans / result.slide_file for result in results}, memory)
    assert find_slides(results, remembered_slides(results, memory)) == {r.name: scans / r.slide_file for r in results}


def test_results_that_are_gone_and_slides_that_are_gone_are_forgotten(run, tmp_path):
    memory = tmp_path / "segmented.json"
    shutil.copytree(run[1] / "first", tmp_path / "results/first")
    shutil.copy(run[0] / "first.tiff", tmp_path)
    (result,) = read_results(tmp_path / "results")
    remember({tmp_path / "results/first": tmp_path / "first.tiff", tmp_path / "no": tmp_path / "no.tiff"}, memory)
    assert remembered_slides([result], memory) == [tmp_path / "first.tiff"]
    remember({}, memory)
    assert '/no"' not in memory.read_text()
    (tmp_path / "first.tiff").unlink()
    assert remembered_slides([result], memory) == []


@pytest.mark.parametrize("content", ["", "[]", '{"slides": []}', '{"slides": {"a": 5}}', "{"])
def test_a_damaged_memory_is_none(run, tmp_path, content):
    memory = tmp_path / "segmented.json"
    memory.write_text(content)
    results = read_results(run[1])
    assert remembered_slides(results, memory) == []
    remember({run[1] / "first": run[0] / "first.tiff"}, memory)
    assert remembered_slides(results, memory) == [run[0] / "first.tiff"]


def test_a_memory_that_cannot_be_written_stops_nothing(tmp_path):
    (tmp_path / "file").touch()
    remember({tmp_path: tmp_path}, tmp_path / "file/segmented.json")


class TestReadAll:
    def test_the_lines_results_are_found_among_those_of_segment(self, run, tmp_path):
        shutil.copytree(run[1] / "first", tmp_path / "results/first")
        shutil.copytree(run[1] / "first", tmp_path / "results/slides/first")
        shutil.copytree(run[1] / "first", tmp_path / "results/slides/second")
        found = read_all(tmp_path / "results")
        assert [(one.name, one.folder) for one in found] == [
            ("first", tmp_path / "results/first"),
            ("first (slides)", tmp_path / "results/slides/first"),
            ("second", tmp_path / "results/slides/second"),
        ]
        shutil.rmtree(tmp_path / "results/first")
        assert [one.name for one in read_all(tmp_path / "results")] == ["first", "second"]
        assert [one.name for one in read_all(tmp_path / "results/slides")] == ["first", "second"]

    def test_a_slide_that_is_called_so_is_a_slide(self, run, tmp_path):
        shutil.copytree(run[1] / "first", tmp_path / "results/slides")
        assert [one.name for one in read_all(tmp_path / "results")] == ["slides"]

    def test_nothing_to_show(self, tmp_path):
        with pytest.raises(InputError, match="no results"):
            read_all(tmp_path)


def test_slides_that_failed_are_those_of_both_tables(tmp_path):
    (tmp_path / "slides").mkdir()
    (tmp_path / "slides.csv").write_text("slide_id,status,error\na,done,\nb,failed,'=too bright\n")
    (tmp_path / "slides/slides.csv").write_text("slide_id,status,error\nc,failed,no slide\n")
    assert failed_slides(tmp_path) == {"b": "=too bright", "c": "no slide"}


@pytest.mark.parametrize("content", [b"\xff\xfe", b"a,b\n1,2\n", b'slide_id,status,error\na,failed,"', b""])
def test_another_table_names_no_slides(tmp_path, content, caplog):
    (tmp_path / "slides.csv").write_bytes(content)
    assert failed_slides(tmp_path) == {}
    assert content == b"" or "failed slides are not listed" in caplog.text
