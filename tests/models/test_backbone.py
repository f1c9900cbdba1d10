"""A backbone is asked for its channels, whatever its kind."""

import pytest
import torch
from torch import nn

from wsss_mm.errors import InputError
from wsss_mm.models import PatchClassifier, ResNet38, save_weights
from wsss_mm.models.backbones import channels_of, load_initial_weights, out_channels


@pytest.mark.parametrize(
    ("backbone", "channels"),
    [
        ({"type": "wsss_mm.ResNet38", "width": 1 / 8, "out_indices": (3, 5)}, (128, 512)),
        ({"type": "ResNetV1c", "depth": 18, "base_channels": 8, "stem_channels": 8, "out_indices": (2, 3)}, (32, 64)),
    ],
)
def test_channels(backbone, channels):
    assert out_channels(backbone) == channels


class Plain(nn.Module):
    """Says nothing of itself."""

    def __init__(self):
        super().__init__()
        self.conv, self.norm = nn.Conv2d(3, 7, 3), nn.BatchNorm2d(7)

    def forward(self, x):
        return (self.norm(self.conv(x)),)


def test_asking_changes_nothing():
    backbone = Plain().train()
    before = {key: value.clone() for key, value in backbone.state_dict().items()}
    assert channels_of(backbone) == (7,)
    assert backbone.training
    assert all(torch.equal(value, before[key]) for key, value in backbone.state_dict().items())


def test_a_classifier_of_mmsegs_backbone():
    backbone = {"type": "mmseg.ResNetV1c", "depth": 18, "base_channels": 8, "stem_channels": 8}
    model = PatchClassifier(backbone, 4, data_preprocessor={"type": "mmengine.ImgDataPreprocessor"})
    assert model.head.weight.shape == (4, 64, 1, 1)


def test_initial_weights(tmp_path):
    torch.manual_seed(0)
    one, two = ResNet38(1 / 64), ResNet38(1 / 64)
    save_weights({f"backbone.{key}": value for key, value in one.state_dict().items()}, tmp_path / "weights.pth")
    load_initial_weights(two, tmp_path / "weights.pth")
    assert all(torch.equal(value, two.state_dict()[key]) for key, value in one.state_dict().items())
    torch.manual_seed(1)
    plain, other = Plain(), Plain()
    save_weights({f"backbone.{key}": value for key, value in plain.state_dict().items()}, tmp_path / "plain.pth")
    load_initial_weights(other, tmp_path / "plain.pth")
    assert torch.equal(plain.conv.weight, other.conv.weight)
    with pytest.raises(InputError, match=r"weights\.pth: a Plain has no load_pretrained\(path\) to read it"):
        load_initial_weights(Plain(), tmp_path / "weights.pth")
