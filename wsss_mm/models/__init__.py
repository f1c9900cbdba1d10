"""The networks, their losses and their weights; importing this room registers its types with mmengine.

Without mmengine there are the losses and the attention, which are of torch alone.
"""

from wsss_mm.extras import asks_for_mmengine, has_mmengine
from wsss_mm.models.attention import ProgressiveDropoutAttention
from wsss_mm.models.losses import NoiseSuppressedCrossEntropyLoss, noise_suppression_weights

if has_mmengine():
    from wsss_mm.models.backbones import Backbone, EfficientNetLite, ResNet38
    from wsss_mm.models.classifier import PatchClassifier
    from wsss_mm.models.mmseg_backbone import MmsegBackbone
    from wsss_mm.models.segmenter import Segmenter
    from wsss_mm.models.store import build_network, load_model, save_model, save_weights
    from wsss_mm.models.timm_backbone import TimmBackbone
    from wsss_mm.models.tokens import TokenBackbone
else:
    __getattr__ = asks_for_mmengine(__name__)


__all__ = [
    "Backbone",
    "EfficientNetLite",
    "MmsegBackbone",
    "NoiseSuppressedCrossEntropyLoss",
    "PatchClassifier",
    "ProgressiveDropoutAttention",
    "ResNet38",
    "Segmenter",
    "TimmBackbone",
    "TokenBackbone",
    "build_network",
    "load_model",
    "noise_suppression_weights",
    "save_model",
    "save_weights",
]
