"""ResNet38, model A1 of Wu et al. 2016 (arXiv 1611.10080), with a width multiplier."""

from pathlib import Path

import torch
from mmengine.model import BaseModule
from torch import Tensor, nn
from torch.nn import functional

from wsss_mm.encoders import LAST, LEVELS, STEM_CHANNELS, Level, layers
from wsss_mm.registry import MODELS

BN_EPS = 1.001e-5
"""Epsilon of the published weights' batch normalisation."""

_BRANCH_START = 0.1


def scaled(channels: int, width: float) -> int:
    """Channel count at a width multiplier, at least 1."""
    return max(1, round(channels * width))


def _norm(channels: int) -> nn.BatchNorm2d:
    return nn.BatchNorm2d(channels, eps=BN_EPS)


def _conv(inputs: int, outputs: int, kernel: int, stride: int = 1, dilation: int = 1) -> nn.Conv2d:
    padding = dilation * (kernel // 2)
    return nn.Conv2d(inputs, outputs, kernel, stride=stride, padding=padding, dilation=dilation, bias=False)


def _activate(norm: nn.Module, x: Tensor) -> Tensor:
    return functional.relu(norm(x), inplace=True)


class PreActivationUnit(nn.Module):
    """BN-ReLU-conv twice. A projection (1x1) acts on the activated input; without one the raw input is added."""

    def __init__(self, inputs: int, mid: int, outputs: int, stride: int, dilations: tuple[int, int]) -> None:
        super().__init__()
        self.bn_branch2a = _norm(inputs)
        self.conv_branch2a = _conv(inputs, mid, 3, stride, dilations[0])
        self.bn_branch2b1 = _norm(mid)
        self.conv_branch2b1 = _conv(mid, outputs, 3, dilation=dilations[1])
        projects = stride != 1 or inputs != outputs
        self.conv_branch1 = _conv(inputs, outputs, 1, stride) if projects else None

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """The unit's raw output and its activated input."""
        activated = _activate(self.bn_branch2a, x)
        shortcut = x if self.conv_branch1 is None else self.conv_branch1(activated)
        branch = self.conv_branch2a(activated)
        return self.conv_branch2b1(_activate(self.bn_branch2b1, branch)) + shortcut, activated


class BottleneckUnit(nn.Module):
    """BN-ReLU-conv thrice (1x1, 3x3, 1x1), channel dropout before the last, 1x1 projection of the activated input."""

    def __init__(self, inputs: int, mids: tuple[int, int], outputs: int, *, dilation: int, dropout: float) -> None:
        super().__init__()
        narrow, mid = mids
        self.bn_branch2a = _norm(inputs)
        self.conv_branch2a = _conv(inputs, narrow, 1)
        self.bn_branch2b1 = _norm(narrow)
        self.conv_branch2b1 = _conv(narrow, mid, 3, dilation=dilation)
        self.bn_branch2b2 = _norm(mid)
        self.dropout = nn.Dropout2d(dropout)
        self.conv_branch2b2 = _conv(mid, outputs, 1)
        self.conv_branch1 = _conv(inputs, outputs, 1)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """The unit's raw output and its activated input."""
        activated = _activate(self.bn_branch2a, x)
        branch = self.conv_branch2a(activated)
        branch = self.conv_branch2b1(_activate(self.bn_branch2b1, branch))
        branch = self.conv_branch2b2(self.dropout(_activate(self.bn_branch2b2, branch)))
        return branch + self.conv_branch1(activated), activated


@MODELS.register_module()
class ResNet38(BaseModule):
    """ResNet38 backbone: output stride 8, 4096 * width channels.

    State-dict keys are those of the widely shared PyTorch conversions of the ImageNet weights.

    Args:
        width: Multiplier of every channel count; 1 is the published network (105.1 M parameters).
        out_indices: Levels to return, in order: 0 is b2, 1 b3, 2 b4, 3 b5, 4 b6, 5 b7. Each comes BN-ReLU'd: by
            the batch normalisation that opens the next level, the last one by bn7.
        init_cfg: mmengine initialisation.
    """

    cam_layers = tuple(name for name in layers() if name != LAST)

    def __init__(self, width: float = 1.0, out_indices: tuple[int, ...] = (5,), init_cfg: dict | None = None) -> None:
        super().__init__(init_cfg=init_cfg)
        if not all(0 <= index < len(LEVELS) for index in out_indices):
            raise ValueError(f"out_indices {out_indices} must be within 0..{len(LEVELS) - 1}")
        self.width = width
        self.out_indices = tuple(out_indices)
        inputs = scaled(STEM_CHANNELS, width)
        self.conv1a = _conv(3, inputs, 3)
        for level in LEVELS:
            outputs = scaled(level.out, width)
            for position, name in enumerate(level.unit_names()):
                self.add_module(name, self._unit(level, inputs, outputs, first=position == 0))
                inputs = outputs
        self.bn7 = _norm(inputs)
        self.out_channels = tuple(scaled(LEVELS[index].out, width) for index in self.out_indices)

    def _unit(self, level: Level, inputs: int, outputs: int, *, first: bool) -> nn.Module:
        mid = scaled(level.mid, self.width)
        if level.bottleneck:
            mids = (mid, scaled(2 * level.mid, self.width))
            return BottleneckUnit(inputs, mids, outputs, dilation=level.dilation, dropout=level.dropout)
        dilations = (level.first_dilation if first else level.dilation, level.dilation)
        return PreActivationUnit(inputs, mid, outputs, level.stride if first else 1, dilations)

    def init_weights(self) -> None:
        """He initialisation for training from scratch; pretrained weights are loaded over it.

        The last convolution of every unit starts at a tenth, so that the network begins as its shortcuts and deepens
        as it learns (cf. Goyal et al. 2017, De & Smith 2020): it learns several times faster.
        """
        super().init_weights()
        if self.init_cfg:
            return
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
        for module in self.modules():
            if isinstance(module, PreActivationUnit | BottleneckUnit):
                last = module.conv_branch2b1 if isinstance(module, PreActivationUnit) else module.conv_branch2b2
                with torch.no_grad():
                    last.weight.mul_(_BRANCH_START)

    def load_pretrained(self, path: Path | str) -> None:
        """Begin with the weights of a .params or .pth file, see `load_backbone_weights`."""
        from wsss_mm.models.pretrained import load_backbone_weights

        self.load_state_dict(load_backbone_weights(path, self.width), strict=False)

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        """Feature maps of (N, 3, H, W) normalised RGB, at `out_indices`."""
        features: dict[int, Tensor] = {}
        x = self.conv1a(x)
        for index, level in enumerate(LEVELS):
            for position, name in enumerate(level.unit_names()):
                x, activated = getattr(self, name)(x)
                if position == 0:
                    features[index - 1] = activated
        if len(LEVELS) - 1 in self.out_indices:
            features[len(LEVELS) - 1] = _activate(self.bn7, x)
        return tuple(features[index] for index in self.out_indices)


def meta_state_dict(width: float = 1.0) -> dict[str, Tensor]:
    """Names and shapes of ResNet38's state dict, without memory."""
    with torch.device("meta"):
        return dict(ResNet38(width).state_dict())
