"""What would stop a later stage stops the first one, with the line of the file it is in."""

import re
import shutil
import subprocess
import sys

import pytest

from tests.settings import content_of, write_settings
from wsss_mm.errors import InputError
from wsss_mm.preflight import check
from wsss_mm.settings import load_params

WEIGHTS = "pretrained/ilsvrc-cls_rna-a1_cls1000_ep-0001.params"


@pytest.fixture
def refused(tmp_path):
    """What is said of a profile with changes, in a project that has some files."""

    def ask(profile="phantom", files=(), **sections):
        content = content_of(profile)
        for section, changes in sections.items():
            content[section] |= changes
        for name in files:
            (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / name).touch()
        params = load_params(write_settings(tmp_path, content))
        try:
            check(params, tmp_path)
        except InputError as error:
            assert "\n" not in str(error)
            return str(error)
        return ""

    return ask


@pytest.mark.parametrize("profile", ["phantom", "tiny", "slides", "luad_histoseg", "bcss_wsss", "wsss4luad"])
def test_profiles_fit(refused, profile):
    assert refused(profile) == ""


@pytest.mark.parametrize("profile", ["luad", "bcss"])
def test_weights_are_asked_for_until_what_starts_from_them_is_there(refused, profile):
    said = refused(profile)
    for section in ("classifier", "segmenter"):
        assert f": {section}.weights: {WEIGHTS}: not found; " in said
    said = refused(profile, ["models/classifier/weights.pth"])
    assert "classifier.weights" not in said
    assert "segmenter.weights" in said
    assert refused(profile, ["models/segmenter/weights.pth"]) == ""


def test_weights_that_are_there_are_enough(refused):
    assert refused("luad", [WEIGHTS]) == ""


def test_weights_that_nothing_starts_from_are_asked_for_since_dvc_watches_them(refused):
    said = refused("luad", segmenter={"init": "none"})
    assert f"segmenter.weights: {WEIGHTS}: not found; " in said
    assert said.endswith("or set weights: null, as init is none")
    assert "segmenter" not in refused("luad", segmenter={"init": "none", "weights": None})


def test_weights_that_dvc_owns_are_pulled(refused):
    assert f"classifier.weights: {WEIGHTS}: not found; dvc pull {WEIGHTS}.dvc" in refused("luad", [f"{WEIGHTS}.dvc"])


def test_a_data_set_has_its_own_classes_and_resolution(refused):
    said = refused("bcss_wsss", cohort={"vocabulary": "lung"}, patches={"mpp": 1.0})
    assert "cohort.vocabulary: is 'lung', but bcss_wsss has the classes of 'breast'" in said
    assert "patches.mpp: is 1.0, but the patches of bcss_wsss are at 0.25 um/px" in said
    assert said.count("line ") == 2


@pytest.mark.parametrize("section", ["classifier", "segmenter", "slides"])
def test_half_precision_needs_a_gpu_until_its_work_is_done(refused, section, monkeypatch):
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    assert f"{section}.precision: fp16 needs a GPU" in refused(**{section: {"precision": "fp16"}})
    done = "results/slides/slides.csv" if section == "slides" else f"models/{section}/weights.pth"
    assert refused(files=[done], **{section: {"precision": "fp16"}}) == ""


def test_a_stage_asks_before_it_runs(tmp_path, project_root):
    write_settings(tmp_path, content_of("luad"))
    done = subprocess.run(
        [sys.executable, "-m", "pipelines", "cohort"],
        cwd=tmp_path,
        env={"PYTHONPATH": str(project_root), "PATH": ""},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    assert done.stderr.startswith("error: params.yaml: line ")
    assert f"classifier.weights: {WEIGHTS}: not found" in done.stderr
    assert not (tmp_path / "data").exists()


OTHER = {"encoder": "efficientnet_lite0", "weights": "published"}
LITE = "pretrained/efficientnet-lite0-57934424.pth"


def test_an_encoders_own_file_is_asked_for_by_its_sha256(refused, monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)  # whatever package is installed
    sections = {"classifier": OTHER, "segmenter": {"encoder": "efficientnet_lite0"}, "pseudo_labels": {"layer": "last"}}
    said = refused(files=["pretrained/published"], **sections)
    assert f"classifier.weights: {LITE}: not found, the weights of encoder efficientnet_lite0; they" in said
    said = refused(files=[LITE, "pretrained/published"], **sections)
    assert re.search(
        rf"classifier\.weights: {LITE}: sha256 \w{{12}} is not the published file's, 579344248a93: it", said
    )
    named = sections | {"classifier": OTHER | {"weights": "efficientnet-lite0-57934424.pth"}}
    assert "is not the published file's" in refused(files=[LITE], **named)
    own = sections | {"classifier": OTHER | {"weights": "own.pth"}}
    assert refused(files=["pretrained/own.pth"], **own) == ""


def test_an_encoder_that_knows_another_resolution_is_told_of(refused, tmp_path, monkeypatch, caplog):
    monkeypatch.chdir(tmp_path)
    row = (
        "tissue: {loader: timm, architecture: x, stages: {a: [8, 4], b: [8, 8], c: [8, 16]}, licence: MIT, mpp: [0.5]}"
    )
    (tmp_path / "encoders.yaml").write_text(row)
    sections = {
        "classifier": {"encoder": "tissue"}, "segmenter": {"encoder": "tissue"}, "pseudo_labels": {"layer": "last"}
    }  # fmt: skip
    assert refused(**sections) == ""
    assert caplog.messages == [], "from scratch it knows no resolution"
    begun = {"encoder": "tissue", "weights": "own.pth"}
    sections |= {"classifier": begun, "segmenter": begun | {"init": "weights"}}
    assert refused(files=["pretrained/own.pth"], **sections) == ""
    assert caplog.messages == [
        f"{tmp_path}/params.yaml: patches.mpp: 1 um/px is off by more than 1.5 times from the 0.5 um/px that tissue "
        "knows (classifier.encoder and segmenter.encoder)"
    ]
    caplog.clear()
    assert refused(**sections, files=["data/patches/manifest.parquet"]) == ""
    assert caplog.messages == [], "stages after those that cut patches do not say it again; a training does"
    shutil.rmtree(tmp_path / "data")
    assert refused(**sections, patches={"mpp": 0.6}) == ""
    assert caplog.messages == []


def test_a_file_that_no_library_here_writes(refused, monkeypatch):
    monkeypatch.setattr("wsss_mm.preflight.find_spec", lambda name: None)
    said = refused(slides={"dicom_seg": True})
    assert "slides.dicom_seg: highdicom is not installed; pip install 'wsss-mm[dicom]', or set it to false" in said
    assert refused() == ""
    monkeypatch.setattr("wsss_mm.preflight.find_spec", lambda name: object())
    assert refused(slides={"dicom_seg": True}) == ""
