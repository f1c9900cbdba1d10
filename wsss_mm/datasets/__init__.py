"""Datasets, their keyed randomness and transforms; importing this room registers them with mmengine."""

from wsss_mm.datasets.keyed import SeededSampler
from wsss_mm.datasets.patches import PatchLabelDataset, PseudoLabelDataset
from wsss_mm.datasets.transforms import (
    FlipAndRotate,
    FocusJitter,
    PackPatch,
    RandomCrop,
    RandomDeformation,
    StainJitter,
)

__all__ = [
    "FlipAndRotate",
    "FocusJitter",
    "PackPatch",
    "PatchLabelDataset",
    "PseudoLabelDataset",
    "RandomCrop",
    "RandomDeformation",
    "SeededSampler",
    "StainJitter",
]
