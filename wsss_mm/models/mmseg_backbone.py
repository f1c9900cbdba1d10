"""Backbones of mmseg, named as any mmseg config names them."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from wsss_mm.models.backbones.protocol import Backbone, Freeze
from wsss_mm.models.safetensors_files import published_weights
from wsss_mm.models.tokens import fitted, pad_to
from wsss_mm.models.weight_files import counters, load_checked, shapes_in
from wsss_mm.registry import MODELS

ARCHITECTURES = (
    *("ResNet", "ResNetV1c", "ResNetV1d", "ResNeXt", "ResNeSt", "HRNet"),
    *("MobileNetV2", "MobileNetV3", "SwinTransformer", "MixVisionTransformer"),
)
"""Those that were read: they make layers of the numbers they are given, and open no file unless told to."""

_FOREIGN = ("init_cfg", "pretrained", "type")
_SIDE = 128  # px of the image that a network is asked with


@MODELS.register_module()
class MmsegBackbone(Backbone):
    """A backbone that mmseg registers. Its stages are what it returns, called `stage1` and so on.

    Args:
        architecture: One of `ARCHITECTURES`.
        arguments: Of it, as in an mmseg config, without `init_cfg` and `pretrained`: files are read here.
        out_stages: See `Backbone`.
        freeze: Which parts rest, see `Backbone.freeze`.
        activate: Whether the last stage loses what is negative: Grad-CAM++ has a closed form over what is not.
        with_checkpointing: See `Backbone`.
        init_cfg: mmengine initialisation.
    """

    def __init__(
        self,
        architecture: str,
        arguments: Mapping[str, Any] | None = None,
        *,
        out_stages: Sequence[str] | None = None,
        freeze: Freeze = "none",
        activate: bool = True,
        with_checkpointing: bool = False,
        init_cfg: dict | None = None,
    ) -> None:
        net = _network(architecture, dict(arguments or {}))
        super().__init__(_stages(net), out_stages=out_stages, with_checkpointing=with_checkpointing, init_cfg=init_cfg)
        self.architecture, self.activate = architecture, activate
        self.size_multiple = self.stages[self.last][1]
        self.net: Any = net
        self.freeze(freeze)

    def _stem(self) -> Iterator[nn.Module]:
        for name in ("stem", "conv1", "norm1", "bn1", "conv2", "bn2", "patch_embed"):
            if isinstance(getattr(self.net, name, None), nn.Module):
                yield getattr(self.net, name)

    def _maps(self, images: Tensor, wanted: Collection[str]) -> dict[str, Tensor]:
        padded, shares = pad_to(images, self.size_multiple)
        maps = dict(zip(self.stages, self._run(self.net, padded), strict=True))
        return fitted(maps, wanted, shares, self.last if self.activate else None)

    def load_pretrained(self, path: Path | str, sha256: str | None = None) -> None:
        """Begin with the weights of a file: the network's own, or those of an mmseg model that has it.

        Args:
            path: The file, of safetensors or of `torch.save`.
            sha256: Which it must have; None for any.

        Raises:
            InputError: it is missing, damaged, another one, or of another network.
        """
        state = published_weights(path, shapes_in(self.net.state_dict()), sha256, self.architecture)
        load_checked(self.net, state, path, self.architecture, may_lack=counters(self.net))


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


def _stages(net: nn.Module) -> dict[str, tuple[int, int]]:
    """Channels and strides of what a network makes of an image."""
    device = next(net.parameters()).device
    was_training = net.training
    net.eval()
    with torch.no_grad():
        maps = net(torch.zeros(1, 3, _SIDE, _SIDE, device=device))
    net.train(was_training)
    return {f"stage{index}": (item.shape[1], _SIDE // item.shape[2]) for index, item in enumerate(maps, 1)}
