"""docs/extending.md keeps its word: its examples are made in a copy of the project, and the contracts run there."""

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml

from tests import warm
from tests.conftest import ROOT

MOST = 3
COPIED = (
    *("wsss_mm", "pipelines", "mmconfigs", "vocabularies", "scripts", "tests"),
    *("dvc.yaml", "encoders.yaml", "sources.yaml", "pyproject.toml"),
)
_FENCED = re.compile(r"^```(?P<kind>\w+)\n(?P<text>.*?)^```", re.DOTALL | re.MULTILINE)

CHECK = """
import json, os, sys
from pathlib import Path
import pandas as pd
from pipelines.__main__ import main
from tests.gates.project import clean_params, inside, make_project
from tests.settings import write_settings
from wsss_mm.gates import run_gate

root = Path(sys.argv[1])
make_project(root)
write_settings(root, clean_params())
with inside(root):
    outcomes = {item.name: item for item in run_gate("classifier", clean_params(), Path()).checks}
    assert outcomes["lift"].passed and "1.05 times" in outcomes["lift"].says, outcomes["lift"]
    main(["patch_counts"])
    assert set(json.loads(Path("reports/metrics/patch_counts.json").read_text())) == {"train", "valid", "test"}
"""

PYTEST = "import sys, pytest; sys.exit(pytest.main(sys.argv[1:]))"

KNOWN = """
import sys
from dataclasses import replace
from pathlib import Path
import torch
import wsss_mm.gates.slides as gate
from tests.settings import content_of, write_settings
from wsss_mm.cam import activations_and_logits
from wsss_mm.cam.layers import unit_names
from wsss_mm.encoders import get_encoder
from wsss_mm.engine.configs import load_config
from wsss_mm.engine.training import given_values
from wsss_mm.errors import InputError
from wsss_mm.models import build_network
from wsss_mm.models.trust import Trust
from wsss_mm.settings import load_params
from wsss_mm.slide_parameters import DEFAULTS

assert {"classes.csv", "summary.json"} <= set(gate.files_of(DEFAULTS)), gate.files_of(DEFAULTS)
assert set(gate.files_of(replace(DEFAULTS, shares=True))) == {*gate.files_of(DEFAULTS), "shares.csv"}

content = content_of()
for section in ("classifier", "segmenter"):
    content[section]["encoder"] = "three_convolutions"
content["pseudo_labels"]["layer"] = "two"
params = load_params(write_settings(Path(sys.argv[1]), content))
configs = [Path(f"mmconfigs/{kind}.py") for kind in ("classifier", "segmenter")]
network, segmenter = (
    build_network(
        load_config(path, given_values(path.stem, params, {})).model.to_dict(), source=path, trust=Trust(path)
    )
    for path in configs
)
assert tuple(unit_names(network)) == get_encoder("three_convolutions").layers == ("one", "two", "three")
features, logits = activations_and_logits(network.eval(), torch.zeros(1, 3, 64, 64), "two")
assert features.shape == (1, 64, 16, 16) and logits.shape == (1, 4), (features.shape, logits.shape)
assert segmenter.backbone.out_stages == ("one", "three"), segmenter.backbone.out_stages
content["pseudo_labels"]["layer"] = "four"
try:
    load_params(write_settings(Path(sys.argv[1]), content))
except InputError as error:
    assert "pseudo_labels.layer: three_convolutions has no layer 'four'" in str(error), error
else:
    raise AssertionError("a layer that is not there")
"""


def sections() -> dict[str, list[tuple[str, str]]]:
    """Kind and text of the blocks by heading."""
    text = (ROOT / "docs/extending.md").read_text(encoding="utf-8")
    parts = re.split(r"^## (.+)\n", text, flags=re.MULTILINE)[1:]
    return {
        heading: [(block["kind"], block["text"]) for block in _FENCED.finditer(body)]
        for heading, body in zip(parts[::2], parts[1::2], strict=True)
    }


def file_of(kind: str, text: str) -> str:
    first = text.partition("\n")[0]
    return first.removeprefix("--- " if kind == "diff" else "# ")


def make(root: Path, kind: str, text: str) -> None:
    """Write a new file, or change one: context and removed lines must be there, once."""
    path, body = root / file_of(kind, text), text.partition("\n")[2]
    if kind != "diff":
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(body, encoding="utf-8")
        return
    lines = body.splitlines()
    before, after = ("\n".join(line[1:] for line in lines if not line.startswith(sign)) for sign in ("+", "-"))
    content = path.read_text(encoding="utf-8")
    assert content.count(before) == 1, f"{path}: {content.count(before)} times:\n{before}"
    path.write_text(content.replace(before, after), encoding="utf-8")


@pytest.mark.parametrize("heading", sections())
def test_three_files_at_most(heading):
    files = {file_of(*block) for block in sections()[heading]}
    assert 1 <= len(files) <= MOST, files


def test_every_kind_has_its_contract():
    text = (ROOT / "docs/extending.md").read_text(encoding="utf-8")
    assert len(sections()) == 9
    suites = {path.relative_to(ROOT).as_posix() for path in (ROOT / "tests/contracts").glob("test_*.py")}
    assert suites == set(re.findall(r"`(tests/contracts/test_\w+\.py)`", text))


@pytest.fixture(scope="module")
def extended(tmp_path_factory) -> Path:
    """A copy of the project with all that the page adds."""
    root = tmp_path_factory.mktemp("extended")
    for name in COPIED:
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, root / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(ROOT / name, root / name)
    for blocks in sections().values():
        for block in blocks:
            make(root, *block)
    return root


def run(root: Path, *arguments: str) -> str:
    done = subprocess.run(
        [str(warm.commands() / "python"), *arguments],
        cwd=root,
        env={**os.environ, "PYTHONPATH": str(root), "PYTEST_ADDOPTS": "", "TQDM_DISABLE": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, f"{done.stdout[-4000:]}{done.stderr[-2000:]}"
    return done.stdout


@pytest.mark.slow
def test_the_contracts_hold_for_all_of_it(extended):
    """Those that run through what is new, and all of the others of the same kind."""
    new = (
        "ThreeConvolutions",
        "three_convolutions",
        "hires_cam",
        "classes",
        "shares",
        "glands",
        "Blur",
        "patch_counts",
    )
    chosen = " or ".join((*new, "listed", "declared"))
    said = run(extended, "-c", PYTEST, "-v", "-p", "no:cacheprovider", "tests/contracts", "-k", chosen)
    for name in (
        "ThreeConvolutions",
        "three_convolutions",
        "hires_cam",
        "classes.csv",
        "shares.csv",
        "glands",
        "classifier: Blur",
        "patch_counts",
    ):
        assert f"[{name}" in said, name
    assert " failed" not in said


@pytest.mark.slow
def test_the_check_and_the_stage_run(extended, tmp_path):
    run(extended, "-c", CHECK, str(tmp_path))


def test_commands_write_the_rest(extended):
    run(extended, "scripts/stage_code.py")
    text = (extended / "dvc.yaml").read_text()
    assert "- pipelines/patch_counts.py\n      - wsss_mm/__init__.py" in text
    stages = yaml.safe_load(text)["stages"]
    on_the_backbone = {name for name, stage in stages.items() if "lab/backbones.py" in stage.get("deps", ())}
    assert {"train_classifier", "pseudo_labels", "train_segmenter", "segment_slides"} <= on_the_backbone
    assert not {"cohort", "patches", "export_slides"} & on_the_backbone
    assert [name for name, stage in stages.items() if "slides.shares" in stage.get("params", ())] == ["export_slides"]
    assert "slides.shares" in stages["gate"]["foreach"]["slides"]["reads"]
    reads = [len(gate["reads"]) for gate in stages["gate"]["foreach"].values()]
    assert reads == [sum("reads[" in str(name) for name in stages["gate"]["do"]["params"])] * len(reads)

    run(extended, "-m", "wsss_mm.cli.main", "profile", "phantom")
    params = yaml.safe_load((extended / "params.yaml").read_text())
    assert (params["slides"]["shares"], params["patch_counts"]) == (False, {"by": "split"})
    assert "--shares" in run(extended, "-m", "wsss_mm.cli.main", "segment", "--help")


def test_gates_know_the_files_of_a_slide_and_settings_the_layers_of_a_backbone(extended, tmp_path):
    run(extended, "-c", KNOWN, str(tmp_path))
