"""The multi-label patch classifier whose class activation maps become pseudo-labels (METHOD section 2)."""

from collections.abc import Sequence
from typing import Any

import torch
from mmengine.model import BaseModel
from mmengine.structures import BaseDataElement
from torch import Tensor, nn
from torch.nn import functional

from wsss_mm.models.backbones import channels_of
from wsss_mm.registry import MODELS


def soft_margin_loss(logits: Tensor, labels: Tensor, known: Tensor | None = None) -> Tensor:
    """Multi-label soft margin loss: the mean over the known classes of each patch, then over patches.

    Args:
        logits: (N, C).
        labels: (N, C) of 0 and 1, in the logits' type.
        known: (N, C) bool, where the labels say something; None where they do everywhere. A patch of which nothing is
            known does not count.

    Returns:
        A scalar; 0 where nothing is known.
    """
    if known is None or bool(known.all()):
        return functional.multilabel_soft_margin_loss(logits, labels)
    known = known.to(logits)
    terms = functional.logsigmoid(logits) * labels + functional.logsigmoid(-logits) * (1 - labels)
    counts = known.sum(dim=1)
    of_patches = -(terms * known).sum(dim=1) / counts.clamp(min=1)
    return of_patches.sum() / (counts > 0).sum().clamp(min=1)


@MODELS.register_module()
class PatchClassifier(BaseModel):
    """Backbone -> progressive dropout attention -> channel dropout -> global average pool -> 1x1 convolution.

    Args:
        backbone: Config of a backbone; its last feature map is used.
        classes: C.
        attention: Config of the attention.
        dropout: Share of channels dropped before the pool.
        data_preprocessor: Normalisation; see the config.
    """

    def __init__(
        self,
        backbone: dict,
        classes: int,
        *,
        attention: dict | None = None,
        dropout: float = 0.5,
        data_preprocessor: dict | None = None,
        init_cfg: dict | None = None,
    ) -> None:
        super().__init__(data_preprocessor=data_preprocessor, init_cfg=init_cfg)
        self.backbone = MODELS.build(backbone)
        self.attention = MODELS.build(attention or {"type": "wsss_mm.ProgressiveDropoutAttention", "variant": "off"})
        self.dropout = nn.Dropout2d(dropout)
        self.head = nn.Conv2d(channels_of(self.backbone)[-1], classes, 1, bias=False)

    def init_weights(self) -> None:
        """Initialise the backbone, and the head with small weights."""
        super().init_weights()
        nn.init.normal_(self.head.weight, std=0.01)

    @property
    def head_weight(self) -> Tensor:
        """(C, K): one row of the linear head a class."""
        return self.head.weight.flatten(1)

    def features(self, images: Tensor) -> Tensor:
        """(N, K, h, w) activated features of normalised images (N, 3, H, W)."""
        return self.backbone(images)[-1]

    def normalize(self, images: Tensor) -> Tensor:
        """Normalised float32 of (N, 3, H, W) RGB in 0..255."""
        preprocessor: Any = self.data_preprocessor
        return (images.to(self.head.weight.dtype) - preprocessor.mean) / preprocessor.std

    def logits(self, images: Tensor) -> Tensor:
        """(N, C) logits of normalised images."""
        return self._logits_of(self.features(images))

    def _logits_of(self, features: Tensor) -> Tensor:
        """(N, C) logits of (N, K, h, w) features."""
        features = self.dropout(self.attention(features, self.head.weight))
        with torch.autocast(features.device.type, enabled=False):  # a mean over hundreds of pixels wants float32
            pooled = functional.adaptive_avg_pool2d(features.to(self.head.weight.dtype), 1)
            return self.head(pooled).flatten(1)

    def forward(  # ty: ignore[incompatible-method-override]  mmengine's hint forgets mode tensor
        self, inputs: Tensor, data_samples: Sequence[BaseDataElement] | None = None, mode: str = "tensor"
    ) -> dict[str, Tensor] | list[BaseDataElement] | Tensor:
        """Mmengine's entry: `loss`, `predict` (scores added to the samples) or `tensor` (logits)."""
        logits = self.logits(inputs)
        if mode == "tensor":
            return logits
        if data_samples is None:
            raise ValueError(f"mode {mode!r} needs data_samples")
        if mode == "loss":
            labels = torch.stack([sample.get("label") for sample in data_samples]).to(logits)
            known = [sample.get("known") for sample in data_samples if "known" in sample]
            return {"loss": soft_margin_loss(logits, labels, torch.stack(known) if known else None)}
        for sample, scores in zip(data_samples, logits.sigmoid(), strict=True):
            sample.set_field(scores, "scores")
        return list(data_samples)

    @torch.no_grad()
    def predict(self, images: Tensor) -> Tensor:
        """(N, C) probabilities of uint8 RGB images (N, 3, H, W)."""
        return self.logits(self.normalize(images)).sigmoid()

    @torch.no_grad()
    def describe(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """(N, K) features averaged over each image, and (N, C) probabilities, of uint8 RGB images (N, 3, H, W)."""
        features = self.features(self.normalize(images))
        pooled = functional.adaptive_avg_pool2d(features.to(self.head.weight.dtype), 1).flatten(1)
        return pooled, self._logits_of(features).sigmoid()
