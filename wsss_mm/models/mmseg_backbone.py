"""Backbones of mmseg, named as any mmseg config names them."""

from collections.abc import Collection, Iterator, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from wsss_mm.models.foreign import ForeignBackbone, Stages
from wsss_mm.models.weight_files import counters
from wsss_mm.registry import MODELS

ARCHITECTURES = (
    *("ResNet", "ResNetV1c", "ResNetV1d", "ResNeXt", "ResNeSt", "HRNet"),
    *("MobileNetV2", "MobileNetV3", "SwinTransformer", "MixVisionTransformer"),
)
"""Those that were read: they make layers of the numbers they are given, and open no file unless told to."""

_FOREIGN = ("init_cfg", "pretrained", "type")
_SIDE = 128  # px of the image that a network is asked with


@MODELS.register_module()
class MmsegBackbone(ForeignBackbone):
    """A backbone that mmseg registers: one of `ARCHITECTURES`, see `ForeignBackbone`.

    Its stages are what it returns, called `stage1` and so on. Arguments are those of an mmseg config, without
    `init_cfg` and `pretrained`: files are read here, the network's own, or those of an mmseg model that has it.
    """

    @classmethod
    def _built(cls, architecture: str, arguments: dict[str, Any]) -> tuple[nn.Module, Stages]:
        net = _network(architecture, arguments)
        return net, _stages(net)

    def _stem(self) -> Iterator[nn.Module]:
        for name in ("stem", "conv1", "norm1", "bn1", "conv2", "bn2", "patch_embed"):
            if isinstance(getattr(self.net, name, None), nn.Module):
                yield getattr(self.net, name)

    def _maps_of_padded(self, images: Tensor, wanted: Collection[str]) -> Mapping[str, Tensor]:
        return dict(zip(self.stages, self._run(self.net, images), strict=True))

    def _may_lack(self) -> Collection[str]:
        return counters(self.net)


def _network(architecture: str, arguments: dict[str, Any]) -> Any:
    from mmengine import ConfigDict
    from mmengine.registry import DefaultScope
    from mmseg.registry import MODELS as STOCK

    from wsss_mm.models.trust import register_stock

    if architecture not in ARCHITECTURES:
        raise ValueError(f"no architecture {architecture!r}; choose from {', '.join(ARCHITECTURES)}")
    if foreign := [name for name in arguments if name in _FOREIGN]:
        raise ValueError(f"argument {foreign[0]} of {architecture} is none of a backbone's here")
    register_stock()
    with DefaultScope.overwrite_default_scope("mmseg"):
        return STOCK.build(ConfigDict(type=architecture, **arguments))


def _stages(net: nn.Module) -> Stages:
    """Channels and strides of what a network makes of an image."""
    device = next(net.parameters()).device
    was_training = net.training
    net.eval()
    with torch.no_grad():
        maps = net(torch.zeros(1, 3, _SIDE, _SIDE, device=device))
    net.train(was_training)
    return {f"stage{index}": (item.shape[1], _SIDE // item.shape[2]) for index, item in enumerate(maps, 1)}
