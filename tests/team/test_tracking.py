"""Two people log, register, promote and migrate at the same time: no run and no metric is lost, one is champion."""

import json
import subprocess
import sys
import time
from pathlib import Path

import pandas as pd
import pytest

from tests.team.servers import ADMIN_PASSWORD, BUCKET

pytestmark = [pytest.mark.team, pytest.mark.leaves("connections to servers that all of these tests share")]

RUNS, STEPS, EACH = 2, 25, 2  # runs a process, points a metric, processes a person
LOG = """
import pathlib, sys, time
from wsss_mm.tracking import training_run
from wsss_mm.active_run import active_run
pathlib.Path(f"{sys.argv[2]}.{sys.argv[1]}").touch()
while not pathlib.Path(sys.argv[2]).exists():
    time.sleep(0.01)
for number in range(int(sys.argv[3])):
    with training_run("crowd", {"who": sys.argv[1], "number": number}):
        for step in range(int(sys.argv[4])):
            active_run().metrics({"loss": step / 7, "iou.TE": step / 9}, step)
"""
PROMOTE = """
import pathlib, sys, time
from wsss_mm.errors import InputError
from wsss_mm.tracking import promotion
def compared(*_):
    pathlib.Path(f"{sys.argv[2]}.{sys.argv[1]}").touch()
    while not pathlib.Path(sys.argv[2]).exists():
        time.sleep(0.001)
    return []
promotion.objections = compared
try:
    print(promotion.promote("raced", sys.argv[1]).version)
except InputError as error:
    sys.exit(f"error: {error}")
"""


@pytest.fixture
def client(site, monkeypatch):
    """The admin's view of the server."""
    monkeypatch.setenv("MLFLOW_TRACKING_URI", site.mlflow)
    monkeypatch.setenv("MLFLOW_TRACKING_USERNAME", "admin")
    monkeypatch.setenv("MLFLOW_TRACKING_PASSWORD", ADMIN_PASSWORD)
    from wsss_mm.tracking.store import connect

    return connect().MlflowClient()


def at_once(processes: dict[str, subprocess.Popen[str]], go: Path) -> dict[str, tuple[int, str, str]]:
    """Wait until each has said that it is ready, let all go, and collect exit codes and outputs."""
    end = time.monotonic() + 300
    while not all(Path(f"{go}.{name}").exists() for name in processes) and time.monotonic() < end:
        assert not [process for process in processes.values() if process.poll()]
        time.sleep(0.05)
    go.touch()
    done = {name: process.communicate() for name, process in processes.items()}
    return {name: (processes[name].returncode, *outputs) for name, outputs in done.items()}


def experiment_runs(client, name: str) -> list:
    return client.search_runs([client.get_experiment_by_name(name).experiment_id])


def test_a_crowd_loses_nothing(alice, bob, client, tmp_path):
    go, users = tmp_path / "go", {f"{user.name}{index}": user for user in (alice, bob) for index in range(EACH)}
    python = [sys.executable, "-c", LOG]
    started = {name: user.start(*python, name, str(go), str(RUNS), str(STEPS)) for name, user in users.items()}
    for name, (code, _, err) in at_once(started, go).items():
        assert code == 0, f"{name}: {err}"
    runs = experiment_runs(client, "crowd")
    assert sorted((run.data.params["who"], run.data.params["number"]) for run in runs) == sorted(
        (name, str(number)) for name in users for number in range(RUNS)
    )
    for run in runs:
        assert run.info.status == "FINISHED"
        for key, divisor in (("loss", 7), ("iou.TE", 9)):
            points = [(point.step, point.value) for point in client.get_metric_history(run.info.run_id, key)]
            assert sorted(points) == [(step, step / divisor) for step in range(STEPS)]
        assert "environment.txt" in {item.path for item in client.list_artifacts(run.info.run_id)}


def test_experiments_of_both_are_whole(alice, bob, client):
    bob.run("dvc", "pull")
    started = {
        user: user.start("dvc", "exp", "run", "-n", f"of-{user.name}", "-S", f"seed={seed}", "-s", "train_segmenter")
        for user, seed in ((alice, 1), (bob, 2))
    }
    for user, process in started.items():
        out, err = process.communicate()
        assert process.returncode == 0, f"{user.name}: {out}\n{err}"
    runs = {run.info.run_name: run for run in experiment_runs(client, "segmenter")}
    for user in started:
        run = runs[f"of-{user.name}"]
        assert (run.info.status, run.data.tags["dvc.experiment"]) == ("FINISHED", f"of-{user.name}")
        curves = pd.read_csv(user.root / "reports/plots/segmenter_curves.csv").dropna(subset=["miou"])
        logged = {point.step: point.value for point in client.get_metric_history(run.info.run_id, "valid/miou")}
        assert logged == pytest.approx(dict(zip(curves["step"], curves["miou"], strict=True)), abs=1e-5)
        user.run("git", "checkout", "-q", ".")
        user.run("dvc", "checkout", "-q")


def test_the_model_arrives_through_the_registry(alice, bob):
    table = bob.wsss_mm("models", "list").stdout
    assert "champion" in table
    code = (
        "from wsss_mm.tracking import download_model; from wsss_mm.files import digest; "
        "print(digest(download_model('models:/segmenter@champion') / 'weights.pth', 'md5'))"
    )
    weights = json.loads((alice.root / "reports/registered.json").read_text())["weights_md5"]
    assert bob.python(code).stdout.split()[-1] == weights


def test_a_race_has_one_champion(alice, bob, client, tmp_path):
    first = client.get_model_version_by_alias("segmenter", "champion")
    client.create_registered_model("raced")
    for _ in range(5):
        client.create_model_version("raced", first.source, first.run_id, model_id=first.source.removeprefix("models:/"))
    client.set_registered_model_alias("raced", "champion", "1")
    go, users = tmp_path / "go", {"2": alice, "3": bob, "4": alice, "5": bob}
    python = [sys.executable, "-c", PROMOTE]
    done = at_once({version: user.start(*python, version, str(go)) for version, user in users.items()}, go)
    winners = [version for version, (code, _, _) in done.items() if code == 0]
    assert len(winners) == 1, done
    assert str(client.get_model_version_by_alias("raced", "champion").version) == winners[0]
    moved = [item.version for item in client.search_model_versions("name = 'raced'") if "promotion.time" in item.tags]
    assert [str(version) for version in moved] == winners
    for version, (_, _, err) in done.items():
        if version not in winners:
            (line,) = [line for line in err.splitlines() if "error" in line]
            assert "look again" in line


def test_an_upload_that_was_cut_off_is_repeated(alice, bob, client, site):
    code = (
        "from pathlib import Path; from wsss_mm.tracking import register_segmenter; "
        "print(register_segmenter(Path('models/segmenter'), 'repeated').version)"
    )
    site.gate.cut_after = 4
    done = alice.python(code, check=False)
    site.gate.cut_after = None
    assert done.returncode != 0
    assert alice.python(code).stdout.split()[-1] == "1"
    assert len(client.search_model_versions("name = 'repeated'")) == 1
    code = "from wsss_mm.tracking import download_model; print(download_model('models:/repeated/1'))"
    folder = Path(bob.python(code).stdout.split()[-1])
    for name in ("weights.pth", "model.json"):
        assert (folder / name).read_bytes() == (alice.root / "models/segmenter" / name).read_bytes()


def test_a_damaged_model_is_found_and_not_used(bob, site):
    import boto3

    keys = {"aws_access_key_id": "admin", "aws_secret_access_key": "secret", "region_name": "us-east-1"}
    s3 = boto3.client("s3", endpoint_url=site.s3, **keys)
    pages = s3.get_paginator("list_objects_v2").paginate(Bucket=BUCKET, Prefix="mlflow/")
    names = [item["Key"] for page in pages for item in page["Contents"] if item["Key"].endswith("/weights.pth")]
    kept = {name: s3.get_object(Bucket=BUCKET, Key=name)["Body"].read() for name in names}
    for name, content in kept.items():
        s3.put_object(Bucket=BUCKET, Key=name, Body=content[:-1] + b"x")
    code = (
        "import sys; from wsss_mm.errors import InputError; from wsss_mm.tracking import download_model\n"
        "try: download_model('models:/segmenter@champion')\n"
        "except InputError as error: sys.exit(f'error: {error}')"
    )
    done = bob.python(code, check=False)
    for name, content in kept.items():
        s3.put_object(Bucket=BUCKET, Key=name, Body=content)
    assert kept
    assert done.returncode == 1
    assert "weights.pth: damaged" in done.stderr
    bob.python(code)


def test_a_store_of_ones_own_moves_to_the_server(alice, client, tmp_path):
    own = {"MLFLOW_TRACKING_URI": f"sqlite:///{tmp_path}/mlflow.db", "DVC_ROOT": str(tmp_path)}
    code = (
        "from pathlib import Path; from wsss_mm.active_run import active_run\n"
        "from wsss_mm.tracking import register_segmenter, tag_weights, training_run\n"
        "with training_run('own', {'lr': 0.1}, [Path('models/segmenter')]):\n"
        "    [active_run().metrics({'loss': 1 / (step + 1)}, step) for step in range(30)]\n"
        "    tag_weights(Path('models/segmenter/weights.pth'))\n"
        "register_segmenter(Path('models/segmenter'), 'moved', tags={'test.miou': 0.5})"
    )
    alice.run(sys.executable, "-c", code, **own)
    for _ in range(2):
        done = alice.run(sys.executable, "deploy/migrate_store.py", str(tmp_path / "mlflow.db"))
        assert "1 runs and 1 model versions" in done.stdout
    (run,) = experiment_runs(client, "own")
    points = client.get_metric_history(run.info.run_id, "loss")
    assert [(point.step, point.value) for point in points] == [(step, 1 / (step + 1)) for step in range(30)]
    assert run.data.params == {"lr": "0.1"}
    assert [item.dataset.name for item in run.inputs.dataset_inputs] == ["models/segmenter"]
    (version,) = client.search_model_versions("name = 'moved'")
    assert (version.run_id, version.tags["test.miou"]) == (run.info.run_id, "0.5")
    assert set(client.get_registered_model("moved").aliases) == {"champion", "challenger"}
    folder = "from wsss_mm.tracking import download_model; print(download_model('models:/moved@champion'))"
    weights = Path(alice.python(folder).stdout.split()[-1]) / "weights.pth"
    assert weights.read_bytes() == (alice.root / "models/segmenter/weights.pth").read_bytes()
