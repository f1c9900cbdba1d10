"""Results are read with suspicion, and slides are found by name and size."""

import json
import shutil

import pytest

from wsss_mm.errors import InputError
from wsss_mm.wsi.viewer.results import find_slides, read_results


def test_a_run_and_a_single_slide(run):
    _, folder = run
    names = [result.name for result in read_results(folder)]
    assert names == sorted(item.name for item in folder.iterdir() if item.is_dir())
    (result,) = read_results(folder / "first")
    assert (result.name, result.slide_file, result.slide_mpp, result.mpp) == ("first", "first.tiff", 0.5, 1.0)
    assert [item.code for item in result.classes] == ["TUM", "STR", "NOR"]
    assert sum(item.area_mm2 for item in result.classes) == pytest.approx(result.tissue_mm2, abs=1e-5)


def test_a_model_is_called_as_in_the_registry(run, tmp_path):
    shutil.copytree(run[1] / "first", tmp_path / "first")
    path = tmp_path / "first" / "summary.json"
    summary = json.loads(path.read_text())
    assert read_results(tmp_path)[0].model == summary["model"]["weights_md5"]
    summary["model"] |= {"name": "segmenter", "version": "3", "alias": "champion"}
    path.write_text(json.dumps(summary))
    assert read_results(tmp_path)[0].model == "segmenter version 3"


@pytest.mark.parametrize(
    "change",
    [
        {"mpp": "1; rm"},
        {"mpp": float("inf")},
        {"slide": None},
        {"classes": {}},
        {"size": [1]},
        {"size": [0, 5]},
        {"size": [1e999, 5]},
        {"model": {"weights_md5": "a", "classes": ["XXX"]}},
    ],
)
def test_a_bad_summary_is_named_and_left_out(run, tmp_path, caplog, change):
    shutil.copytree(run[1], tmp_path / "results")
    path = tmp_path / "results" / "first" / "summary.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    (result,) = read_results(tmp_path / "results")
    assert result.name != "first"
    assert "summary.json" in caplog.text


def test_a_link_that_leads_out_is_left_out(run, tmp_path, caplog):
    shutil.copytree(run[1], tmp_path / "results")
    (tmp_path / "secret.png").write_bytes(b"secret")
    overlay = tmp_path / "results" / "first" / "overlay.png"
    overlay.unlink()
    overlay.symlink_to("../../secret.png")
    (result,) = read_results(tmp_path / "results")
    assert result.name != "first"
    assert "overlay.png, or has links that lead out of it" in caplog.text


def test_nothing_to_show(tmp_path):
    with pytest.raises(InputError, match="no results"):
        read_results(tmp_path)


class TestFindSlides:
    def test_in_folders_below(self, run):
        scans, folder = run
        results = read_results(folder)
        assert find_slides(results, [scans.parent]) == {result.name: scans / result.slide_file for result in results}
        assert list(find_slides(results, [scans / "first.tiff"])) == ["first"]

    def test_another_file_of_that_name_is_not_the_slide(self, run, tmp_path):
        (tmp_path / "first.tiff").write_bytes(b"other")
        results = read_results(run[1])
        assert find_slides(results, [tmp_path]) == {}
        assert list(find_slides(results, [tmp_path, run[0] / "first.tiff"])) == ["first"]

    def test_a_name_with_a_folder_in_it_finds_nothing(self, run, tmp_path):
        shutil.copytree(run[1], tmp_path / "results")
        path = tmp_path / "results" / "first" / "summary.json"
        summary = json.loads(path.read_text())
        summary["slide"]["file"] = str(run[0] / "first.tiff")
        path.write_text(json.dumps(summary))
        assert "first" not in find_slides(read_results(tmp_path / "results"), [run[0]])

    def test_a_place_that_does_not_exist(self, run, tmp_path):
        with pytest.raises(InputError, match="--slide"):
            find_slides(read_results(run[1]), [tmp_path / "none"])
