"""What the rest of the house asks a backbone: its channels, and where it begins."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import nn

from wsss_mm.errors import InputError
from wsss_mm.models.pretrained import backbone_part, read_state_dict

_SIDE = 64  # px of the image that a backbone is asked with, if it does not say its channels


def out_channels(backbone: Mapping[str, Any]) -> tuple[int, ...]:
    """Channels of the feature maps that a backbone gives, in their order.

    Args:
        backbone: Its config; it is built without memory.
    """
    from mmengine import ConfigDict
    from mmengine.registry import DefaultScope
    from mmseg.registry import MODELS

    from wsss_mm.models.trust import register_stock

    register_stock()
    with DefaultScope.overwrite_default_scope("mmseg"), torch.device("meta"):
        return channels_of(MODELS.build(ConfigDict(backbone)))


def channels_of(backbone: nn.Module) -> tuple[int, ...]:
    """The same of one that is built: its `out_channels`, or else those of what it makes of an image."""
    told = getattr(backbone, "out_channels", None)
    if told is not None:
        return tuple(told)
    device = next(backbone.parameters()).device
    was_training = backbone.training
    backbone.eval()
    with torch.no_grad():
        maps = backbone(torch.zeros(1, 3, _SIDE, _SIDE, device=device))
    backbone.train(was_training)
    return tuple(item.shape[1] for item in maps)


def load_initial_weights(backbone: nn.Module, path: Path | str) -> None:
    """Weights to begin with, as the backbone itself reads them, or those of the same backbone in a weights.pth.

    Raises:
        InputError: the file is none of its weights, or it takes none.
    """
    load = getattr(backbone, "load_pretrained", None)
    if load is not None:
        load(path)
        return
    found = backbone_part(read_state_dict(path)) if Path(path).suffix == ".pth" else {}
    wanted = backbone.state_dict()
    if any(key not in found or found[key].shape != value.shape for key, value in wanted.items()):
        raise InputError(
            f"{path}: a {type(backbone).__name__} has no load_pretrained(path) to read it, and these are not its own "
            "weights; begin without: in params.yaml, init: none or weights: null"
        )
    backbone.load_state_dict({key: found[key] for key in wanted})
