"""A light decoder for coarse features: it sees the image itself, too."""

from collections.abc import Sequence
from typing import Any

import torch
from mmcv.cnn import ConvModule
from mmseg.models.decode_heads.decode_head import BaseDecodeHead
from torch import Tensor
from torch.nn import functional

from wsss_mm.registry import MODELS

_FINE = 2  # times as many px at half resolution as at a quarter: there are half as many channels


@MODELS.register_module()
class ImageGuidedHead(BaseDecodeHead):
    """Features of an encoder, upsampled twice, each time beside what a small convolutional stem sees of the image.

    Tokens of 16 px say which tissue lies where, the image where its border runs. The result has half the image's
    resolution.

    Args:
        in_channels: Of the features, and of the image, which is 3.
        in_index: Which of the backbone's maps these are, in this order.
        channels: Of the decoder; the stem has half of them at half the image's resolution.
        kwargs: As of mmseg's decode heads.
    """

    def __init__(self, in_channels: Sequence[int], in_index: Sequence[int], channels: int, **kwargs: Any) -> None:
        super().__init__(
            in_channels=list(in_channels),
            in_index=list(in_index),
            channels=channels,
            input_transform="multiple_select",
            **kwargs,
        )
        features, image = in_channels
        half = max(1, channels // _FINE)
        form: dict[str, Any] = {"norm_cfg": self.norm_cfg, "act_cfg": self.act_cfg}
        self.stem_half = ConvModule(image, half, 3, stride=2, padding=1, **form)
        self.stem_quarter = ConvModule(half, channels, 3, stride=2, padding=1, **form)
        self.lateral = ConvModule(features, channels, 1, **form)
        self.fuse_quarter = ConvModule(2 * channels, channels, 3, padding=1, **form)
        self.fuse_half = ConvModule(channels + half, channels, 3, padding=1, **form)

    def forward(self, inputs: Sequence[Tensor]) -> Tensor:
        """(N, C, H/2, W/2) logits of the backbone's maps."""
        features, image = self._transform_inputs(inputs)
        half = self.stem_half(image)
        quarter = self.stem_quarter(half)
        x = self.fuse_quarter(torch.cat([self._as_large_as(quarter, self.lateral(features)), quarter], dim=1))
        x = self.fuse_half(torch.cat([self._as_large_as(half, x), half], dim=1))
        return self.cls_seg(x)

    def _as_large_as(self, other: Tensor, x: Tensor) -> Tensor:
        return functional.interpolate(x, other.shape[-2:], mode="bilinear", align_corners=self.align_corners)
