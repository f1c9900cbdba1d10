"""Results are read with suspicion, and slides are found by name and size."""

import json
import shutil

import pytest
import tifffile

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
        {"size": [10**400, 5]},
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


def test_a_folder_that_leads_out_is_left_out(run, tmp_path, caplog):
    shutil.copytree(run[1], tmp_path / "results")
    shutil.copytree(run[1] / "first", tmp_path / "other")
    (tmp_path / "results/linked").symlink_to("../other")
    (tmp_path / "results/within").symlink_to("first")
    assert "linked" not in {result.folder.name for result in read_results(tmp_path / "results")}
    assert "linked: is a link that leads out of" in caplog.text


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

    def test_another_slide_of_that_name_and_size_is_not_the_slide(self, run, tmp_path, caplog):
        other = _other_picture(run[0] / "first.tiff", tmp_path)
        results = read_results(run[1] / "first")
        assert find_slides(results, [tmp_path]) == {}
        assert f"first: {other} is not its slide" in caplog.text
        assert find_slides(results, [tmp_path, run[0]]) == {"first": run[0] / "first.tiff"}
        assert find_slides(results, [other, run[0]]) == {"first": run[0] / "first.tiff"}
        unread = tmp_path / "unread" / "first.tiff"
        unread.parent.mkdir()
        unread.write_bytes(bytes(other.stat().st_size))
        assert find_slides(results, [unread]) == {}

    def test_without_a_quickhash_the_name_must_fit_one_file(self, run, tmp_path, caplog):
        shutil.copytree(run[1] / "first", tmp_path / "results" / "first")
        path = tmp_path / "results" / "first" / "summary.json"
        summary = json.loads(path.read_text())
        del summary["slide"]["quickhash"]
        path.write_text(json.dumps(summary))
        results, slide = read_results(tmp_path / "results"), run[0] / "first.tiff"
        (tmp_path / "scans").mkdir()
        other = _other_picture(slide, tmp_path / "scans")
        (tmp_path / "scans" / "link").mkdir()
        (tmp_path / "scans" / "link" / "first.tiff").symlink_to(other)
        assert find_slides(results, [run[0]]) == {"first": slide}
        assert set(find_slides(results, [tmp_path / "scans"])) == {"first"}
        assert not caplog.text
        assert find_slides(results, [run[0], tmp_path / "scans"]) == {}
        assert "could both be its slide" in caplog.text
        assert find_slides(results, [tmp_path / "scans", slide]) == {"first": slide}

    def test_letters_composed_in_another_way_are_the_same_name(self, run, tmp_path):
        shutil.copytree(run[1] / "first", tmp_path / "results" / "first")
        path = tmp_path / "results" / "first" / "summary.json"
        path.write_text(path.read_text().replace("first.tiff", "f\u00fcrst.tiff"))
        shutil.copy(run[0] / "first.tiff", tmp_path / "fu\u0308rst.tiff")
        assert list(find_slides(read_results(tmp_path / "results"), [tmp_path])) == ["first"]

    def test_a_place_that_does_not_exist(self, run, tmp_path):
        with pytest.raises(InputError, match="--slide"):
            find_slides(read_results(run[1]), [tmp_path / "none"])


def _other_picture(slide, folder):
    """A slide that differs in its pixels alone."""
    path = folder / slide.name
    image, packed = 255 - tifffile.imread(slide), {"compression": "zlib", "compressionargs": {"level": 9}}
    tifffile.imwrite(path, image, tile=(64, 64), photometric="rgb", metadata=None, **packed)
    path.write_bytes(path.read_bytes().ljust(slide.stat().st_size, b"\0"))
    assert path.stat().st_size == slide.stat().st_size
    return path
