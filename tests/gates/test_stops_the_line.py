"""Under real DVC: a faulty artefact stops the line at its gate, the next stage does not run, a repaired one goes on."""

import json
import os
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest
import yaml

from tests import warm
from tests.settings import write_settings
from wsss_mm.gates import GATES

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("great_expectations")]

CHECKS = {
    "cohort": "data/cohort",
    "patches": "data/patches",
    "classifier": "reports/metrics/classifier.json",
    "pseudo_labels": "data/pseudo_labels",
    "segmenter": "reports/metrics/test.json",
    "slides": "results/slides",
}


def rewrite(path: Path, change) -> None:
    content = json.loads(path.read_text(encoding="utf-8"))
    change(content)
    path.write_text(json.dumps(content), encoding="utf-8")


def rewrite_table(path: Path, **columns) -> None:
    pd.read_parquet(path).assign(**columns).to_parquet(path, index=False)


FAULTS = {
    "cohort": ("opens", lambda root: (root / "data/cohort/slides/slide-test.tiff").write_bytes(b"broken")),
    "patches": ("size", lambda root: rewrite_table(root / "data/patches/manifest.parquet", size=100)),
    "classifier": (
        "mean_ap",
        lambda root: rewrite(root / CHECKS["classifier"], lambda metrics: metrics.update(mean_ap=0.1)),
    ),
    "pseudo_labels": (
        "agreement",
        lambda root: rewrite_table(root / "data/pseudo_labels/manifest.parquet", agreement=0.1),
    ),
    "segmenter": (
        "miou",
        lambda root: rewrite(root / CHECKS["segmenter"], lambda metrics: metrics["ungated"].update(miou=0.1)),
    ),
    "slides": ("complete", lambda root: (root / "results/slides/slide-test/overlay.png").unlink()),
}


@pytest.fixture
def repro(project, params_content, project_root):
    """A DVC project of one gate and the stage that waits for it; returns what runs `dvc repro` there."""
    write_settings(project, params_content)
    copy = f"{shlex.quote(sys.executable)} -c \"open('next.txt', 'a').write('ran\\n')\""
    stages = {
        "gate": {
            "foreach": {name: {"checks": path} for name, path in CHECKS.items()},
            "do": {
                "cmd": "python -m pipelines.gate ${key}",
                "deps": ["${item.checks}"],
                "params": [{"gates.yaml": ["${key}"]}],
                "outs": [{"reports/gates/${key}.json": {"cache": False}}],
            },
        },
        "next": {
            "foreach": list(CHECKS),
            "do": {"cmd": copy, "deps": ["reports/gates/${item}.json"]},
        },
    }
    (project / "dvc.yaml").write_text(yaml.safe_dump({"stages": stages}), encoding="utf-8")
    environment = {**os.environ, "PYTHONPATH": str(project_root), "OMP_NUM_THREADS": "1"}
    environment["PATH"] = f"{warm.commands()}{os.pathsep}{environment['PATH']}"
    environment.pop("DVC_ROOT", None)

    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [warm.dvc(), *arguments], cwd=project, env=environment, capture_output=True, text=True, check=False
        )

    assert run("init", "-q", "--no-scm").returncode == 0
    return run


@pytest.mark.parametrize("name", GATES)
def test_a_fault_stops_the_line_and_a_repair_lets_it_go_on(name, project, repro):
    check, break_it = FAULTS[name]
    artefact, good = project / CHECKS[name], project / "good"
    (shutil.copytree if artefact.is_dir() else shutil.copyfile)(artefact, good)
    break_it(project)
    stopped = repro("repro", f"next@{name}")
    assert stopped.returncode != 0
    assert f"gate {name}: " in stopped.stderr
    assert f"(check {check})" in stopped.stderr
    assert not (project / "next.txt").exists()
    outcome = read_report(project, name)
    assert not outcome["passed"]
    assert check in [item["name"] for item in outcome["checks"] if not item["passed"]]

    if artefact.is_dir():
        shutil.rmtree(artefact)
    good.replace(artefact)
    passed = repro("repro", f"next@{name}")
    assert passed.returncode == 0, passed.stderr
    assert (project / "next.txt").read_text(encoding="utf-8") == "ran\n"
    assert read_report(project, name)["passed"]


def test_a_gate_asks_again_until_it_passes_and_whenever_the_artefact_changes(project, repro):
    artefact = project / CHECKS["segmenter"]
    good, target = artefact.read_bytes(), "next@segmenter"
    assert repro("repro", target).returncode == 0
    FAULTS["segmenter"][1](project)
    for _ in range(2):
        assert repro("repro", target).returncode != 0
        assert (project / "next.txt").read_text(encoding="utf-8") == "ran\n"
    artefact.write_bytes(good)  # what DVC's lock knows, beside the report of a failure
    assert repro("repro", target).returncode == 0
    assert read_report(project, "segmenter")["passed"]


def read_report(project: Path, name: str) -> dict:
    return json.loads((project / f"reports/gates/{name}.json").read_text(encoding="utf-8"))
