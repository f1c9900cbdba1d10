"""Backbones: the protocol, those of this package, and how a config names one."""

from wsss_mm.models.backbones.configs import (
    auxiliary_stage_of,
    backbone_config,
    channels_of,
    initial_file,
    load_initial_weights,
    normalisation,
    out_channels,
    segmenter_stages,
)
from wsss_mm.models.backbones.efficientnet_lite import EfficientNetLite
from wsss_mm.models.backbones.protocol import FREEZE, IMAGE, Backbone, Freeze
from wsss_mm.models.backbones.resnet38 import ResNet38

__all__ = [
    "FREEZE",
    "IMAGE",
    "Backbone",
    "EfficientNetLite",
    "Freeze",
    "ResNet38",
    "auxiliary_stage_of",
    "backbone_config",
    "channels_of",
    "initial_file",
    "load_initial_weights",
    "normalisation",
    "out_channels",
    "segmenter_stages",
]
