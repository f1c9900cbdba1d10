"""The cohort: which slides there are, whose they are, where they lie, and in which split they count."""

from wsss_mm.cohort.cohort import DRAWINGS, LABELS, TABLE, Cohort, Slide

__all__ = ["DRAWINGS", "LABELS", "TABLE", "Cohort", "Slide"]
