"""What a resolution of a whole slide can be, um/px at level 0."""

MICROSCOPES = (0.1, 4.0)
"""Finest and coarsest um/px of slides: outside, a tag is a printer's (2400 dpi are 10.6 um), a number a slip."""

SAME = 1.02
"""Resolutions are the same where they differ by no more: scanners round theirs, and pixels are square within that."""


def is_microscopes(mpp: float) -> bool:
    """Whether a slide can have this resolution."""
    return MICROSCOPES[0] <= mpp <= MICROSCOPES[1]


def are_same(first: float, second: float) -> bool:
    """Whether two resolutions differ by rounding alone."""
    return max(first, second) <= SAME * min(first, second)
