"""The segmenter as the rest of the project uses it: images in, class probabilities out."""

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional


class Segmenter(nn.Module):
    """mmseg's EncoderDecoder with its normalisation inside.

    Args:
        network: The mmseg model, whose `data_preprocessor` holds mean and standard deviation for RGB in 0..255.
    """

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network: Any = network  # torch says nothing of a module's attributes

    @property
    def classes(self) -> int:
        """C."""
        return self.network.num_classes

    def logits(self, images: Tensor) -> Tensor:
        """(N, C, H, W) float32 logits of RGB images (N, 3, H, W) in 0..255, uint8 or float."""
        preprocessor = self.network.data_preprocessor
        inputs = (images.to(preprocessor.mean) - preprocessor.mean) / preprocessor.std
        coarse = self.network(inputs, mode="tensor")
        return functional.interpolate(
            coarse.float(), images.shape[-2:], mode="bilinear", align_corners=self.network.align_corners
        )

    @torch.no_grad()
    def predict_probabilities(self, images: Tensor) -> Tensor:
        """(N, C, H, W) float32 softmax of uint8 RGB images (N, 3, H, W), at their resolution."""
        return self.logits(images).softmax(1)

    forward = predict_probabilities
