"""Online noise suppression: pixels that disagree with a confident prediction weigh less (METHOD section 4).

The patent US 11,935,279 B1 and Pan et al., Eng. Appl. of AI 156 (2025) 111100; the family begins with Li et al.,
OEEM, MICCAI 2022.
"""

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

from wsss_mm.registry import MODELS
from wsss_mm.vocabulary import IGNORE

LossVariant = Literal["onss", "onss_margin", "ce"]
LOSS_VARIANTS = ("onss", "onss_margin", "ce")


@torch.no_grad()
def noise_suppression_weights(
    logits: Tensor, target: Tensor, ignore_index: int = IGNORE, variant: LossVariant = "onss"
) -> Tensor:
    """Weight of every pixel's cross-entropy L.

    Per image and over its valid pixels, w = exp(-L) / mean(exp(-L)): their mean is 1. An image with a single class
    keeps w = 1. `onss_margin` multiplies by max_c p - min_c p. Ignored pixels weigh 0.

    Args:
        logits: (N, C, H, W), any float type; computed in float32.
        target: (N, H, W) integers, 0..C-1 or `ignore_index`.
        ignore_index: Value of pixels without a label.
        variant: `onss`, `onss_margin` or `ce` (1 everywhere).

    Returns:
        (N, H, W) float32, without gradient.

    Examples:
        Four pixels of one image, two classes. The network is sure of each; the third label contradicts it, and the
        last pixel has none.

        >>> logits = torch.tensor([[4.0, -4.0, 4.0, 4.0], [-4.0, 4.0, -4.0, -4.0]]).reshape(1, 2, 1, 4)
        >>> target = torch.tensor([[[0, 1, 1, 255]]])
        >>> [round(weight, 3) for weight in noise_suppression_weights(logits, target).flatten().tolist()]
        [1.5, 1.5, 0.001, 0.0]
    """
    logits = _at_least_float32(logits)
    return _weights(_cross_entropy(logits, target, ignore_index), logits, target, ignore_index, variant)


def _weights(losses: Tensor, logits: Tensor, target: Tensor, ignore_index: int, variant: str) -> Tensor:
    _check_variant(variant)
    valid = target != ignore_index
    if variant == "ce":
        return valid.to(losses.dtype)
    image = (1, 2)  # the minimum is subtracted so that the largest term is 1, whatever the logits
    lowest = losses.masked_fill(~valid, torch.inf).amin(image, keepdim=True)
    unnormalized = torch.exp(lowest - losses).masked_fill(~valid, 0)
    count = valid.sum(image, keepdim=True)
    weights = unnormalized * (count / unnormalized.sum(image, keepdim=True).clamp_min(1))
    if variant == "onss_margin":
        probabilities = logits.softmax(1)
        weights = weights * (probabilities.amax(1) - probabilities.amin(1))
    weights = torch.where(_single_class(target, valid), torch.ones_like(weights), weights)
    return weights.masked_fill(~valid, 0)


def _single_class(target: Tensor, valid: Tensor) -> Tensor:
    """(N, 1, 1): whether an image's valid pixels are all of one class."""
    limits = torch.iinfo(target.dtype)
    highest = target.masked_fill(~valid, limits.min).amax((1, 2), keepdim=True)
    lowest = target.masked_fill(~valid, limits.max).amin((1, 2), keepdim=True)
    return highest == lowest


def _cross_entropy(logits: Tensor, target: Tensor, ignore_index: int) -> Tensor:
    return functional.cross_entropy(logits, target.long(), reduction="none", ignore_index=ignore_index)


def _at_least_float32(logits: Tensor) -> Tensor:
    return logits if logits.dtype == torch.float64 else logits.float()


def _check_variant(variant: str) -> None:
    if variant not in LOSS_VARIANTS:
        raise ValueError(f"loss variant {variant!r}: one of {', '.join(LOSS_VARIANTS)}")


@MODELS.register_module()
class NoiseSuppressedCrossEntropyLoss(nn.Module):
    """Mean over valid pixels of w L, with mmseg's loss signature.

    Args:
        variant: `onss` (the patent), `onss_margin` (as the authors released it) or `ce` (plain cross-entropy).
        loss_weight: Multiplies the loss.
        class_weight: C factors of the pixels, by their label; the mean is weighted by them, as in torch and mmseg. They
            do not enter the suppression weights, which judge how well a label fits and not how much it matters.
        loss_name: Key in mmseg's dict of losses; one that begins with `loss_` takes part in the backward pass.

    Attributes:
        suppressing: Whether noise is suppressed now; else the loss is plain cross-entropy. A head that has learnt
            nothing yet is confident of nothing, and suppression then only strengthens what it happens to say.

    Examples:
        The label that contradicts a sure network hardly counts; plain cross-entropy minds it most of all.

        >>> logits = torch.tensor([[4.0, -4.0, 4.0], [-4.0, 4.0, -4.0]]).reshape(1, 2, 1, 3)
        >>> target = torch.tensor([[[0, 1, 1]]])
        >>> NoiseSuppressedCrossEntropyLoss()(logits, target)
        tensor(0.0017)
        >>> NoiseSuppressedCrossEntropyLoss("ce")(logits, target)
        tensor(2.6670)
    """

    def __init__(
        self,
        variant: LossVariant = "onss",
        loss_weight: float = 1.0,
        class_weight: Sequence[float] | None = None,
        loss_name: str = "loss_noise_suppressed",
    ) -> None:
        super().__init__()
        _check_variant(variant)
        self.variant = variant
        self.suppressing = True
        self.loss_weight = loss_weight
        factors = None if class_weight is None else torch.tensor(class_weight, dtype=torch.float32)
        self.class_weight: Tensor | None
        self.register_buffer("class_weight", factors, persistent=False)
        self._loss_name = loss_name

    @property
    def loss_name(self) -> str:
        """Key in mmseg's dict of losses."""
        return self._loss_name

    def forward(  # noqa: PLR0917  mmseg's signature
        self,
        pred: Tensor,
        target: Tensor,
        weight: Tensor | None = None,
        ignore_index: int = IGNORE,
        avg_factor: float | None = None,
        reduction_override: Literal["none", "mean", "sum"] | None = None,
        **_: object,
    ) -> Tensor:
        """Loss of (N, C, H, W) logits against (N, H, W) labels.

        Args:
            pred: Logits, any float type.
            target: Labels, 0..C-1 or `ignore_index`.
            weight: Optional (N, H, W) weights of a pixel sampler, multiplied onto the suppression weights.
            ignore_index: Value of pixels without a label.
            avg_factor: Divides the sum instead of the number of valid pixels, or of the sum of their class weights.
            reduction_override: `none`, `mean` (default) or `sum`.

        Returns:
            float32 scalar, or (N, H, W) without reduction. All pixels ignored: 0, with a gradient of 0.
        """
        logits = _at_least_float32(pred)
        losses = _cross_entropy(logits, target, ignore_index)
        variant = self.variant if self.suppressing else "ce"
        weights = _weights(losses.detach(), logits.detach(), target, ignore_index, variant)
        weighted = losses * weights
        count = target != ignore_index
        if self.class_weight is not None:
            factors = self.class_weight.to(pred.device)[target.where(count, 0).long()]
            weighted, count = weighted * factors, count * factors
        if weight is not None:
            weighted = weighted * weight
        if reduction_override == "none":
            return self.loss_weight * weighted
        total = weighted.sum()
        if reduction_override != "sum":
            divisor = count.sum()  # 0 where nothing counts, and then the total is 0 as well
            total = total / (avg_factor or divisor.where(divisor > 0, 1))
        return self.loss_weight * total
