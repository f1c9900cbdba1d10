"""The sweep of docs/comparing-runs.md, with several workers: its runs are in one store, and are one group."""

import json
import os
import shutil
import signal
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from tests.docs.pages import blocks
from tests.line import Line

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("line-experiments")]

NAMES = {"lr-1": "0.0005", "lr-2": "0.004", "lr-3": "0.008"}
WAIT = 1800  # s


@pytest.fixture(scope="module")
def texts(project_root):
    """What the page tells to run: the sweep, and the comparison."""
    found = blocks(project_root, "docs/comparing-runs.md")
    return [block.text for block in found if block.reason and "test_sweep.py" in block.reason]


@pytest.fixture(scope="module")
def swept(line, texts, tmp_path_factory) -> Iterator[Line]:
    root = tmp_path_factory.mktemp("sweep") / "project"
    shutil.copytree(line.root, root, symlinks=True)
    sweep = Line(root)
    for name in ("mlflow.db", "mlartifacts"):  # a store of its own, which the workers make, both at once
        path = root / name
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    sweep.run("bash", "-euo", "pipefail", "-c", texts[0])
    end, looked = time.monotonic() + WAIT, 0
    while (looked % 20 and not made(sweep)) or "Running" in (said := status(sweep)) or "Queued" in said:
        assert time.monotonic() < end, said
        time.sleep(2)
        looked += 1
    assert said.count("Success") == len(NAMES), said + "".join(
        sweep.run("dvc", "queue", "logs", name, check=False).stdout[-2000:] for name in NAMES
    )
    yield sweep
    # A worker that ends cleans up, and may take away what tells another one to end: that one would stay.
    for path in (root / ".dvc/tmp/exps/celery").glob("*.pid"):
        with suppress(OSError, ValueError):
            pid = int(path.read_text())
            if "queue-worker" in Path(f"/proc/{pid}/cmdline").read_text():
                os.kill(pid, signal.SIGTERM)


def status(sweep: Line) -> str:
    return sweep.run("dvc", "queue", "status").stdout


def made(sweep: Line) -> bool:
    """Whether all are there; git says it at once, where `dvc queue status` takes a second."""
    said = sweep.run("git", "for-each-ref", "--format=%(refname:lstrip=-1)", "refs/exps").stdout
    return NAMES.keys() <= set(said.split())


@pytest.fixture(scope="module")
def runs(swept, texts):
    import mlflow

    client = mlflow.MlflowClient(f"sqlite:///{swept.root}/mlflow.db")
    experiment = client.get_experiment_by_name("segmenter")
    return client, client.search_runs([experiment.experiment_id])


def test_every_experiment_has_its_run_in_the_projects_store(runs):
    _, found = runs
    assert {run.info.run_name: run.data.params["segmenter.lr"] for run in found} == NAMES
    assert len(found) == len(NAMES)
    assert {run.info.status for run in found} == {"FINISHED"}


def test_the_runs_are_one_group_that_differs_in_one_parameter(runs, swept):
    _, found = runs
    baseline = swept.run("git", "rev-parse", "HEAD").stdout.strip()
    assert {run.data.tags["dvc.baseline"] for run in found} == {baseline}
    assert {run.data.tags["dvc.experiment"] for run in found} == set(NAMES)
    params = [run.data.params for run in found]
    assert {key for key in params[0] if len({item.get(key) for item in params}) > 1} == {"segmenter.lr"}


def test_curves_metrics_of_classes_and_overlays_are_complete(runs):
    client, found = runs
    steps = {}
    for run in found:
        assert {"test.ungated.miou", "test.ungated.iou.TE", "valid/iou.TE"} <= set(run.data.metrics)
        steps[run.info.run_name] = [item.step for item in client.get_metric_history(run.info.run_id, "loss")]
        kept = {item.path.rpartition("/")[2] for item in client.list_artifacts(run.info.run_id, "figures")}
        assert kept == {"test_confusion.png", "test_iou.png", "test_risk_coverage.png"}
        assert len(client.list_artifacts(run.info.run_id, "images")) > 0
    assert len({tuple(sorted(item)) for item in steps.values()}) == 1
    assert all(len(set(item)) == len(item) for item in steps.values())


def test_what_the_page_says_about_comparing_them_works(swept, texts, runs):
    swept.run("bash", "-euo", "pipefail", "-c", texts[1])
    page = (swept.root / "dvc_plots/index.html").read_text()
    for text in ("Segmenter, loss", "Test IoU per class", "Test confusion matrix", "lr-1", "lr-3"):
        assert text in page
    assert (swept.root / "report.html").stat().st_size > 10_000
    assert "0.008" in (swept.root / "params.yaml").read_text()
    shown = json.loads(swept.run("dvc", "exp", "show", "--json").stdout)
    assert NAMES.keys() <= {
        row["name"] for item in shown for group in item["experiments"] or [] for row in group["revs"]
    }
