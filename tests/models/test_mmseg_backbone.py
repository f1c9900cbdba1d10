"""Backbones of mmseg, by the names that its configs have for them."""

import pytest
import torch

from wsss_mm.errors import InputError
from wsss_mm.models.mmseg_backbone import ARCHITECTURES, MmsegBackbone

SMALL = {"depth": 18, "base_channels": 8}


def test_stages_are_what_it_returns():
    torch.manual_seed(0)
    backbone = MmsegBackbone("ResNet", SMALL, out_stages=("stage2", "stage4"), activate=False).eval()
    assert backbone.stages == {"stage1": (8, 4), "stage2": (16, 8), "stage3": (32, 16), "stage4": (64, 32)}
    images = torch.randn(2, 3, 64, 96)
    for found, wanted in zip(backbone(images), [backbone.net(images)[index] for index in (1, 3)], strict=True):
        assert torch.equal(found, wanted)
    assert backbone(torch.randn(1, 3, 50, 70))[1].shape == (1, 64, 2, 3)  # padded


def test_weights_of_an_mmseg_model_are_its_own(tmp_path):
    torch.manual_seed(0)
    one, two = MmsegBackbone("ResNet", SMALL), MmsegBackbone("ResNet", SMALL)
    inside = {f"backbone.{name}": value for name, value in one.net.state_dict().items()}
    torch.save({"state_dict": inside | {"decode_head.conv_seg.bias": torch.zeros(2)}}, tmp_path / "model.pth")
    two.load_pretrained(tmp_path / "model.pth")
    assert all(torch.equal(value, two.net.state_dict()[name]) for name, value in one.net.state_dict().items())
    of_another = r"model\.pth: weights of another ResNet: layer1\.0\.conv1\.weight is \(8, 64, 3, 3\)"
    with pytest.raises(InputError, match=of_another):
        MmsegBackbone("ResNet", {"depth": 18, "base_channels": 16}).load_pretrained(tmp_path / "model.pth")


def test_what_opens_files_is_refused():
    for name, arguments in (("ResNet", {"pretrained": "x.pth"}), ("ResNet", {"init_cfg": {"type": "Pretrained"}})):
        with pytest.raises(ValueError, match="is none of a backbone's here"):
            MmsegBackbone(name, SMALL | arguments)
    with pytest.raises(ValueError, match="no architecture 'TIMMBackbone'; choose from ResNet"):
        MmsegBackbone("TIMMBackbone")


def test_all_that_are_named_are_registered():
    from mmseg.registry import MODELS

    assert [name for name in ARCHITECTURES if MODELS.get(name) is None] == []
