"""Weakly supervised tissue segmentation of H&E whole-slide images.

Nothing heavy is imported here: the rooms (`wsss_mm.slides`, `wsss_mm.models`, ...) import what they need.
"""

__version__ = "0.1.0"
