"""The decoder that sees the image: what it makes of coarse features is as fine as the image lets it be."""

import torch

from wsss_mm.models.backbones import backbone_config, out_channels, segmenter_stages
from wsss_mm.models.guided_head import ImageGuidedHead


def head(channels=8):
    torch.manual_seed(0)
    return ImageGuidedHead(
        in_channels=(16, 3), in_index=(1, 2), channels=channels, num_classes=4, norm_cfg={"type": "BN"},
        align_corners=False, loss_decode={"type": "mmseg.CrossEntropyLoss"},
    ).eval()  # fmt: skip


@torch.no_grad()
def test_it_has_half_the_resolution_of_an_image_of_any_size():
    maps = [torch.zeros(2, 5, 8, 8), torch.randn(2, 16, 4, 5), torch.randn(2, 3, 64, 77)]
    assert head()(maps).shape == (2, 4, 32, 39)


def test_it_sees_the_image_and_the_features():
    features, image = torch.randn(1, 16, 4, 4, requires_grad=True), torch.randn(1, 3, 64, 64, requires_grad=True)
    found = head()([features, features, image])
    found[0, 0, 10, 10].backward()
    assert features.grad.abs().sum() > 0
    near, far = image.grad[0, :, 16:26, 16:26].abs().sum(), image.grad[0, :, 48:, 48:].abs().sum()
    assert near > 0
    assert far == 0  # a border is where the image has it, and not elsewhere


def test_a_backbone_gives_it_the_image():
    stages = segmenter_stages("efficientnet_lite0", None, "guided")
    assert stages == ("stage6", "head", "image")
    assert out_channels(backbone_config("efficientnet_lite0", out_stages=stages)) == (192, 1280, 3)
    assert segmenter_stages("resnet38", None, "psp") == ("b5", "b7")
    assert segmenter_stages("resnet38", "b4", "psp") == ("b4", "b7")
