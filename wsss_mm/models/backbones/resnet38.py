"""ResNet38, model A1 of Wu et al. 2016 (arXiv 1611.10080), with a width multiplier."""

from collections.abc import Collection, Iterator, Sequence
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional

from wsss_mm.encoders import LAST, LAYERS, LEVELS, STEM_CHANNELS, ResNetLevel, check_sha256
from wsss_mm.models.backbones.protocol import Backbone, Freeze
from wsss_mm.models.resnet38_files import read_weights
from wsss_mm.models.weight_files import shapes_in
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
class ResNet38(Backbone):
    """ResNet38: output stride 8, 4096 * width channels; stages b2 to b7.

    Each stage comes BN-ReLU'd: by the batch normalisation that opens the next one, the last by bn7. State-dict keys are
    those of the widely shared PyTorch conversions of the ImageNet weights.

    Args:
        width: Multiplier of every channel count; 1 is the published network (105.1 M parameters).
        out_indices: Stages to return, in order, by their number: 0 is b2, 5 is b7.
        out_stages: The same by name, and whatever else `Backbone` gives; it goes before `out_indices`.
        freeze: Which parts rest, see `Backbone.freeze`; the stem is conv1a and b2.
        with_checkpointing: See `Backbone`.
        init_cfg: mmengine initialisation.
    """

    cam_layers = tuple(name for name in LAYERS if name != LAST)

    def __init__(
        self,
        width: float = 1.0,
        out_indices: Sequence[int] = (5,),
        *,
        out_stages: Sequence[str] | None = None,
        freeze: Freeze = "none",
        with_checkpointing: bool = False,
        init_cfg: dict | None = None,
    ) -> None:
        if not all(0 <= index < len(LEVELS) for index in out_indices):
            raise ValueError(f"out_indices {out_indices} must be within 0..{len(LEVELS) - 1}")
        if out_stages is None:
            out_stages = [LEVELS[index].name for index in out_indices]
        super().__init__(
            dict(_stages(width)), out_stages=out_stages, with_checkpointing=with_checkpointing, init_cfg=init_cfg
        )
        self.width = width
        inputs = scaled(STEM_CHANNELS, width)
        self.conv1a = _conv(3, inputs, 3)
        for level in LEVELS:
            outputs = scaled(level.out, width)
            for position, name in enumerate(level.unit_names()):
                self.add_module(name, self._unit(level, inputs, outputs, first=position == 0))
                inputs = outputs
        self.bn7 = _norm(inputs)
        self.freeze(freeze)

    def _unit(self, level: ResNetLevel, inputs: int, outputs: int, *, first: bool) -> nn.Module:
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

    @property
    def last_layer(self) -> str:
        """The batch normalisation that closes b7."""
        return LAST

    def load_pretrained(self, path: Path | str, sha256: str | None = None) -> None:
        """See `Backbone.load_pretrained`, of a .params or .pth file: `read_weights`."""
        check_sha256(path, sha256)
        self.load_state_dict(read_weights(path, shapes_in(self.state_dict()), self.width), strict=False)

    def _stem(self) -> Iterator[nn.Module]:
        yield from (self.conv1a, *(self.get_submodule(name) for name in LEVELS[0].unit_names()))

    def _maps(self, images: Tensor, wanted: Collection[str]) -> dict[str, Tensor]:
        found: dict[str, Tensor] = {}
        x, before = self.conv1a(images), ""
        for level in LEVELS:
            for position, name in enumerate(level.unit_names()):
                x, activated = self._run(self.get_submodule(name), x)
                if position == 0 and before in wanted:
                    found[before] = activated
            before = level.name
        if before in wanted:
            found[before] = _activate(self.bn7, x)
        return found


def _stages(width: float) -> Iterator[tuple[str, tuple[int, int]]]:
    stride = 1
    for level in LEVELS:
        stride *= level.stride
        yield level.name, (scaled(level.out, width), stride)


def meta_state_dict(width: float = 1.0) -> dict[str, Tensor]:
    """Names and shapes of ResNet38's state dict, without memory."""
    with torch.device("meta"):
        return dict(ResNet38(width).state_dict())
