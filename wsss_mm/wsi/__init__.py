"""Whole slides: sliding-window segmentation, stitching, and exports that pathologists' tools open."""

from wsss_mm.wsi.model import SlideModel
from wsss_mm.wsi.segment import segment_slide

__all__ = ["SlideModel", "segment_slide"]
