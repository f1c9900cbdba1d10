"""What a stage was given is what DVC records: parameters and inputs that change while it runs stop it."""

import os
import shutil
from itertools import product
from pathlib import Path

import pytest
import yaml

from pipelines import inputs
from pipelines.inputs import unchanged_inputs
from tests.settings import copy_profile
from wsss_mm.errors import InputError

PIPELINE = yaml.safe_load((Path(__file__).parents[2] / "dvc.yaml").read_text(encoding="utf-8"))["stages"]
STAGES = [
    name if "foreach" not in entry else f"{name}@{key}"
    for name, entry in PIPELINE.items()
    for key in (entry.get("foreach", [""]) if name != "tune" else ["trial"])  # its names stand in tune.yaml
]


@pytest.fixture(params=STAGES)
def stage(request, tmp_path, project_root, monkeypatch):
    """A project in which every dependency of a stage is a small file or folder."""
    for name in ("dvc.yaml", "encoders.yaml"):
        shutil.copy(project_root / name, tmp_path)
    copy_profile(tmp_path)
    monkeypatch.setattr(inputs, "_files", lambda root, name: wanted.append(name) or ())
    wanted = []
    inputs._given(tmp_path, request.param)
    monkeypatch.undo()
    for name in wanted:
        path = tmp_path / name
        path = path if path.suffix else path / "inner/file.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("content")
    monkeypatch.setenv("DVC_STAGE", request.param)
    return tmp_path


def change(path):
    if path.name in ("params.yaml", "gates.yaml"):
        content = yaml.safe_load(path.read_text())
        path.write_text(yaml.safe_dump({key: _other(value) for key, value in content.items()}))
    else:
        path.write_text("changed")


def _other(value):
    return {key: _other(inner) for key, inner in value.items()} if isinstance(value, dict) else "other"


def test_whatever_changes_meanwhile_stops_the_stage(stage):
    given = inputs._given(stage, os.environ["DVC_STAGE"])
    files = [name for name in given if ": " not in name]  # others are keys of params.yaml and the like
    assert files
    for name in files[:3]:
        before = (stage / name).read_bytes()
        with pytest.raises(InputError, match=rf"^{name} changed while stage"), unchanged_inputs(stage):
            change(stage / name)
        (stage / name).write_bytes(before)
    with pytest.raises(InputError, match=r"^params\.yaml: \S+ .*changed while stage"), unchanged_inputs(stage):
        change(stage / "params.yaml")
    if os.environ["DVC_STAGE"].startswith("gate@"):
        with pytest.raises(InputError, match=r"^gates\.yaml: \S+ changed while stage"), unchanged_inputs(stage):
            change(stage / "gates.yaml")


def test_thresholds_of_a_gate_are_its_own(tmp_path, project_root):
    """Those of another gate may change while it runs."""
    shutil.copy(project_root / "dvc.yaml", tmp_path)
    copy_profile(tmp_path)
    given = inputs._given(tmp_path, "gate@cohort")
    assert [name for name in given if name.startswith("gates.yaml")] == ["gates.yaml: cohort"]
    assert given["gates.yaml: cohort"]["min_focus"] == 10
    assert not [name for name in inputs._given(tmp_path, "patches") if name.startswith("gates.yaml")]


@pytest.mark.parametrize(
    ("stage", "name"),
    [*product(["evaluate", "gate@slides"], ["params.yaml", "dvc.yaml"]), ("gate@slides", "gates.yaml")],
    indirect=["stage"],
)
def test_what_somebody_is_just_writing_is_one_line(stage, name):
    before = (stage / name).read_bytes()
    for content in (b"a: [", b"", b"- 1", None):
        with pytest.raises(InputError, match="changed while stage"), unchanged_inputs(stage):
            (stage / name).unlink() if content is None else (stage / name).write_bytes(content)
        (stage / name).write_bytes(before)


def test_what_is_not_its_own_may_change(stage):
    with unchanged_inputs(stage):
        (stage / "README.md").write_text("new")
        lines = (stage / "params.yaml").read_text()
        (stage / "params.yaml").write_text("# a comment\n" + lines)
        code = stage / f"pipelines/{os.environ['DVC_STAGE'].partition('@')[0]}.py"
        if code.exists():  # a trial of tune watches none: it is an experiment of its own, and always runs
            code.write_bytes(code.read_bytes())  # git checkout of the same content


def test_a_file_that_comes_or_goes_is_a_change(stage):
    given = {str(item) for item in inputs._given(stage, os.environ["DVC_STAGE"])}
    folders = [path for path in stage.rglob("inner") if path.parent.relative_to(stage).as_posix() in given]
    for folder in folders[:1]:
        with pytest.raises(InputError, match="changed while"), unchanged_inputs(stage):
            (folder / "more.png").touch()
        with pytest.raises(InputError, match="changed while"), unchanged_inputs(stage):
            (folder / "file.png").unlink()


def test_by_hand_nothing_is_recorded_and_nothing_compared(tmp_path, monkeypatch):
    monkeypatch.delenv("DVC_STAGE", raising=False)
    with unchanged_inputs(tmp_path):
        pass
