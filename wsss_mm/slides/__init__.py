"""Slides: reading at a given mpp, tissue and ROI masks, tiling, label pyramids, the table of slides, the phantom cohort."""
