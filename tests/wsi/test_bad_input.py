"""What is no slide, or half a one, is named in one line; nothing looks finished that is not."""

import os
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
import tifffile

from wsss_mm.cli.main import main
from wsss_mm.errors import InputError
from wsss_mm.patches import IGNORE, VOCABULARIES
from wsss_mm.wsi import SlideModel, mapping, segment_slide
from wsss_mm.wsi.segment import segment

OPTIONS = {"mpp_override": 1.0, "window": 64, "min_island": 0, "progress": False}


@pytest.fixture
def model(predict):
    return SlideModel(predict, VOCABULARIES["luad_normal"].classes, 1.0, "a" * 32)


@pytest.fixture
def slide(tmp_path, tissue):
    """A tiled JPEG slide, its directory in front of the tiles."""
    path = tmp_path / "good.tiff"
    image = np.full((768, 768, 3), (150, 70, 120), np.uint8)
    image[::7] = 100
    tifffile.imwrite(path, image, tile=(256, 256), photometric="ycbcr", compression="jpeg", metadata=None)
    return path


def _refused(path, model, out, match):
    with pytest.raises(InputError, match=match) as caught:
        segment_slide(path, model, out, **OPTIONS)
    assert "\n" not in str(caught.value)
    assert not out.exists()


def test_random_bytes(model, tmp_path):
    (tmp_path / "a.svs").write_bytes(os.urandom(5000))
    _refused(tmp_path / "a.svs", model, tmp_path / "out", r"a\.svs: not a readable slide")


def test_zero_bytes(model, tmp_path):
    (tmp_path / "a.svs").touch()
    _refused(tmp_path / "a.svs", model, tmp_path / "out", r"a\.svs: not a readable slide")


def test_a_tiff_that_is_no_slide(model, tmp_path):
    tifffile.imwrite(tmp_path / "a.tif", np.zeros((64, 64), np.float32))
    _refused(tmp_path / "a.tif", model, tmp_path / "out", r"a\.tif: not a readable slide")


def test_a_folder(model, tmp_path):
    (tmp_path / "a.svs").mkdir()
    _refused(tmp_path / "a.svs", model, tmp_path / "out", r"a\.svs: no such slide file")


def test_truncated(slide, model, tmp_path):
    """Cut in the first tile: the directory is whole, so the slide opens, but nothing can be decoded."""
    with tifffile.TiffFile(slide) as tiff:
        first = min(tiff.pages[0].dataoffsets)
    with slide.open("r+b") as stream:
        stream.truncate(first + 100)
    _refused(
        slide,
        model,
        tmp_path / "out",
        r"good\.tiff: (100% of what is needed of it cannot be decoded|not a readable slide)",
    )


def test_unreadable_tiles_are_counted_and_background(slide, model, tmp_path):
    whole = segment_slide(slide, model, tmp_path / "whole", **OPTIONS)
    assert whole["unreadable_share"] == 0
    with tifffile.TiffFile(slide) as tiff:
        offset, count = tiff.pages[0].dataoffsets[4], tiff.pages[0].databytecounts[4]  # the tile in the middle
    with slide.open("r+b") as stream:
        stream.seek(offset)
        stream.write(os.urandom(count))
    summary = segment_slide(slide, model, tmp_path / "out", **OPTIONS)
    labels = tifffile.imread(tmp_path / "out/segmentation.tif", key=0)
    assert (labels[256:512, 256:512] == IGNORE).all()
    assert (labels[:200, :200] != IGNORE).all()
    assert 1 / 9 <= summary["unreadable_share"] < 0.5
    assert summary["unreadable_share"] == pytest.approx((labels == IGNORE).mean(), abs=1e-6)


def test_a_full_disk_while_rows_are_written(slide, model, tmp_path, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(mapping.RawMap, "write", full)
    _refused(slide, model, tmp_path / "out", r"out: the disk is full; free some space")


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() != 0, reason="mounting needs root")
def test_a_disk_that_is_full(slide, model, tmp_path):
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = shutil.which("mount")
    if mount is None or subprocess.run([mount, "-t", "tmpfs", "-o", "size=256k", "t", disk], check=False).returncode:
        pytest.skip("no tmpfs can be mounted here")
    try:
        _refused(slide, model, disk / "out", r"out: the disk is full; free some space")
        assert list(disk.iterdir()) == []
    finally:
        subprocess.run(["umount", disk], check=True)


def test_the_table_says_what_became_of_each(slide, model, tmp_path, monkeypatch):
    import pandas as pd

    monkeypatch.setattr(SlideModel, "from_folder", lambda *_, **__: model)
    (tmp_path / "bad.svs").touch()
    out = tmp_path / "out"
    paths = [str(tmp_path / "bad.svs"), str(slide)]
    options = ["--out", str(out), "--mpp", "1", "--window", "64", "--no-leave-out-pen"]
    assert main(["--quiet", "segment", *paths, *options]) == 1
    table = pd.read_csv(out / "slides.csv").set_index("slide_id")
    assert table["status"].to_dict() == {"bad": "failed", "good": "done"}
    assert "bad.svs: not a readable slide" in table["error"]["bad"]
    assert pd.isna(table["error"]["good"])
    shares = table.loc["good", ["share.TUM", "share.STR", "share.NOR"]].astype(float)
    assert shares.sum() == pytest.approx(1, abs=1e-5)
    areas = table.loc["good", ["area_mm2.TUM", "area_mm2.STR", "area_mm2.NOR"]].astype(float)
    assert areas.sum() == pytest.approx(table["tissue_area_mm2"]["good"], abs=1e-5)
    assert Path(out / "good" / "summary.json").is_file()


def test_a_defect_takes_no_good_slide_with_it(slide, model, tmp_path, monkeypatch):
    def sometimes(job, *rest, **options):
        if job.path.name == "odd.tiff":
            raise ZeroDivisionError("odd")
        return segment(job, *rest, **options)

    monkeypatch.setattr(SlideModel, "from_folder", lambda *_, **__: model)
    monkeypatch.setattr("wsss_mm.wsi.segment.segment", sometimes)
    odd = tmp_path / "odd.tiff"
    odd.touch()
    arguments = ["--out", str(tmp_path / "out"), "--mpp", "1", "--window", "64"]
    assert main(["--quiet", "segment", str(odd), str(slide), *arguments]) == 1
    assert (tmp_path / "out/good/summary.json").is_file()
    assert "odd,failed" in (tmp_path / "out/slides.csv").read_text()
