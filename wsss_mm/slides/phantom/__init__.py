"""The phantom cohort: a seeded generator of H&E-like slides with exact truth, so that the line runs anywhere.

Nothing here comes from a patient: every slide follows from the seed. `fields` makes random fields, `layout` decides
which tissue is where, `matrix` and `nuclei` fill it, `stain` turns stain concentrations into colours, `aperio` writes
the slide, `cohort` does it for all slides.
"""

from wsss_mm.slides.phantom.cohort import PHANTOM_MPP, generate_cohort, generate_slide

__all__ = ["PHANTOM_MPP", "generate_cohort", "generate_slide"]
