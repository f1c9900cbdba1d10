"""The stages segment and export the cohort's slides; bad ones are named when the good ones are done."""

import json
import os
import pickle
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import tifffile

from pipelines import export_slides, segment_slides
from tests import warm
from tests.nodes import ray
from tests.settings import content_of, write_settings
from wsss_mm.errors import InputError
from wsss_mm.files import read_json
from wsss_mm.patches import VOCABULARIES
from wsss_mm.settings import Params, load_params, load_profile
from wsss_mm.slide_parameters import Parameters
from wsss_mm.wsi import SlideModel, mapping, segment_slide
from wsss_mm.wsi.mapping import computed

__all__ = ["ray"]


@pytest.fixture
def params() -> Params:
    params = load_profile("phantom")
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


def _line(params):
    segment_slides.main(params)
    export_slides.main(params)


def _far(request):
    """A cluster is named, which everything travels to and from."""
    cluster = request.getfixturevalue("ray")
    cluster.travel = lambda value: pickle.loads(pickle.dumps(value))
    return cluster


def test_maps_of_a_cluster_are_those_of_one_machine(request, project, params, tissue, monkeypatch):
    """Also of a slide whose node dies; what is wrong with one is said in the same words, and it alone is done again."""
    for seed, name in enumerate("abd"):
        _write(project, name, tissue(200, 260, seed))
    (project / "data/cohort/slides/c.tiff").write_bytes(b"no slide" * 99)
    _cohort(project, "abcd", mpp=1.0)
    with pytest.raises(InputError, match=r"^1 of 4 slides failed, the first: .*c\.tiff") as alone:
        segment_slides.main(params)
    before = _files(project / "data/maps")
    shutil.rmtree(project / "data/maps")
    shutil.rmtree(project / "work_dirs/segment_slides")

    cluster = _far(request)
    cluster.dies = lambda job: job.slide_id == "b"
    with pytest.raises(InputError, match=r"^2 of 4 slides failed, the first: .*b\.tiff: its node or process died too"):
        segment_slides.main(params)
    assert {path.parts[0] for path in _files(project / "data/maps")} == {"a", "d"}
    cluster.dies = lambda _: False
    done = []

    def noted(work, job, *rest, **how):
        done.append(job.slide_id)
        return computed(work, job, *rest, **how)

    monkeypatch.setattr(mapping, "computed", noted)
    with pytest.raises(InputError) as far:
        segment_slides.main(params)
    assert str(far.value) == str(alone.value)
    assert _files(project / "data/maps") == before
    assert done == ["b"]
    asked = [tuple(given[name] for name in ("name", "num_cpus", "num_gpus")) for given in cluster.options]
    assert asked == [("segment slides", 1, 0)] * 2


def test_exports_of_a_cluster_are_those_of_one_machine(request, project, params, tissue):
    """Of four slides, one of which fails."""
    for seed, name in enumerate("abcd"):
        _write(project, name, tissue(200, 260, seed))
    tifffile.imwrite(project / "data/cohort/truth/b.tif", np.zeros((200, 260), np.uint8))
    _cohort(project, "abcd", mpp=1.0)
    segment_slides.main(params)
    shutil.rmtree(project / "data/maps/c")
    with pytest.raises(InputError) as alone:
        export_slides.main(params)
    before = _files(project / "results")
    shutil.rmtree(project / "results")
    shutil.rmtree(project / "work_dirs/export_slides")
    cluster = _far(request)
    with pytest.raises(InputError) as far:
        export_slides.main(params)
    assert str(far.value) == str(alone.value)
    assert _files(project / "results") == before
    assert [given["name"] for given in cluster.options] == ["export slides"]


def _changed(params, **values):
    return params.model_copy(update={"slides": params.slides.model_copy(update=values)})


def _files(folder):
    return {path.relative_to(folder): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_results_truth_and_table(project, params, tissue):
    _write(project, "a", tissue(200, 260))
    truth = np.zeros((200, 260), np.uint8)
    tifffile.imwrite(project / "data/cohort/truth/a.tif", truth)
    _cohort(project, ["a"], mpp=1.0)
    _line(params)
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
    assert {path.name for path in (project / "data/maps/good").iterdir()} == {"map.tif", "map.json"}
    assert [path.name for path in (project / "data/maps").iterdir()] == ["good"]
    with pytest.raises(InputError, match=r"2 of 3 slides failed.*bad/map.json: not found; .*dvc repro segment_slides"):
        export_slides.main(params)
    assert (project / "results/slides/good/summary.json").is_file()
    assert not (project / "results/slides/bad").exists()
    rows = pd.read_csv(project / "results/slides/slides.csv").set_index("slide_id")
    assert rows["status"].to_dict() == {"bad": "failed", "good": "done", "missing": "failed"}


def test_what_was_done_of_a_failed_run_is_not_done_again(project, params, tissue, monkeypatch):
    _write(project, "good", tissue(100, 100))
    _cohort(project, ["good", "late"], mpp=1.0)
    with pytest.raises(InputError, match="1 of 2 slides failed"):
        segment_slides.main(params)
    shutil.rmtree(project / "data/maps")  # as DVC does before a run
    seen, predict = [], segment_slides.SlideModel.from_folder().predict

    def counting(images):
        seen.append(len(images))
        return predict(images)

    model = SlideModel(counting, VOCABULARIES["luad_normal"].classes, 1.0, "a" * 32)
    monkeypatch.setattr(segment_slides.SlideModel, "from_folder", lambda *_, **__: model)
    _write(project, "late", tissue(64, 64))
    segment_slides.main(params)
    assert 0 < sum(seen) <= 3 * 3  # of the late slide alone; the good one has more
    assert {path.name for path in (project / "data/maps").iterdir()} == {"good", "late"}
    assert not (project / "work_dirs/segment_slides").exists()


def test_region_of_interest_of_the_table(project, params):
    _write(project, "a", np.full((100, 120, 3), 90, np.uint8))
    ring = [[20, 10], [70, 10], [70, 60], [20, 60], [20, 10]]
    (project / "data/cohort/a.geojson").write_text(json.dumps({"type": "Polygon", "coordinates": [ring]}))
    _cohort(project, ["a"], mpp=1.0, roi="a.geojson")
    grey_is_tissue = params.slides.model_copy(update={"leave_out_pen": False})
    _line(params.model_copy(update={"slides": grey_is_tissue}))
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
    _line(params)
    for out in ("data/maps", "results/slides"):
        assert [path.name for path in (project / out).iterdir()] == ["NOTE.txt"]


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
    _line(params)
    outs = project / "data/maps", project / "results/slides"
    before = [_files(out) for out in outs]
    assert "wsss-mm view results/slides" in (outs[1] / "index.html").read_text()

    _cohort(project, ["b"], mpp=1.0)
    other = params.cohort.model_copy(update={"vocabulary": "lung"})
    with pytest.raises(InputError, match="models/segmenter"):
        segment_slides.main(params.model_copy(update={"cohort": other}))
    for stage in (segment_slides, export_slides):
        with monkeypatch.context() as patch:
            patch.setattr(stage, "side_by_side", lambda *_: 1 / 0)
            with pytest.raises(ZeroDivisionError):
                stage.main(params)
    assert [_files(out) for out in outs] == before
    _line(params)
    assert {path.name for path in outs[0].iterdir()} == {"b"}
    assert {path.name for path in outs[1].iterdir()} == {"b", "index.html", "slides.csv"}
    for out in outs:
        assert [path.name for path in out.parent.iterdir() if path.name.startswith(".")] == []


@pytest.mark.parametrize("probabilities", [False, True])
def test_results_are_those_of_one_call(project, params, tissue, predict, probabilities):
    """Whether the map is stored in between or not."""
    params = _changed(params, probabilities=probabilities)
    _write(project, "a", tissue(500, 420))
    _cohort(project, ["a"], mpp=1.0)
    _line(params)
    model = SlideModel(predict, VOCABULARIES["luad_normal"].classes, 1.0, "a" * 32)
    options = Parameters.of(params.slides)
    slide = project / "data/cohort/slides/a.tiff"
    segment_slide(slide, model, project / "alone", mpp_override=1.0, progress=False, **vars(options))
    assert _files(project / "results/slides/a") == _files(project / "alone")


class TestWithoutTheNetwork:
    """What is made of a map is made again of the same map."""

    @pytest.fixture
    def exported(self, project, params, tissue, monkeypatch):
        _write(project, "a", tissue(300, 320))
        _cohort(project, ["a"], mpp=1.0)
        _line(params)
        monkeypatch.setattr(segment_slides.SlideModel, "from_folder", lambda *_, **__: 1 / 0)
        return project / "results/slides/a"

    @pytest.mark.parametrize("changes", [{"min_island": 5.0}, {"min_hole": 0.0}, {"min_hole": 30.5, "min_island": 0.0}])
    def test_are_exports_alone(self, exported, project, params, predict, changes):
        export_slides.main(_changed(params, **changes))
        model = SlideModel(predict, VOCABULARIES["luad_normal"].classes, 1.0, "a" * 32)
        options = vars(Parameters.of(params.slides)) | changes
        slide = project / "data/cohort/slides/a.tiff"
        segment_slide(slide, model, project / "alone", mpp_override=1.0, progress=False, **options)
        assert _files(exported) == _files(project / "alone")

    def test_of_a_map_of_something_else_nothing_is(self, exported, project, params, tissue):
        with pytest.raises(InputError, match=r"the map is of another parameters; make it again: dvc repro"):
            export_slides.main(_changed(params, overlap=0.25))
        _write(project, "a", tissue(300, 320, seed=1))
        with pytest.raises(InputError, match=r"the map is of another slide"):
            export_slides.main(params)
        assert not exported.exists()
        assert "a,failed,test" in (project / "results/slides/slides.csv").read_text()

    @pytest.mark.parametrize("damage", ["notes", "cut", "no map", "other pages"])
    def test_a_damaged_map_is_a_line(self, exported, project, params, damage):
        folder = project / "data/maps/a"
        for path in folder.iterdir():  # as DVC's cache has them
            path.write_bytes(path.read_bytes())
        if damage == "notes":
            (folder / "map.json").write_text("{")
        elif damage == "cut":
            content = (folder / "map.tif").read_bytes()
            (folder / "map.tif").write_bytes(content[: len(content) // 2] + bytes(len(content) - len(content) // 2))
        elif damage == "no map":
            (folder / "map.tif").unlink()
        else:
            tifffile.imwrite(folder / "map.tif", np.zeros((10, 10), np.uint8), tile=(16, 16))
        with pytest.raises(InputError, match=r"data/maps/a/map\.(tif|json): .*dvc repro -s -f segment_slides") as told:
            export_slides.main(params)
        assert "\n" not in str(told.value)


_SCRIPT = """
import sys, time
sys.path.insert(0, {tests!r})
from conftest import colour_predict
import pipelines.{stage} as stage
from wsss_mm.patches import VOCABULARIES
from wsss_mm.settings import load_params
from wsss_mm.wsi import SlideModel, outputs

log, pause = sys.argv[1], float(sys.argv[2])
def noted(work):
    def slowly(*arguments, **options):
        with open(log, "ab") as stream:
            stream.write(b".")
        time.sleep(pause)
        return work(*arguments, **options)
    return slowly

model = SlideModel(noted(colour_predict), VOCABULARIES["luad_normal"].classes, 1.0, "a" * 32)
SlideModel.from_folder = lambda *_, **__: model
outputs.write_geojson = noted(outputs.write_geojson)
stage.main(load_params("params.yaml"))
"""


@pytest.mark.slow
@pytest.mark.parametrize(("stage", "calls"), [("segment_slides", 6), ("export_slides", 2)])
def test_killed_and_taken_up(project, tissue, project_root, monkeypatch, stage, calls):
    """In the second slide: the first is not done again, and the outs are those of an undisturbed run."""
    names = ("a", "b", "c")
    for seed, name in enumerate(names):
        _write(project, name, tissue(260, 200, seed))
    _cohort(project, names, mpp=1.0)
    content = content_of("phantom")
    content["cohort"]["vocabulary"], content["threads"] = "luad_normal", 1
    content["slides"] |= {"window": 64, "splits": ["test"], "batch_size": 16}
    write_settings(project, content)
    batches, predict = [], segment_slides.SlideModel.from_folder().predict
    counting = SlideModel(
        lambda images: batches.append(1) or predict(images), VOCABULARIES["luad_normal"].classes, 1.0, "a" * 32
    )
    monkeypatch.setattr(segment_slides.SlideModel, "from_folder", lambda *_, **__: counting)
    _line(load_params())
    outs = project / "data/maps", project / "results/slides"
    before = [_files(out) for out in outs]

    script = _SCRIPT.format(tests=str(Path(__file__).parent), stage=stage)
    environment = {**os.environ, "TQDM_DISABLE": "1", "PYTHONPATH": str(project_root)}

    def start(log, pause):
        return warm.WarmProcess(script, log, pause, env=environment, cwd=project)

    with start("log1", 0.4) as process:
        deadline = time.monotonic() + 300
        while not ((project / "log1").is_file() and (project / "log1").stat().st_size >= calls):
            assert process.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.01)
        process.kill()
        assert process.wait() == 128 + signal.SIGKILL
    assert [_files(out) for out in outs] == before  # what was there
    done = (project / "log1").stat().st_size
    with start("log2", 0) as process:
        assert process.wait() == 0
    assert [_files(out) for out in outs] == before
    whole = len(batches) if stage == "segment_slides" else len(names)
    assert (project / "log2").stat().st_size < whole
    assert done + (project / "log2").stat().st_size <= whole + 2  # what was under way alone is done twice


def test_neither_stage_knows_the_others_room():
    """So a change of the polygons asks no network again, and one of the network's engine draws no polygon."""
    for stage, foreign in (("mapping", {"export", "geojson", "overlay"}), ("export", {"engine", "mapping", "model"})):
        code = f"import sys, wsss_mm.wsi.cohort, wsss_mm.wsi.{stage}; print(*sys.modules)"
        run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
        assert {f"wsss_mm.wsi.{name}" for name in foreign}.isdisjoint(run.stdout.split())
        assert "torch" not in run.stdout.split()
