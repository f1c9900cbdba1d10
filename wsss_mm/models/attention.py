"""Progressive dropout attention of Han et al., Medical Image Analysis 2022 (METHOD section 2)."""

from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

from wsss_mm.registry import MODELS

AttentionVariant = Literal["off", "published"]


@MODELS.register_module()
class ProgressiveDropoutAttention(nn.Module):
    """Erases the most discriminative region of each class, so that the classifier learns from the rest as well.

    With class maps M_c = ReLU(W_c * X) and t_c = g max M_c per image and class: M'_c = M_c where M_c <= t_c, else 0;
    A = mean_c M'_c; X' = X A, broadcast over channels. In training only.

    g is a pure function of the epoch, so that a resumed training continues with the value it had.

    Args:
        variant: `published`, or `off`, which passes features through unchanged.
        warmup: Epochs without attention.
        decay: g = decay ** epoch,
        floor: never below this.
    """

    def __init__(
        self, variant: AttentionVariant = "published", warmup: int = 3, decay: float = 0.98, floor: float = 0.65
    ) -> None:
        super().__init__()
        if variant not in ("off", "published"):
            raise ValueError(f"attention variant {variant!r}: off or published")
        self.variant = variant
        self.warmup = warmup
        self.decay = decay
        self.floor = floor
        self.epoch = 0

    def gamma(self, epoch: int) -> float | None:
        """Share of each class map's maximum that is kept at a 0-based epoch; None where the attention is off."""
        if self.variant == "off" or epoch < self.warmup:
            return None
        return max(self.decay**epoch, self.floor)

    def forward(self, features: Tensor, head_weight: Tensor) -> Tensor:
        """Attended features.

        Args:
            features: (N, K, h, w).
            head_weight: (C, K) rows of the linear head, or its (C, K, 1, 1) kernel.
        """
        gamma = self.gamma(self.epoch)
        if not self.training or gamma is None:
            return features
        return features * attention_map(features, head_weight, gamma)


def attention_map(features: Tensor, head_weight: Tensor, gamma: float) -> Tensor:
    """A of (N, 1, h, w): the mean over classes of the class maps without their peaks; at least in float32."""
    kernel = head_weight.reshape(*head_weight.shape[:2], 1, 1)
    maps = functional.relu(functional.conv2d(features, kernel))
    maps = maps.to(torch.promote_types(maps.dtype, torch.float32))  # mixed precision must not blur the threshold
    kept = maps <= gamma * maps.amax(dim=(2, 3), keepdim=True)
    return (maps * kept).mean(dim=1, keepdim=True)
