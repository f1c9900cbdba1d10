"""`wsss-mm segment`: good slides are finished, bad ones reported, and the exit code says so."""

import os

import pytest
import tifffile

from wsss_mm.cli.main import main
from wsss_mm.patches import VOCABULARIES
from wsss_mm.wsi import SlideModel


@pytest.fixture
def slide(tmp_path, tissue):
    tifffile.imwrite(tmp_path / "good.tiff", tissue(100, 120), tile=(64, 64), photometric="rgb", metadata=None)
    return tmp_path / "good.tiff"


@pytest.fixture(autouse=True)
def model(monkeypatch, predict):
    loaded = SlideModel(predict, VOCABULARIES["luad_normal"].classes, 1.0, "a" * 32)
    monkeypatch.setattr(SlideModel, "from_folder", lambda *_, **__: loaded)


def test_one_bad_slide(slide, tmp_path, caplog):
    bad = tmp_path / "bad.svs"
    bad.write_bytes(os.urandom(300))
    out = tmp_path / "out"
    code = main(["--quiet", "segment", str(bad), str(slide), "--out", str(out), "--mpp", "1.0", "--window", "64"])
    assert code == 1
    assert (out / "good" / "summary.json").is_file()
    assert "good" in (out / "index.html").read_text()
    assert not (out / "bad").exists()
    assert "bad.svs" in caplog.text
    assert "1 of 2 slides failed" in caplog.text


def test_all_good_and_done_before(slide, tmp_path, predict, monkeypatch):
    arguments = ["--quiet", "segment", str(slide), "--out", str(tmp_path / "out"), "--mpp", "1.0", "--window", "64"]
    assert main(arguments) == 0
    overlay = tmp_path / "out" / "good" / "overlay.png"
    overlay.write_bytes(b"mark")
    assert main(arguments) == 0
    assert overlay.read_bytes() == b"mark"
    assert main([*arguments, "--force"]) == 0
    assert overlay.read_bytes() != b"mark"


@pytest.mark.parametrize(
    ("options", "word"),
    [
        (["--overlap", "1"], "--overlap"),
        (["--batch-size", "0"], "--batch-size"),
        (["--window", "8"], "--window"),
        (["--mpp", "-1"], "--mpp"),
        (["--min-island", "-1"], "--min-island"),
    ],
)
def test_wrong_options(slide, tmp_path, capsys, options, word):
    assert main(["segment", str(slide), "--out", str(tmp_path / "out"), *options]) == 2
    captured = capsys.readouterr()
    assert word in captured.err
    assert captured.err.count("\n") == 1
    assert not (tmp_path / "out").exists()


def test_slides_of_one_name_would_share_a_folder(slide, tmp_path, capsys):
    assert main(["segment", str(slide), str(tmp_path / "other" / "good.svs"), "--out", str(tmp_path / "out")]) == 2
    assert "good" in capsys.readouterr().err
