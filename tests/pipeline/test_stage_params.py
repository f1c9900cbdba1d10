"""What a stage lists as its parameters is what decides its outs: no more runs again than must, and no less."""

import json
import shutil
from pathlib import Path

import pytest
import yaml
from ruamel.yaml import YAML

from pipelines import inputs
from tests import warm_yaml
from tests.settings import copy_profile
from wsss_mm import places
from wsss_mm.slide_parameters import SETTINGS

STAGES_OF = {"segment_slides": "map", "export_slides": "export"}


@pytest.fixture(scope="module")
def pipeline(project_root):
    return yaml.safe_load((project_root / "dvc.yaml").read_text(encoding="utf-8"))["stages"]


def _of_slides(params):
    names = (name for name in params if isinstance(name, str))  # others are of gates.yaml
    return {name.removeprefix("slides.") for name in names if name.partition(".")[0] == "slides"}


@pytest.mark.parametrize(("stage", "decides"), STAGES_OF.items())
def test_parameters_of_slides_are_of_the_stage_that_they_decide(pipeline, stage, decides):
    declared = {name for name, setting in SETTINGS.items() if setting.decides == decides}
    which = {"splits", "precision"} if decides == "map" else {"splits"}
    assert _of_slides(pipeline[stage]["params"]) == declared | which


def test_gate_slides_compares_all_that_a_summary_records(pipeline):
    declared = {name for name, setting in SETTINGS.items() if setting.decides != "pace"}
    reads = pipeline["gate"]["foreach"]["slides"]["reads"]
    assert _of_slides(reads) == declared | {"splits", "precision"}
    assert not _of_slides(pipeline["gate"]["do"]["params"])
    listed = [f"${{item.reads[{index}]}}" for index in range(len(reads))]
    assert [name for name in pipeline["gate"]["do"]["params"] if "reads" in name] == listed


@pytest.mark.parametrize("pace", ["workers", *(f"slides.{n}" for n, s in SETTINGS.items() if s.decides == "pace")])
def test_what_decides_the_pace_alone_is_a_parameter_of_no_stage(pipeline, pace):
    for name, stage in pipeline.items():
        listed = stage.get("params", stage.get("do", {}).get("params"))
        assert pace not in listed, name
        assert pace.partition(".")[0] not in listed, name


CHANGES = {
    ("min_island", 5.0): {"export_slides", "gate@slides"},
    ("min_hole", 5.0): {"export_slides", "gate@slides", "register"},
    ("overlap", 0.25): {"segment_slides", "gate@slides", "register"},
    ("readers", 1): set(),
    ("batch_size", 3): set(),
}


def test_what_dvc_runs_again_after_a_change(tmp_path, tmp_path_factory, project_root, monkeypatch):
    """`dvc status` names stages whose own parameters changed; those after them run if the outs between do.

    DVC knows the project as done, with a small file in place of every dependency and out.
    """
    from dvc.repo import Repo

    monkeypatch.setattr(YAML, "load", YAML.load)  # as `remember` finds it
    monkeypatch.setattr(YAML, "dump", YAML.dump)
    warm_yaml.remember(tmp_path_factory.mktemp("yaml"))  # of nine looks at one lock
    for name in ("dvc.yaml", "tune.yaml", "encoders.yaml"):
        shutil.copy(project_root / name, tmp_path)
    settings = {copy_profile(tmp_path), tmp_path / "gates.yaml", tmp_path / "encoders.yaml"}
    monkeypatch.chdir(tmp_path)
    with Repo.init(no_scm=True) as repo:
        paths = [Path(item.fs_path) for stage in repo.index.stages for item in (*stage.deps, *stage.outs)]
        for path in sorted({*paths} - settings):
            file = path if path.suffix else path / "file"
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text("content")
        repo.commit(force=True)
        assert not repo.status()
    version12 = YAML(typ="safe")  # as DVC reads it: `off` is a word
    before = version12.load(Path("params.yaml"))
    for (name, value), stages in CHANGES.items():
        version12.dump(before | {"slides": before["slides"] | {name: value}}, Path("params.yaml"))
        with Repo() as repo:
            assert set(repo.status()) == stages, name
    version12.dump(before, Path("params.yaml"))
    for row, stages in (("swin_tiny", set()), ("resnet38", {"train_classifier", "train_segmenter"})):
        encoders = version12.load(Path("encoders.yaml"))
        encoders[row]["mean"] = [127, 127, 127]
        version12.dump(encoders, Path("encoders.yaml"))
        with Repo() as repo:
            assert set(repo.status()) == stages, row


def test_a_model_carries_what_register_reads(pipeline):
    assert _of_slides(pipeline["register"]["params"]) == {name for name, item in SETTINGS.items() if item.carried}


def test_what_is_listed_once_is_looked_at_while_the_stage_runs(project_root):
    given = inputs._given(project_root, "gate@slides")
    assert "params.yaml: slides.overlap" in given
    assert "params.yaml: slides.readers" not in given


def test_metrics_of_the_line_are_the_few_that_people_compare(pipeline):
    """Each of their numbers is a column of `dvc exp show`; counts of gates are in the gates' reports."""
    metrics = {
        path
        for name, stage in pipeline.items()
        if name != "tune"  # which is no stage of the line
        for item in stage.get("metrics", stage.get("do", {}).get("metrics", []))
        for path in item
    }
    assert metrics == {places.SUMMARY_METRICS.as_posix()}


def test_curves_of_scores_begin_at_zero(project_root):
    """From 0.955 to 0.995 a leap would be seen where there is none."""
    curve = json.loads((project_root / ".dvc/plots/curve.json").read_text(encoding="utf-8"))
    assert curve["encoding"]["y"]["scale"] == {"zero": True}
