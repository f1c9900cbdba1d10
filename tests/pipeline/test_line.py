"""The whole line under DVC: it runs, knows when nothing is to do, stops at a gate, and repeats itself exactly."""

import json
import re

import pandas as pd
import pytest
import yaml

from tests.line import Line
from tests.pipeline.test_inputs import STAGES as DECLARED
from wsss_mm.files import digest
from wsss_mm.patches.shards import stored_digest

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("line")]

STAGES = [
    *("cohort", "gate@cohort", "patches", "gate@patches", "train_classifier", "gate@classifier"),
    *(
        "choose_pseudo_labels",
        "pseudo_labels",
        "gate@pseudo_labels",
        "train_segmenter",
        "evaluate",
        "gate@segmenter",
        "segment_slides",
        "export_slides",
    ),
    *("gate@slides", "register"),
]


@pytest.fixture(scope="module")
def line(line, tmp_path_factory) -> Line:
    """A copy of it, that tests may change."""
    return line.copy(tmp_path_factory.mktemp("line") / "project")


def locked(line) -> dict[str, dict[str, str]]:
    """md5 of every out, by stage."""
    stages = yaml.safe_load((line.root / "dvc.lock").read_text())["stages"]
    return {name: {out["path"]: out["md5"] for out in stage.get("outs", [])} for name, stage in stages.items()}


def test_every_stage_ran_and_left_its_outs(line):
    assert set(locked(line)) == set(DECLARED) - {"tune@trial"} >= set(STAGES)
    for outs in locked(line).values():
        for path in outs:
            assert (line.root / path).exists()


def test_the_slide_maps_are_there(line):
    slides = pd.read_csv(line.root / "data/cohort/slides.csv")
    tested = slides.loc[slides["split"] == "test", "slide_id"]
    assert len(tested) == 2
    for slide in tested:
        produced = {path.name for path in (line.root / "results/slides" / slide).iterdir()}
        assert {"segmentation.tif", "segmentation.geojson", "summary.json", "overlay.png"} <= produced


def test_nothing_to_do_the_second_time(line):
    assert "up to date" in line.run("dvc", "repro").stdout
    assert line.run("git", "status", "--porcelain").stdout == ""


def test_metrics_plots_and_params_are_wired(line):
    metrics = json.loads(line.run("dvc", "metrics", "show", "--json").stdout)[""]["data"]
    headline = metrics["reports/metrics/summary.json"]["data"]
    assert {"miou", "miou_gated", "miou_pseudo_labels", "classifier_mean_ap", "iou.TE"} <= set(headline)
    assert headline["miou"] == json.loads((line.root / "reports/metrics/test.json").read_text())["ungated"]["miou"]
    line.run("dvc", "plots", "show", "-o", "dvc_plots")
    page = (line.root / "dvc_plots/index.html").read_text()
    for title in ("Segmenter, loss", "IoU", "confusion"):
        assert title in page
    line.change_params({"segmenter": {"lr": 0.5}})
    assert "segmenter.lr" in line.run("dvc", "params", "diff").stdout
    line.run("git", "checkout", "-q", "params.yaml")


def test_training_again_gives_the_same_bytes(line):
    """In processes of their own, whose sets and dictionaries have other orders."""
    before = locked(line)
    again = {
        "cohort": "data/cohort",
        "patches": "data/patches",
        "train_classifier": "models/classifier",
        "pseudo_labels": "data/pseudo_labels",
        "train_segmenter": "models/segmenter",
    }
    line.run("rm", "-rf", "work_dirs")
    line.run("dvc", "repro", "-f", "--single-item", *again, cold=True)
    after = locked(line)
    for stage, out in again.items():
        assert after[stage][out] == before[stage][out], out
    line.run("git", "checkout", "-q", ".")
    line.run("dvc", "checkout", "-q")


def test_patches_in_shards_give_the_same_models_and_pseudo_labels(line):
    root = line.root
    models = [f"models/{name}/weights.pth" for name in ("classifier", "segmenter")]

    def made():
        labels = pd.read_parquet(root / "data/pseudo_labels/manifest.parquet")
        said = labels.drop(columns=["path", "patches"]).to_dict("records")
        return [digest(root / name) for name in models], said, [stored_digest(folder / path) for path in labels["path"]]

    folder = root / "data/pseudo_labels"
    before = made()
    line.change_params({"patches": {"storage": "shards"}})
    line.run("rm", "-rf", "work_dirs")
    line.run("dvc", "repro", "gate@segmenter")
    assert not list((root / "data/patches").rglob("*.png"))
    assert not list(folder.rglob("*.png"))
    assert made() == before
    assert "up to date" in line.run("dvc", "repro", "gate@segmenter").stdout
    line.run("git", "checkout", "-q", ".")
    line.run("dvc", "checkout", "-q")


def test_an_unreachable_threshold_stops_the_line(line):
    line.change_params({"segmenter": {"min_miou": 1.0}}, "gates.yaml")
    done = line.run("dvc", "repro", "register", check=False)
    assert done.returncode != 0
    assert "(check miou)" in done.stdout + done.stderr
    assert "Running stage 'gate@segmenter'" in done.stdout + done.stderr
    assert not re.search(r"Running stage '(segment_slides|export_slides|register)'", done.stdout + done.stderr)
    line.run("git", "checkout", "-q", ".")
    line.run("dvc", "checkout", "-q")


def test_other_polygons_ask_no_network(line):
    line.change_params({"slides": {"min_island": 2000.0, "readers": 1}})
    done = line.run("dvc", "repro", "gate@slides")
    assert re.findall(r"Running stage '([^']+)'", done.stdout + done.stderr) == ["export_slides", "gate@slides"]
    line.run("git", "checkout", "-q", ".")
    line.run("dvc", "checkout", "-q")


def test_an_experiment_with_another_parameter_is_comparable(line):
    """Of a late stage, so that nothing is trained for it."""
    line.run("dvc", "exp", "run", "-S", "evaluate.gate_threshold=0.3", "-n", "gated", "evaluate")
    shown = json.loads(line.run("dvc", "exp", "show", "--json").stdout)
    rows = {row["name"]: row for item in shown for group in item["experiments"] or [] for row in group["revs"]}
    given, made = rows["gated"]["data"]["params"], rows["gated"]["data"]["metrics"]
    assert given["params.yaml"]["data"]["evaluate"]["gate_threshold"] == 0.3
    assert made["reports/metrics/summary.json"]["data"].keys() >= {"miou", "miou_gated"}
    line.run("git", "checkout", "-q", ".")
    line.run("dvc", "checkout", "-q")
