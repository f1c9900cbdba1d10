"""`wsss-mm segment`: good slides are finished, bad ones reported, and the exit code says so."""

import json
import os
import shutil

import pandas as pd
import pytest
import tifffile

from wsss_mm import tracking
from wsss_mm.cli.main import main
from wsss_mm.patches import VOCABULARIES
from wsss_mm.wsi import SlideModel, cluster


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


def test_the_table_keeps_the_slides_of_earlier_runs(slide, tmp_path, caplog):
    out, other = tmp_path / "out", slide.with_name("other.tiff")
    other.write_bytes(slide.read_bytes())

    def run(*slides):
        options = ["--out", str(out), "--mpp", "1.0", "--window", "64"]
        code = main(["--quiet", "segment", *map(str, slides), *options])
        return code, pd.read_csv(out / "slides.csv", dtype=str, keep_default_na=False).set_index("slide_id")

    code, alone = run(slide)
    assert code == 0
    code, both = run(other, tmp_path / "missing.svs")
    assert code == 1
    assert list(both["status"].items()) == [("good", "done"), ("other", "done"), ("missing", "failed")]
    assert both.loc["good"].to_dict() == alone.loc["good"].to_dict() == both.loc["other"].to_dict()
    shutil.rmtree(out / "good")
    assert sorted(run(other)[1].index) == ["missing", "other"]
    (out / "slides.csv").write_bytes(b"\xff\xfe,nothing")
    assert list(run(other)[1].index) == ["other"]
    assert "slides.csv: not a table of this version" in caplog.text


@pytest.mark.parametrize(("second", "told"), [("fp32", False), ("bf16", True)])
def test_slides_in_differing_precision_are_not_passed_over(slide, tmp_path, monkeypatch, caplog, second, told):
    outcomes = [_outcome(slide, "fp32"), _outcome(slide.with_name("other.tiff"), second)]
    monkeypatch.setattr(cluster, "segment_on_cluster", lambda *_: iter(outcomes))
    slides = [str(outcome.slide) for outcome in outcomes]
    assert main(["--quiet", "segment", *slides, "--out", str(tmp_path / "out"), "--ray", "auto"]) == 0
    assert ("differing precision (bf16, fp32)" in caplog.text) is told


def _outcome(slide, precision):
    figures = {"tissue_area_mm2": 1.0, "tumour_stroma_ratio": None, "unreadable_share": 0.0, "classes": {}}
    return cluster.Outcome(slide, figures | {"model": {"precision": precision}})


@pytest.mark.parametrize(
    ("options", "word"),
    [
        (["--overlap", "1"], "--overlap"),
        (["--batch-size", "0"], "--batch-size"),
        (["--window", "8"], "--window"),
        (["--mpp", "-1"], "--mpp"),
        (["--min-island", "-1"], "--min-island"),
        (["--min-hole", "-1"], "--min-hole"),
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


def test_a_registered_model_is_named_in_the_summary(slide, tmp_path, monkeypatch):
    registered = {"name": "segmenter", "version": "3", "alias": "champion"}
    fetched = []
    monkeypatch.setattr(tracking, "resolve_uri", lambda _: registered)
    monkeypatch.setattr(tracking, "download_model", lambda uri: fetched.append(uri) or tmp_path)
    command = ["--quiet", "segment", str(slide), "--out", str(tmp_path / "out"), "--mpp", "1.0", "--window", "64"]
    assert main([*command, "--model", "models:/segmenter@champion"]) == 0
    model = json.loads((tmp_path / "out" / "good" / "summary.json").read_text())["model"]
    assert model.items() >= (registered | {"weights_md5": "a" * 32}).items()
    assert fetched == ["models:/segmenter/3"], "the alias may have moved in between"


def test_a_cluster_is_given_all_that_one_machine_is(slide, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    given = []
    monkeypatch.setattr(cluster, "segment_on_cluster", lambda *arguments: given.append(arguments) or iter(()))
    command = ["--quiet", "segment", str(slide), "--ray", "auto", "--mpp", "0.5", "--roi", "drawn.geojson"]
    assert main([*command, "--window", "64", "--probabilities", "--ray-cpus", "3"]) == 0
    ((folders, model, address, demand, options),) = given
    assert (list(folders), str(model), address, demand.cpus) == ([slide], "models/segmenter", "auto", 3)
    wanted = {"mpp_override": 0.5, "roi": tmp_path / "drawn.geojson", "window": 64, "probabilities": True}
    assert options.items() >= (wanted | {"skip_done": True, "registered": {}}).items()
