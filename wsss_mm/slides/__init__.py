"""Slides: reading at a given mpp, tissue and ROI masks, tiling, label pyramids, the slide table, the phantom cohort."""

from wsss_mm.slides.reader import SlideReader, open_slide

__all__ = ["SlideReader", "open_slide"]
