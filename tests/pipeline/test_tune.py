"""Trials of `wsss-mm tune` on the small line: as experiments of DVC, and without a file of the test split."""

import json
import shutil

import pandas as pd
import pytest

from tests.line import Line
from wsss_mm import places

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("line-experiments")]


@pytest.fixture
def project(line, tmp_path) -> Line:
    shutil.copytree(line.root, tmp_path / "project", symlinks=True)
    (tmp_path / "project/mlflow.db").unlink(missing_ok=True)  # it names files of the line, and tune has its own
    return Line(tmp_path / "project")


def test_a_trial_reads_nothing_of_the_test_split(project):
    """Where images and masks of the test split are gone, it is judged all the same."""
    manifest = pd.read_parquet(project.root / places.PATCHES / places.MANIFEST)
    test = manifest[manifest["split"] == "test"]
    assert len(test)
    for name in (*test["path"], *test["mask_path"].dropna()):
        (project.root / places.PATCHES / name).unlink()
    project.run("python", "-m", "pipelines.tune")
    counts = json.loads((project.root / places.TUNE_COUNTS).read_text())
    metrics = json.loads((project.root / places.TUNE_METRICS).read_text())
    assert counts["value"] == pytest.approx(metrics["miou"])
    valid = manifest[(manifest["split"] == "valid") & manifest["mask_path"].notna()]
    assert len(counts["counts"]) == valid["slide_id"].nunique()


def test_two_trials_are_experiments_that_dvc_and_mlflow_show(project):
    (project.root / "v.yaml").write_text("segmenter.loss: [ce, onss]\n")
    tune = ("wsss-mm", "tune", "--budget", "10h", "--values", "v.yaml", "--no-queue")
    done = project.run(*tune)
    assert "chosen: " in done.stdout
    assert "2 trials fit into 10 h" in done.stderr
    shown = json.loads(project.run("dvc", "exp", "show", "--json").stdout)
    names = [row["name"] for item in shown for group in item["experiments"] or [] for row in group["revs"]]
    assert len([name for name in names if name.startswith("tune-")]) == 2  # others are of the line's own tests
    rows = (project.root / places.TUNE_WORK / "journal.jsonl").read_text().splitlines()
    assert len(rows) == 2
    again = project.run(*tune)
    assert again.stdout == done.stdout
    assert project.run("git", "status", "--porcelain", "--untracked-files=no").stdout == ""
