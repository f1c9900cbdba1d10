"""`wsss-mm segment`: good slides are finished, bad ones reported, and the exit code says so."""

import hashlib
import json
import os
import re
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import tifffile

from wsss_mm import tracking
from wsss_mm.cli.main import build_parser, main
from wsss_mm.cli.results_options import slides_of
from wsss_mm.errors import InputError
from wsss_mm.files import write_json
from wsss_mm.formats import numbered
from wsss_mm.patches import VOCABULARIES
from wsss_mm.places import MODEL
from wsss_mm.slide_parameters import Parameters
from wsss_mm.tables import read_table
from wsss_mm.tracking.lineage import dvc_digest
from wsss_mm.wsi import SlideModel, cluster, raster, segment_slide
from wsss_mm.wsi.job import Job, JobResult
from wsss_mm.wsi.viewer.results import read_all


@pytest.fixture
def slide(tmp_path, tissue):
    tifffile.imwrite(tmp_path / "good.tiff", tissue(100, 120), tile=(64, 64), photometric="rgb", metadata=None)
    return tmp_path / "good.tiff"


@pytest.fixture(autouse=True)
def model(monkeypatch, predict):
    loaded = SlideModel(predict, VOCABULARIES["luad_normal"].classes, 1.0, "a" * 32)
    monkeypatch.setattr(SlideModel, "from_folder", lambda *_, **__: loaded)
    return loaded


def test_the_network_runs_where_it_is_told(slide, tmp_path, monkeypatch, model, capsys):
    told = []
    monkeypatch.setattr(SlideModel, "from_folder", lambda folder, device=None, *_, **__: told.append(device) or model)
    arguments = ["--quiet", "segment", str(slide), "--out", str(tmp_path / "out"), "--mpp", "1.0", "--window", "64"]
    assert main(arguments) == main([*arguments, "--device", "cuda:1"]) == 0
    assert told == [None, "cuda:1"]
    assert main([*arguments, "--ray", "auto", "--device", "cpu"]) == 2
    assert "--device cpu: --ray-gpus says what a slide takes of a node; leave it out" in capsys.readouterr().err


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
    slides = [str(slide), str(slide.with_name("other.tiff"))]
    results = [_result("good", "fp32"), _result("other", second)]
    monkeypatch.setattr(cluster, "segment_on_cluster", lambda *_, **__: iter(results))
    assert main(["--quiet", "segment", *slides, "--out", str(tmp_path / "out"), "--ray", "auto"]) == 0
    assert ("differing precision (bf16, fp32)" in caplog.text) is told


def _result(slide_id, precision):
    figures = {"tissue_area_mm2": 1.0, "tumour_stroma_ratio": None, "unreadable_share": 0.0, "classes": {}}
    return JobResult(slide_id, figures | {"model": {"precision": precision}})


@pytest.mark.parametrize(
    ("options", "word"),
    [
        (["--overlap", "1"], "--overlap"),
        (["--batch-size", "0"], "--batch-size"),
        (["--window", "8"], "--window"),
        (["--mpp", "-1"], "--mpp"),
        (["--mpp", "0"], "--mpp"),
        (["--mpp", "0.01"], "--mpp"),
        (["--mpp", "21.2"], "--mpp"),
        (["--mpp", "250"], "--mpp"),
        (["--mpp", "nan"], "--mpp"),
        (["--force-mpp"], "--force-mpp"),
        (["--table", "slides.csv"], "slides.csv: no such table of slides"),
        (["--simplify-um", "-1"], "--simplify-um"),
        (["--min-island", "-1"], "--min-island"),
        (["--min-hole", "-1"], "--min-hole"),
        (["--min-hole", "nan"], "--min-hole"),
        (["--min-island", "inf"], "--min-island"),
        (["--overlap", "nan"], "--overlap"),
    ],
)
def test_wrong_options(slide, tmp_path, capsys, options, word):
    assert main(["segment", str(slide), "--out", str(tmp_path / "out"), *options]) == 2
    captured = capsys.readouterr()
    assert word in captured.err
    assert captured.err.count("\n") == 1
    assert not (tmp_path / "out").exists()


ROWS = """coarse: {loader: timm, architecture: x, stages: {a: [8, 4], b: [8, 32]}, licence: MIT, sizes: {fixed: 96}}
fine: {loader: timm, architecture: x, stages: {a: [8, 2], b: [8, 4]}, licence: MIT}
"""


@pytest.mark.parametrize(
    ("encoder", "options", "says"),
    [
        ("coarse", ["--window", "96", "--overlap", "0.75"], "--overlap: 0.75 moves windows of 96 px by 24 px, less than"
         " the 32 px"),
        ("coarse", ["--window", "64"], "--window: model is of encoder coarse, which takes images of 96 px alone, not of"
         " 64 px"),
        ("fine", ["--window", "64", "--overlap", "0.9"], None),
        ("nobody_knows", ["--window", "64", "--overlap", "0.9"], None),
        (None, ["--window", "64", "--overlap", "0.9"], "--overlap: 0.9 moves windows of 64 px by 6 px, less than"),
    ],
)  # fmt: skip
def test_windows_are_held_against_the_models_own_encoder(slide, tmp_path, monkeypatch, capsys, encoder, options, says):
    monkeypatch.chdir(tmp_path)
    Path("encoders.yaml").write_text(ROWS)
    Path("model").mkdir()
    said = {"model": {"backbone": {"type": "wsss_mm.ResNet38"}}} if encoder is None else {"encoder": encoder}
    write_json(Path("model/model.json"), numbered(said, MODEL))
    command = ["--quiet", "segment", str(slide), "--out", "out", "--mpp", "1", "--model", "model", *options]
    assert main(command) == (0 if says is None else 2)
    assert (says or "") in capsys.readouterr().err


@pytest.mark.parametrize("second", ["other/good.svs", "GOOD.svs"])
def test_slides_of_one_name_would_share_a_folder(slide, tmp_path, capsys, second):
    assert main(["segment", str(slide), str(tmp_path / second), "--out", str(tmp_path / "out")]) == 2
    assert f"{tmp_path / second}: would share a folder of results with {slide}" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


ODD_NAMES = [
    *(
        "...tiff",
        ".hidden.tiff",
        "a..tiff",
        "b .tiff",
        "index.html.tiff",
        "Slides.csv.tiff",
        "con.tiff",
        "a\\..\\b.tiff",
    ),
    *("=1+2.tiff", "+1.tiff", "-1.tiff", "@a.tiff", "\t=1.tiff", "a\nb.tiff", "\x1b[31m.tiff", "<b>.tiff"),
    *("M\udcfcller.tiff", "\u738b" * 80 + ".tiff", "x" * 250 + ".tiff", "Mu\u0308ller.tiff"),
]


@pytest.mark.parametrize("name", ODD_NAMES)
def test_a_slide_of_any_name_has_its_folder_and_its_row(slide, tmp_path, caplog, name):
    slide.rename(slide.with_name(name))
    good = slide.with_name("good.tiff")
    shutil.copy(slide.with_name(name), good)
    out = tmp_path / "results" / "out"
    command = ["segment", str(slide.with_name(name)), str(good), "--out", str(out), "--mpp", "1.0", "--window", "64"]
    assert main(["--quiet", *command]) == 0
    assert list((tmp_path / "results").iterdir()) == [out]
    (folder,) = {item.name for item in out.iterdir() if item.is_dir()} - {"good"}
    assert {item.name for item in out.iterdir() if not item.is_dir()} == {"slides.csv", "index.html"}
    rows = read_table(out / "slides.csv", absent="", remedy="")
    assert list(rows["slide_id"]) == [folder, "good"]
    assert not rows.map(lambda cell: cell.startswith(("=", "+", "-", "@", "\t"))).any(axis=None)
    summary = json.loads((out / folder / "summary.json").read_text())
    assert summary["slide"]["file"].isprintable()
    caplog.clear()
    assert main(["--quiet", *command]) == 0
    assert rows.equals(read_table(out / "slides.csv", absent="", remedy=""))


def test_an_error_is_no_formula(slide, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert main(["--quiet", "segment", "=1+2.tiff", "M\udcfcller.tiff", "--out", "out"]) == 1
    rows = read_table(tmp_path / "out/slides.csv", absent="", remedy="")
    assert rows["error"].iloc[0].startswith("'=1+2.tiff: no such slide file")
    assert rows["error"].iloc[1].startswith("M\\udcfcller.tiff: no such slide file")


def test_folders_are_no_slides_and_stop_none(slide, tmp_path, monkeypatch, caplog):
    monkeypatch.chdir(tmp_path)
    for name in ("S1", "scans", "good"):
        (tmp_path / name).mkdir()
    (tmp_path / "S1.mrxs").write_bytes(b"no slide")
    options = ["--out", "out", "--mpp", "1.0", "--window", "64"]
    long = "x" * 300
    assert main(["--quiet", "segment", "S1", "scans", "good", long, "good.tiff", ".", *options]) == 1
    rows = read_table(tmp_path / "out/slides.csv", absent="", remedy="").set_index("slide_id")
    assert rows.loc["good", "status"] == "done"
    assert rows.loc["S1/", "error"] == "S1: is a folder, not a slide; name the slide: S1.mrxs"
    assert rows.loc["scans/", "error"] == "scans: is a folder, not a slide; name the files in it: scans/*.svs"
    assert (rows["status"] == "failed").sum() == 5
    assert main(["--quiet", "segment", "S1", "S1.mrxs", "--out", "mirax"]) == 1
    rows = read_table(tmp_path / "mirax/slides.csv", absent="", remedy="")
    assert list(rows["slide_id"]) == ["S1"]
    assert main(["--quiet", "segment", "scans", "--out", "none"]) == 1


def test_the_viewer_knows_where_slides_lay(slide, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert main(["--quiet", "segment", "good.tiff", "--mpp", "1.0", "--window", "64"]) == 0
    results = read_all(build_parser().parse_args(["view"]).results)
    assert slides_of(results, []) == {"good": slide}


def test_a_slide_that_is_named_twice_counts_once(slide, tmp_path):
    (tmp_path / "other").mkdir()
    (tmp_path / "other/good.tiff").symlink_to(slide)
    twice = [str(slide), str(tmp_path / "other/../good.tiff"), str(tmp_path / "other/good.tiff")]
    assert main(["--quiet", "segment", *twice, "--out", str(tmp_path / "out"), "--mpp", "1", "--window", "64"]) == 0
    assert len(read_table(tmp_path / "out/slides.csv", absent="", remedy="")) == 1


def test_a_registered_model_is_named_in_the_summary(slide, tmp_path, monkeypatch):
    registered = {"name": "segmenter", "version": "3", "alias": "champion"}
    fetched = []
    monkeypatch.setattr(tracking, "resolve_uri", lambda _: registered)
    monkeypatch.setattr("wsss_mm.tracking.registry.registered_digest", lambda uri: None)
    monkeypatch.setattr(tracking, "download_model", lambda uri: fetched.append(uri) or tmp_path)
    command = ["--quiet", "segment", str(slide), "--out", str(tmp_path / "out"), "--mpp", "1.0", "--window", "64"]
    assert main([*command, "--model", "models:/segmenter@champion"]) == 0
    model = json.loads((tmp_path / "out" / "good" / "summary.json").read_text())["model"]
    assert model.items() >= (registered | {"weights_md5": "a" * 32}).items()
    assert fetched == ["models:/segmenter/3"], "the alias may have moved in between"


def test_the_same_weights_with_another_description_are_another_model(slide, tmp_path, monkeypatch, predict):
    command = ["--quiet", "segment", str(slide), "--out", str(tmp_path / "out"), "--mpp", "1.0", "--window", "64"]
    for digest in ("b" * 64, "c" * 64):
        other = SlideModel(predict, VOCABULARIES["luad_normal"].classes, 1.0, "a" * 32, digest=digest)
        monkeypatch.setattr(SlideModel, "from_folder", lambda *_, found=other, **__: found)
        assert main(command) == 0
        assert json.loads((tmp_path / "out/good/summary.json").read_text())["model"]["digest"] == digest


def test_a_cluster_is_given_all_that_one_machine_is(slide, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    given = []
    monkeypatch.setattr(cluster, "segment_on_cluster", lambda *given_, **more: given.append((given_, more)) or iter(()))
    command = ["--quiet", "segment", str(slide), "--ray", "auto", "--mpp", "0.5", "--roi", "drawn.geojson"]
    assert main([*command, "--window", "64", "--probabilities", "--ray-cpus", "3"]) == 0
    (((jobs, model, address, demand, parameters), more),) = given
    assert (str(model), address, demand.cpus) == ("models/segmenter", "auto", 3)
    assert jobs == [Job("good", slide, Path("results/good"), 0.5, Path("drawn.geojson"), force_mpp=False)]
    assert parameters == Parameters(window=64, probabilities=True)
    assert more == {"registered": {}, "skip_done": True, "digest": None}


class TestWhatTheModelWasValidatedWith:
    """It counts where nobody says otherwise, and is said."""

    CARRIED = Parameters(window=96, overlap=0.25, weighting="uniform", min_hole=0.0).carried()

    @pytest.fixture
    def folder(self, tmp_path, monkeypatch):
        monkeypatch.chdir(tmp_path)
        folder = tmp_path / "model"
        folder.mkdir()
        (folder / "weights.pth").write_bytes(b"weights")
        return folder

    def _segmented(self, folder, slide, *options):
        command = ["segment", str(slide), "--mpp", "1", "--out", "out", "--force", "--model", str(folder), *options]
        assert main(command) == 0
        return json.loads(Path("out/good/summary.json").read_text())["parameters"]

    def test_is_taken_from_its_description_unless_told(self, folder, slide, caplog):
        caplog.set_level("INFO")
        (folder / "model.json").write_text(json.dumps({"validated": self.CARRIED}))
        defaults = Parameters().recorded()
        assert self._segmented(folder, slide) == defaults | self.CARRIED
        assert "model: validated with window 96, overlap 0.25, weighting uniform, background_grey 210" in caplog.text
        told = self._segmented(folder, slide, "--window", "64", "--no-tissue-mask", "--min-island", "3")
        assert told == defaults | self.CARRIED | {"window": 64, "tissue_mask": False, "min_island": 3}

    def test_of_the_lines_own_is_what_register_left(self, folder, slide, caplog):
        caplog.set_level("INFO")
        (folder / "model.json").write_text("{}")
        assert self._segmented(folder, slide) == Parameters().recorded()
        assert "model: does not say what it was validated with; defaults are taken: window 224" in caplog.text
        md5 = hashlib.md5(b"weights", usedforsecurity=False).hexdigest()
        for weights, expected in ((md5, self.CARRIED), ("f" * 32, {})):
            write_json("reports/registered.json", {"weights_md5": weights, "validated": self.CARRIED})
            assert self._segmented(folder, slide) == Parameters().recorded() | expected

    @pytest.mark.parametrize(
        ("validated", "says"),
        [
            ({"window": 0}, r"validated\.window: must be at least 32"),
            ({"overlap": 1}, r"validated\.overlap: must be at least 0 and below 1"),
            ({"weighting": "none"}, r"validated\.weighting: must be one of uniform, gaussian, linear"),
            ({"window": True}, r"validated\.window: must be a whole number"),
            ({"tissue_mask": 1}, r"validated\.tissue_mask: must be true or false"),
            ({"foo": 1}, r"validated\.foo: is no parameter"),
            ([], "validated is no section"),
        ],
    )
    def test_is_read_with_suspicion(self, folder, slide, capsys, validated, says):
        (folder / "model.json").write_text(json.dumps({"validated": validated}))
        assert main(["segment", str(slide), "--mpp", "1", "--out", "out", "--model", str(folder)]) == 2
        told = capsys.readouterr().err
        assert re.search(says, told)
        assert told.count("\n") == 1
        assert not Path("out").exists()


class TestResolution:
    @pytest.fixture
    def stated(self, tmp_path, tissue):
        """A slide that says 1 um/px itself."""
        options = {"tile": (64, 64), "photometric": "rgb", "metadata": None}
        path = tmp_path / "stated.tiff"
        tifffile.imwrite(path, tissue(100, 120), resolution=(1e4, 1e4), resolutionunit=3, **options)
        return path

    def test_that_for_slides_that_say_nothing_refuses_those_that_say_otherwise(self, slide, stated, tmp_path, caplog):
        out = tmp_path / "out"
        command = ["--quiet", "segment", str(slide), str(stated), "--out", str(out), "--window", "64"]
        assert main([*command, "--mpp", "0.5"]) == 1
        assert _mpp(out / "good") == 0.5
        assert not (out / "stated").exists()
        assert "stated.tiff: says 1 um/px itself, and --mpp 0.5 is for slides that do not" in caplog.text
        assert main([*command, "--mpp", "0.5", "--force-mpp"]) == 0
        assert _mpp(out / "stated") == 0.5
        assert main([*command, "--mpp", "1.01"]) == 0

    def test_a_table_gives_each_slide_its_own(self, slide, stated, tmp_path, caplog):
        square = {"type": "Polygon", "coordinates": [[[0, 0], [60, 0], [60, 50], [0, 50], [0, 0]]]}
        (tmp_path / "roi.geojson").write_text(json.dumps(square))
        (tmp_path / "slides.csv").write_text(
            "slide_id,path,mpp,roi,who\na,good.tiff,0.5,,x\nb,stated.tiff,,roi.geojson,y\nc,stated.tiff,0.5,,\n"
            "d,none.tiff,1,,\n"
        )
        out = tmp_path / "out"
        command = ["--quiet", "segment", "--table", str(tmp_path / "slides.csv"), "--out", str(out), "--window", "64"]
        assert main(command) == 1
        assert [_mpp(out / name) for name in "abc"] == [0.5, 1.0, 0.5]
        assert json.loads((out / "b/summary.json").read_text())["roi"]["file"] == "roi.geojson"
        table = pd.read_csv(out / "slides.csv", keep_default_na=False)
        assert list(table["status"]) == ["done", "done", "done", "failed"]
        assert "none.tiff: no such slide file" in table["error"][3]
        (told,) = (record.message for record in caplog.records if "column mpp" in record.message)
        assert "line 4 (c): column mpp says 0.5 um/px, the file 1; the table counts" in told

    def test_each_slide_of_a_table_has_its_own_region(self, slide, stated, tmp_path, caplog, capsys):
        for name, right in (("left", 60), ("narrow", 30)):
            ring = [[0, 0], [right, 0], [right, 100], [0, 100], [0, 0]]
            (tmp_path / f"{name}.geojson").write_text(json.dumps({"type": "Polygon", "coordinates": [ring]}))
        other = stated.with_name("other.tiff")
        other.write_bytes(stated.read_bytes())
        table = tmp_path / "slides.csv"
        text = "slide_id,path,mpp,roi\na,good.tiff,1,left.geojson\nb,stated.tiff,,narrow.geojson\nc,other.tiff,,\n"
        table.write_text(text + "d,other.tiff,,none.geojson\n")

        def run(*slides):
            command = [*map(str, slides), "--table", str(table), "--out", str(tmp_path / "out"), "--window", "64"]
            return main(["--quiet", "segment", *command])

        def columns(name):
            """Where the map has tissue, from left to right."""
            labels = tifffile.imread(tmp_path / "out" / name / "segmentation.tif", key=0)
            return np.flatnonzero((labels != 255).any(axis=0)) + 1

        assert run() == 1, "d has a region that is not there"
        assert [columns(name).max() for name in "abc"] == [60, 30, 120]
        assert "none.geojson: " in pd.read_csv(tmp_path / "out/slides.csv", keep_default_na=False)["error"][3]
        table.write_text(text.replace("c,other.tiff,,", "c,other.tiff,,left.geojson"))
        assert run() == 0
        assert columns("c").max() == 60, "what was done without a region is done again"
        shutil.rmtree(tmp_path / "out")
        assert run(other, slide) == 0, "slides that are named are looked up in the table"
        assert sorted(path.name for path in (tmp_path / "out").iterdir() if path.is_dir()) == ["a", "c"]
        assert [columns(name).max() for name in "ac"] == [60, 60]
        table.write_text("slide_id,path\na,good.tiff\n")
        assert run(other, slide) == 2
        assert f"{other}: {table} has no row of this slide" in capsys.readouterr().err
        assert not caplog.messages or "region of interest" not in caplog.text

    def test_regions_of_a_table_that_is_not_named_are_told_of(self, slide, stated, tmp_path, caplog):
        square = {"type": "Polygon", "coordinates": [[[0, 0], [60, 0], [60, 50], [0, 50], [0, 0]]]}
        (tmp_path / "roi.geojson").write_text(json.dumps(square))
        (tmp_path / "slides.csv").write_text("slide_id,path,mpp,roi\na,good.tiff,1,\nb,stated.tiff,,roi.geojson\n")
        command = ["--out", str(tmp_path / "out"), "--window", "64", "--mpp", "1"]
        assert main(["--quiet", "segment", str(slide), str(stated), *command]) == 0
        assert "slides.csv: has a region of interest for 1 of these slides, the first stated.tiff" in caplog.text
        caplog.clear()
        assert main(["--quiet", "segment", str(slide), *command]) == 0
        (tmp_path / "slides.csv").write_bytes(b"\xff\xfe,nothing")
        assert main(["--quiet", "segment", str(stated), *command]) == 0
        assert "region of interest" not in caplog.text

    def test_rows_of_a_table_that_name_no_slide_or_share_a_folder(self, stated, tmp_path, capsys):
        command = [
            "--quiet",
            "segment",
            "--table",
            str(tmp_path / "t.csv"),
            "--out",
            str(tmp_path / "o"),
            "--window",
            "64",
        ]
        (tmp_path / "t.csv").write_text("slide_id,path\na,\nb,stated.tiff\n")
        assert main(command) == 1
        table = pd.read_csv(tmp_path / "o/slides.csv", keep_default_na=False)
        assert list(table["status"]) == ["failed", "done"]
        assert "t.csv: line 2 (a): path is empty; name the slide's file" in table["error"][0]
        (tmp_path / "t.csv").write_text("slide_id,path\nB,stated.tiff\nb,stated.tiff\n")
        assert main(command) == 2
        assert "slides 'B' and 'b' differ only in case" in capsys.readouterr().err

    def test_a_region_in_other_units_is_told_of(self, stated, tmp_path, caplog):
        square = {"type": "Polygon", "coordinates": [[[0.02, 0.02], [0.06, 0.02], [0.06, 0.05], [0.02, 0.05]]]}
        (tmp_path / "roi.geojson").write_text(json.dumps(square))
        command = ["--quiet", "segment", str(stated), "--out", str(tmp_path / "o"), "--window", "64"]
        assert main([*command, "--roi", str(tmp_path / "roi.geojson")]) == 0
        assert "what it outlines on stated.tiff is 0.0012 um2, less than a cell; are its" in caplog.text

    @pytest.mark.parametrize(("text", "mpp"), [("0.5", 0.5), ("0,5", 0.5), (" 5e-1", 0.5)])
    def test_numbers_as_people_write_them(self, slide, tmp_path, text, mpp):
        out = str(tmp_path / "o")
        assert main(["--quiet", "segment", str(slide), "--out", out, "--window", "64", "--mpp", text]) == 0
        assert _mpp(tmp_path / "o/good") == mpp

    @pytest.mark.parametrize(
        ("option", "text"), [("--mpp", "0_2"), ("--mpp", "0.25um"), ("--min-hole", "1,0,0"), ("--overlap", "")]
    )
    def test_what_is_no_number(self, slide, capsys, option, text):
        with pytest.raises(SystemExit):
            main(["segment", str(slide), option, text])
        assert f"argument {option}: '{text}' is no number" in capsys.readouterr().err

    @pytest.mark.parametrize("place", ["file", "file/below"])
    def test_results_need_a_folder_before_anything_is_computed(self, slide, tmp_path, capsys, place):
        (tmp_path / "file").touch()
        assert main(["segment", str(slide), "--mpp", "1", "--out", str(tmp_path / place)]) == 2
        assert "file is no folder; name another place" in capsys.readouterr().err

    def test_a_table_has_columns_of_its_own_for_that(self, tmp_path, capsys):
        for option in (["--mpp", "1"], ["--roi", "a.geojson"]):
            assert main(["segment", "--table", str(tmp_path / "slides.csv"), *option]) == 2
            assert f"{option[0]}: belongs into column" in capsys.readouterr().err
        assert main(["segment"]) == 2
        assert "name slides, or a table" in capsys.readouterr().err

    @pytest.mark.parametrize(("limit", "most"), [("_MAX_SIDE", 400), ("_MAX_PIXELS", 150_000)])
    def test_a_map_larger_than_any_slide_is_not_begun(self, slide, tmp_path, caplog, monkeypatch, limit, most):
        monkeypatch.setattr(raster, limit, most)
        out = tmp_path / "out"
        command = ["--quiet", "segment", str(slide), "--out", str(out), "--window", "64", "--mpp"]
        assert main([*command, "4"]) == 1
        assert "good.tiff: at 4 um/px it is 0 x 0 mm, and its map would have 480 x 400 px" in caplog.text
        assert not (out / "good").exists()
        assert main([*command, "1"]) == 0

    @pytest.mark.parametrize("mpp", [0.01, 10.6, 250])
    def test_a_resolution_that_no_slide_has_is_refused_by_whoever_gives_it(self, slide, tmp_path, mpp):
        with pytest.raises(InputError, match=rf"good\.tiff: no slide has {mpp} um/px; give its mpp, 0\.1 to 4"):
            segment_slide(slide, SlideModel.from_folder(""), tmp_path / "out", mpp_override=mpp)
        assert not (tmp_path / "out").exists()


def _mpp(folder):
    return json.loads((folder / "summary.json").read_text())["slide"]["mpp"]


def test_a_model_of_the_line_that_is_another_than_dvc_made_is_said(slide, tmp_path, monkeypatch, caplog):
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "models/segmenter"
    folder.mkdir(parents=True)
    (folder / "model.json").write_text("{}")
    lock = {"stages": {"train_segmenter": {"outs": [{"path": "models/segmenter", "md5": dvc_digest(folder)}]}}}
    (tmp_path / "dvc.lock").write_text(json.dumps(lock))
    arguments = ["segment", str(slide), "--mpp", "1.0", "--window", "64"]
    assert main([*arguments, "--out", "a"]) == 0
    assert "dvc.lock" not in caplog.text
    (folder / "model.json").write_text("{ }")
    for model in ("models/segmenter", str(folder), "models/segmenter/"):
        caplog.clear()
        assert main([*arguments, "--out", "b", "--model", model]) == 0
        assert "models/segmenter: is not the model that dvc.lock names" in caplog.text
    (tmp_path / "dvc.lock").write_text("<<<<<<< ours")
    assert main([*arguments, "--out", "c"]) == 0
