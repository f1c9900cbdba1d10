"""docs/extending.md keeps its word: its examples are made in a copy of the project, and the contracts run there."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from tests.conftest import ROOT

MOST = 3
COPIED = (
    "wsss_mm",
    "pipelines",
    "mmconfigs",
    "vocabularies",
    "sources.yaml",
    "scripts",
    "tests",
    "dvc.yaml",
    "pyproject.toml",
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

GATE = """
from dataclasses import replace
import wsss_mm.gates.slides as gate
from wsss_mm.slide_parameters import DEFAULTS

assert {"classes.csv", "summary.json"} <= set(gate.files_of(DEFAULTS)), gate.files_of(DEFAULTS)
assert set(gate.files_of(replace(DEFAULTS, shares=True))) == {*gate.files_of(DEFAULTS), "shares.csv"}
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
        [sys.executable, *arguments],
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
    chosen = (
        "ThreeConvolutions or hires_cam or classes or shares or glands or Blur or patch_counts or listed or declared"
    )
    said = run(extended, "-m", "pytest", "-v", "-p", "no:cacheprovider", "tests/contracts", "-k", chosen)
    for name in (
        "ThreeConvolutions",
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
    assert [name for name, stage in stages.items() if "slides.shares" in stage.get("params", ())] == ["export_slides"]
    assert "slides.shares" in stages["gate"]["foreach"]["slides"]["reads"]
    reads = [len(gate["reads"]) for gate in stages["gate"]["foreach"].values()]
    assert reads == [sum("reads[" in str(name) for name in stages["gate"]["do"]["params"])] * len(reads)

    run(extended, "-m", "wsss_mm.cli.main", "profile", "phantom")
    params = yaml.safe_load((extended / "params.yaml").read_text())
    assert (params["slides"]["shares"], params["patch_counts"]) == (False, {"by": "split"})
    assert "--shares" in run(extended, "-m", "wsss_mm.cli.main", "segment", "--help")


def test_gates_know_the_files_of_a_slide(extended):
    run(extended, "-c", GATE)
