"""The networks, their losses and their weights; importing this room registers its types with mmengine."""

from wsss_mm.models.attention import ProgressiveDropoutAttention
from wsss_mm.models.backbones import Backbone, EfficientNetLite, ResNet38
from wsss_mm.models.classifier import PatchClassifier
from wsss_mm.models.losses import NoiseSuppressedCrossEntropyLoss, noise_suppression_weights
from wsss_mm.models.segmenter import Segmenter
from wsss_mm.models.store import build_network, load_model, save_model, save_weights

__all__ = [
    "Backbone",
    "EfficientNetLite",
    "NoiseSuppressedCrossEntropyLoss",
    "PatchClassifier",
    "ProgressiveDropoutAttention",
    "ResNet38",
    "Segmenter",
    "build_network",
    "load_model",
    "noise_suppression_weights",
    "save_model",
    "save_weights",
]
