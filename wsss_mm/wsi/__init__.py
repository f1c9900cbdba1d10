"""Whole slides: sliding-window segmentation, stitching, and exports that pathologists' tools open."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from wsss_mm.wsi.model import SlideModel
    from wsss_mm.wsi.segment import segment_slide

__all__ = ["SlideModel", "segment_slide"]

_HOMES = {"SlideModel": "model", "segment_slide": "segment"}


def __getattr__(name: str) -> Any:
    """Import what is asked for, then: the command line shows the defaults of `parameters` without the rest."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
