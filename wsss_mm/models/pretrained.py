"""ImageNet weights of ResNet38 for a network that is not built: its names and shapes are known by its width."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from torch import Tensor

from wsss_mm.models.backbones.resnet38 import meta_state_dict
from wsss_mm.models.resnet38_files import from_mxnet, read_mxnet_params, read_weights
from wsss_mm.models.weight_files import shapes_in

__all__ = ["load_backbone_weights", "read_mxnet_params", "resnet38_state_dict"]


def resnet38_state_dict(params: Mapping[str, np.ndarray], width: float | None = None) -> dict[str, Tensor]:
    """ResNet38's state dict from the arrays of the MXNet file; the ImageNet head (`linear1000_*`) is dropped.

    Args:
        params: See `read_mxnet_params`.
        width: Of the network whose shapes the arrays must have; None compares no shapes.

    Raises:
        InputError: an array belongs to no part of ResNet38, is missing or has another shape; all are named.
    """
    return from_mxnet(params, shapes_in(meta_state_dict(width or 1.0)), compared=width is not None)


def load_backbone_weights(path: Path | str, width: float = 1.0) -> dict[str, Tensor]:
    """ResNet38 weights for a backbone of a width, from a .params or a .pth file, see `read_weights`.

    Raises:
        InputError: the file is missing, damaged, unsafe, incomplete or of another width.
    """
    return read_weights(path, shapes_in(meta_state_dict(width)), width)
