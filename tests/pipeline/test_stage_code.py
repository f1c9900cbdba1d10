"""What dvc.yaml says each stage rests on is what it imports: nothing stale, and nothing run again for nothing."""

import re
import shutil

import pytest
import yaml

from scripts import stage_code


@pytest.fixture
def code(tmp_path):
    """A project of a few modules; gives a function that writes them and one that tells what a stage rests on."""
    (tmp_path / "pipelines").mkdir()

    def write(**files):
        for name, text in {"__init__": "", "pipelines.__init__": "", **files}.items():
            place = name.split(".") if name.startswith("pipelines") else ["wsss_mm", *name.split(".")]
            path = tmp_path.joinpath(*place).with_suffix(".py")
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        return tmp_path

    def rests_on(stage):
        files = stage_code.stage_files(tmp_path, stage)
        return {file.relative_to(tmp_path).as_posix() for file in files}

    return write, rests_on


def test_dvc_yaml_says_what_the_stages_import(project_root):
    says = (project_root / "dvc.yaml").read_text()
    assert stage_code.with_code(project_root) == says, "run: python scripts/stage_code.py"


def test_its_parameters_of_slides_are_written(project_root):
    """Those that were forgotten come back, and one that is none of a stage goes."""
    says = (project_root / "dvc.yaml").read_text()
    wrong = says.replace("      - slides.window\n", "").replace(
        "slides.min_hole, slides.min_island]", "slides.readers]"
    )
    assert wrong.count("slides.") < says.count("slides.")
    assert stage_code.with_slides(wrong) == stage_code.with_slides(says) == says


def test_every_stage_has_its_code(project_root):
    stages = yaml.safe_load((project_root / "dvc.yaml").read_text())["stages"]
    for name, stage in stages.items():
        if name == "gate":
            for gate, entry in stage["foreach"].items():
                assert {"pipelines/gate.py", f"wsss_mm/gates/{gate}.py"} <= set(entry["files"])
        elif name != "tune":  # runs because somebody asks for it, whatever has changed
            assert f"pipelines/{name}.py" in stage["deps"]


@pytest.mark.parametrize(
    ("stage", "file", "rests"),
    [
        ("pseudo_labels", "wsss_mm/patches/neighbours.py", True),
        ("train_segmenter", "wsss_mm/models/losses.py", True),
        ("segment_slides", "wsss_mm/wsi/viewer/templates/style.css", False),
        ("segment_slides", "wsss_mm/slides/phantom/nuclei.py", False),
        ("segment_slides", "wsss_mm/wsi/geojson.py", False),
        ("export_slides", "wsss_mm/wsi/geojson.py", True),
        ("train_classifier", "wsss_mm/tracking/runs.py", False),
        ("train_classifier", "wsss_mm/gates/checks.yaml", False),
        ("train_segmenter", "mmconfigs/classifier.py", False),
        ("gate@cohort", "wsss_mm/gates/checks.yaml", True),
    ],
)
def test_what_a_change_runs_again(project_root, stage, file, rests):
    assert (project_root / file in stage_code.stage_files(project_root, stage)) is rests


def test_imports_are_followed_wherever_they_stand(code):
    write, rests_on = code
    write(
        **{
            "pipelines.cut": "from wsss_mm.a import thing\nimport wsss_mm.room.b as b\n",
            "a": "def f():\n    from wsss_mm.room import c\nthing = 1\n",
            "room.__init__": "",
            "room.b": "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from wsss_mm import typed\n",
            "room.c": "",
            "typed": "",
            "other": "",
        }
    )
    assert rests_on("cut") == {
        *("pipelines/cut.py", "wsss_mm/__init__.py", "wsss_mm/a.py"),
        *("wsss_mm/room/__init__.py", "wsss_mm/room/b.py", "wsss_mm/room/c.py"),
    }


def test_a_name_that_a_package_makes_up_is_refused(code):
    write, rests_on = code
    write(**{"pipelines.cut": "from wsss_mm.room import Thing\n", "room.__init__": "def __getattr__(name): ...\n"})
    with pytest.raises(ValueError, match=r"pipelines/cut\.py:1: wsss_mm\.room\.Thing cannot be followed"):
        rests_on("cut")


def test_files_of_data_are_found_by_their_names(code):
    write, rests_on = code
    root = write(
        **{"pipelines.cut": "from wsss_mm.room import a\n", "room.__init__": "", "room.a": 'X = "checks.yaml"\n'}
    )
    (root / "wsss_mm/room/checks.yaml").write_text("")
    (root / "wsss_mm/room/other.yaml").write_text("")
    assert "wsss_mm/room/checks.yaml" in rests_on("cut")
    assert "wsss_mm/room/other.yaml" not in rests_on("cut")


def test_a_new_import_is_found_and_written(project_root, tmp_path):
    for name in ("wsss_mm", "pipelines", "mmconfigs", "vocabularies"):
        shutil.copytree(project_root / name, tmp_path / name, symlinks=True)
    shutil.copy(project_root / "dvc.yaml", tmp_path)
    before = (tmp_path / "dvc.yaml").read_text()
    path = tmp_path / "wsss_mm/slides/tiling.py"
    path.write_text(path.read_text() + "\nfrom wsss_mm import javascript  # noqa\n")
    after = stage_code.with_code(tmp_path)
    added = {line.strip() for line in after.splitlines()} - {line.strip() for line in before.splitlines()}
    assert added <= {"- wsss_mm/javascript.py", *re.findall(r"- \$\{item\.files\[\d+\]\}", after)}
    assert "- wsss_mm/javascript.py" in added


def test_the_projects_own_modules_count_where_models_are_built_of_them(code):
    """To the training whose config imports them, and to every stage that loads models; installed ones are nobody's."""
    write, rests_on = code
    loads = "from wsss_mm.models import trust\n"
    stages = dict.fromkeys(("pipelines.train_classifier", "pipelines.train_segmenter", "pipelines.judge"), loads)
    root = write(**stages, **{"pipelines.cut": "", "models.__init__": "", "models.trust": ""})
    for name, text in {
        "lab/heads.py": "from lab.parts import thing\n",
        "lab/parts.py": "thing = 1\n",
        "lab/other.py": "",
        "mmconfigs/classifier.py": '_base_ = ["base.py"]\n',
        "mmconfigs/base.py": 'custom_imports = dict(imports=["lab.heads", "mmseg.models"])\n',
        "mmconfigs/segmenter.py": "",
    }.items():
        (root / name).parent.mkdir(exist_ok=True)
        (root / name).write_text(text)
    theirs = {"lab/heads.py", "lab/parts.py"}
    for stage, wanted in {"judge": theirs, "cut": set(), "train_classifier": theirs, "train_segmenter": set()}.items():
        assert {name for name in rests_on(stage) if name.startswith("lab")} == wanted, stage
