"""The MLflow backend logs to the run that is active and leaves its beginning and end to others."""

import shutil

import numpy as np
import pytest
import torch
from mlflow.artifacts import load_text
from mmengine.config import Config

from wsss_mm.active_run import active_run
from wsss_mm.engine.mlflow_backend import MLflowBackend, metric_name
from wsss_mm.registry import VISBACKENDS
from wsss_mm.tracking import training_run
from wsss_mm.tracking.store import connect

pytestmark = pytest.mark.xdist_group("mlflow")


@pytest.fixture(scope="module")
def client(empty_store, tmp_path_factory):
    """Of a store of its own."""
    root = tmp_path_factory.mktemp("store")
    shutil.copyfile(empty_store, root / "mlflow.db")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{root}/mlflow.db")
        patch.setenv("DVC_ROOT", str(root))
        yield connect().MlflowClient()


def test_it_is_registered_under_the_project_scope():
    assert isinstance(VISBACKENDS.build({"type": "wsss_mm.MLflowBackend", "save_dir": None}), MLflowBackend)


@pytest.mark.parametrize(
    ("name", "allowed"), [("valid/iou(TE)+%", "valid/iou_TE___"), ("loss_ce", "loss_ce"), ("lr.0-a b", "lr.0-a b")]
)
def test_metric_name(name, allowed):
    assert metric_name(name) == allowed


def test_without_a_run_nothing_happens():
    backend = MLflowBackend()
    backend.add_scalars({"loss": 1.0})
    backend.add_image("picture", np.zeros((4, 4, 3), np.uint8))
    backend.close()
    assert active_run() is None


def test_scalars_and_images_go_to_the_active_run_with_their_steps(client):
    backend = MLflowBackend()
    picture = np.full((8, 8, 3), (200, 10, 10), np.uint8)
    config = {"model": {"type": "PatchClassifier", "mean": [123.675, 116.28, 103.53], "scales": [[1, 2], [3, 4]]}}
    assert Config(config, format_python_code=False).pretty_text != Config(config).pretty_text
    with training_run("train_test", {}) as run:
        backend.add_scalars({"loss": torch.tensor(0.5), "iou (TE)": np.float32(0.25), "note": "text"}, step=3)
        backend.add_scalar("loss", 0.25, step=4)
        backend.add_image("examples/valid/p1", picture, step=100)
        backend.add_image("examples/valid/p1", picture, step=200)
        backend.add_config(Config(config, format_python_code=False))
        backend.close()
        assert active_run() is run.local  # close ends no run
        run_id = run.info.run_id
    history = client.get_metric_history(run_id, "loss")
    assert [(item.step, item.value) for item in history] == [(3, 0.5), (4, 0.25)]
    assert client.get_run(run_id).data.metrics["iou _TE_"] == 0.25
    images = [item.path for item in client.list_artifacts(run_id, "images") if item.path.endswith(".png")]
    assert sorted(path.split("+step+")[1].split("+")[0] for path in images) == ["100", "200"]
    assert load_text(f"runs:/{run_id}/config.py") == Config(config).pretty_text  # laid out for people
    assert all("examples~valid~p1" in path for path in images)
    loaded = connect().artifacts.load_image(f"runs:/{run_id}/{images[0]}")
    assert np.array_equal(np.asarray(loaded), picture)
