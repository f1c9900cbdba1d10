"""Grad-CAM++ against pytorch-grad-cam, of which a stand-in does the same here."""

import sys

import pytest

from benchmarks import cam_peer
from benchmarks.command import Missing, settings

STAND_IN = """
from importlib import import_module
import torch
from torch.nn import functional
import torchvision.transforms
from wsss_mm.cam import grad_cam_plus_plus_autograd
from wsss_mm.cam.pseudo_label import min_max

import_module("pytorch_grad_cam.utils.model_targets")

class GradCAMPlusPlus:
    def __init__(self, model, target_layers):
        self.model, (self.layer,) = model, target_layers
    def __enter__(self):
        return self
    def __exit__(self, *_):
        pass
    def __call__(self, images, targets):
        seen = []
        def keep(module, inputs, output):
            seen.append(output.detach().requires_grad_())
            return seen[0]
        with self.layer.register_forward_hook(keep):
            logits = self.model(images)
        maps = grad_cam_plus_plus_autograd(seen[0], logits, eps=1e-6)[:, targets[0].category, None]
        maps = functional.interpolate(maps, size=images.shape[2:], mode="bilinear", align_corners=False)
        return min_max(maps, each_class=True)[:, 0].numpy() * {factor}
"""
TARGETS = """
class ClassifierOutputTarget:
    def __init__(self, category):
        self.category = category
"""


@pytest.fixture
def peer(tmp_path, monkeypatch):
    """Makes a folder of the package, whose maps are multiplied."""
    monkeypatch.setattr(sys, "path", list(sys.path))

    def made(factor=1.0):
        package = tmp_path / "pytorch_grad_cam"
        (package / "utils").mkdir(parents=True)
        (package / "__init__.py").write_text(STAND_IN.replace("{factor}", str(factor)))
        (package / "utils" / "__init__.py").touch()
        (package / "utils" / "model_targets.py").write_text(TARGETS)
        about = tmp_path / "grad_cam-0.1.dist-info"
        about.mkdir()
        (about / "METADATA").write_text("Metadata-Version: 2.1\nName: grad-cam\nVersion: 0.1\n")
        return settings(cam_peer.OPTIONS, quick=True, width=1 / 32, batch=1, peer=tmp_path)

    yield made
    for name in [name for name in sys.modules if name.startswith("pytorch_grad_cam")]:
        del sys.modules[name]


def test_each_scale_is_a_row_of_equal_maps(peer):
    rows = list(cam_peer.measure(peer()))
    assert [row.what.rpartition(" ")[2] for row in rows] == ["0.75", "1", "1.25"]
    assert {row.at_least for row in rows} == {4}
    assert rows[0].over_what == "pytorch-grad-cam 0.1, maps equal to 0.0001"
    assert not any(name.startswith("torchvision.transforms") for name in sys.modules)


def test_other_maps_are_not_compared(peer):
    with pytest.raises(SystemExit, match="differ by"):
        list(cam_peer.measure(peer(0.9)))


def test_without_the_peer_it_says_how_to_get_it(tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.setitem(sys.modules, "pytorch_grad_cam", None)  # as where it is not installed
    with pytest.raises(Missing, match="install"):
        list(cam_peer.measure(settings(cam_peer.OPTIONS, quick=True, peer=tmp_path)))
