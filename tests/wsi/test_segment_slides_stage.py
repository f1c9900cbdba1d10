"""The stage segments the cohort's slides; bad ones are named when the good ones are done."""

import json
import os
import shutil

import numpy as np
import pandas as pd
import pytest
import tifffile

from pipelines import segment_slides
from wsss_mm.errors import InputError
from wsss_mm.files import read_json
from wsss_mm.patches import VOCABULARIES
from wsss_mm.settings import Params, load_params
from wsss_mm.wsi import SlideModel


@pytest.fixture
def params(project_root) -> Params:
    params = load_params(project_root / "params.yaml")
    cohort = params.cohort.model_copy(update={"vocabulary": "luad_normal"})
    slides = params.slides.model_copy(update={"splits": ("test",), "window": 64})
    return params.model_copy(update={"cohort": cohort, "slides": slides, "threads": 1})


@pytest.fixture
def project(tmp_path, monkeypatch, predict):
    monkeypatch.chdir(tmp_path)
    model = SlideModel(predict, VOCABULARIES["luad_normal"].classes, 1.0, "a" * 32)
    monkeypatch.setattr(segment_slides.SlideModel, "from_folder", lambda *_, **__: model)
    for name in ("slides", "truth"):
        (tmp_path / "data/cohort" / name).mkdir(parents=True)
    return tmp_path


def _cohort(project, names, **columns):
    rows = [{"slide_id": name, "patient_id": name, "path": f"slides/{name}.tiff", "split": "test"} for name in names]
    pd.DataFrame(rows).assign(**columns).to_csv(project / "data/cohort/slides.csv", index=False)


def _write(project, name, image):
    path = project / f"data/cohort/slides/{name}.tiff"
    tifffile.imwrite(path, image, tile=(64, 64), photometric="rgb", compression="zlib", metadata=None)


def test_results_truth_and_table(project, params, tissue):
    _write(project, "a", tissue(200, 260))
    truth = np.zeros((200, 260), np.uint8)
    tifffile.imwrite(project / "data/cohort/truth/a.tif", truth)
    _cohort(project, ["a"], mpp=1.0)
    segment_slides.main(params)
    summary = read_json(project / "results/slides/a/summary.json")
    assert summary["slide"]["mpp"] == 1.0
    assert 0 < summary["truth"]["miou"] < 1
    table = pd.read_csv(project / "results/slides/slides.csv")
    assert table["slide_id"].tolist() == ["a"]
    assert table["miou"][0] == pytest.approx(summary["truth"]["miou"], abs=1e-6)
    areas = [summary["classes"][code]["area_mm2"] for code in ("TUM", "STR", "NOR")]
    assert table[[f"area_mm2.{code}" for code in ("TUM", "STR", "NOR")]].iloc[0].tolist() == pytest.approx(areas)


def test_bad_slides_do_not_take_good_ones_with_them(project, params, tissue):
    (project / "data/cohort/slides/bad.tiff").write_bytes(os.urandom(500))
    _write(project, "good", tissue(100, 100))
    _cohort(project, ["bad", "good", "missing"], mpp=1.0)
    with pytest.raises(InputError, match=r"2 of 3 slides failed.*bad\.tiff"):
        segment_slides.main(params)
    assert (project / "results/slides/good/summary.json").is_file()
    assert not (project / "results/slides/bad").exists()


def test_what_was_done_of_a_failed_run_is_not_done_again(project, params, tissue, monkeypatch):
    _write(project, "good", tissue(100, 100))
    _cohort(project, ["good", "late"], mpp=1.0)
    with pytest.raises(InputError, match="1 of 2 slides failed"):
        segment_slides.main(params)
    shutil.rmtree(project / "results")  # as DVC does before a run
    seen, predict = [], segment_slides.SlideModel.from_folder().predict

    def counting(images):
        seen.append(len(images))
        return predict(images)

    model = SlideModel(counting, VOCABULARIES["luad_normal"].classes, 1.0, "a" * 32)
    monkeypatch.setattr(segment_slides.SlideModel, "from_folder", lambda *_, **__: model)
    _write(project, "late", tissue(64, 64))
    segment_slides.main(params)
    assert 0 < sum(seen) <= 3 * 3  # of the late slide alone; the good one has more
    assert {path.name for path in (project / "results/slides").iterdir()} >= {"good", "late", "slides.csv"}
    assert not (project / "work_dirs/segment_slides").exists()


def test_region_of_interest_of_the_table(project, params):
    _write(project, "a", np.full((100, 120, 3), 90, np.uint8))
    ring = [[20, 10], [70, 10], [70, 60], [20, 60], [20, 10]]
    (project / "data/cohort/a.geojson").write_text(json.dumps({"type": "Polygon", "coordinates": [ring]}))
    _cohort(project, ["a"], mpp=1.0, roi="a.geojson")
    segment_slides.main(params)
    labels = tifffile.imread(project / "results/slides/a/segmentation.tif", key=0)
    assert (labels[10:60, 20:70] != 255).all()
    assert (labels != 255).sum() == 50 * 50


def test_slide_without_mpp_is_named(project, params, tissue):
    _write(project, "a", tissue(100, 100))
    _cohort(project, ["a"])
    with pytest.raises(InputError, match=r"a\.tiff: no mpp"):
        segment_slides.main(params)


def test_cohort_of_patches_has_nothing_to_segment(project, params):
    _cohort(project, ["a", "b"], path="")
    segment_slides.main(params)
    assert [path.name for path in (project / "results/slides").iterdir()] == ["NOTE.txt"]


def test_splits_of_no_slide_are_refused(project, params, tissue):
    _write(project, "a", tissue(100, 100))
    _cohort(project, ["a"], split="train", mpp=1.0)
    with pytest.raises(InputError, match=r"slides\.splits: test: .* has no slide of that; there are slides of train"):
        segment_slides.main(params)
    assert not (project / "results/slides").exists()


def test_model_of_another_vocabulary(project, params, tissue):
    _write(project, "a", tissue(100, 100))
    _cohort(project, ["a"], mpp=1.0)
    cohort = params.cohort.model_copy(update={"vocabulary": "lung"})
    with pytest.raises(InputError, match="models/segmenter"):
        segment_slides.main(params.model_copy(update={"cohort": cohort}))


def test_what_was_there_stays_until_all_slides_had_their_turn_and_then_goes(project, params, tissue, monkeypatch):
    for name in ("a", "b"):
        _write(project, name, tissue(64, 64))
    _cohort(project, ["a", "b"], mpp=1.0)
    segment_slides.main(params)
    out = project / "results/slides"
    before = {path: path.read_bytes() for path in out.rglob("*") if path.is_file()}
    assert "wsss-mm view results/slides" in (out / "index.html").read_text()

    _cohort(project, ["b"], mpp=1.0)
    other = params.cohort.model_copy(update={"vocabulary": "lung"})
    with pytest.raises(InputError, match="models/segmenter"):
        segment_slides.main(params.model_copy(update={"cohort": other}))
    with monkeypatch.context() as patch:
        patch.setattr(segment_slides, "segment_all", lambda *_: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            segment_slides.main(params)
    assert {path: path.read_bytes() for path in out.rglob("*") if path.is_file()} == before
    segment_slides.main(params)
    assert {path.name for path in out.iterdir()} == {"b", "index.html", "slides.csv"}
    assert [path.name for path in out.parent.iterdir()] == ["slides"]
