"""Stage `cohort`: slides with their patients and splits, as data/cohort/slides.csv."""

from pathlib import Path

import pandas as pd

from wsss_mm.files import atomic_folder
from wsss_mm.settings import Params
from wsss_mm.slides.table import write_slide_table
from wsss_mm.vocabulary import get_vocabulary

COHORT = Path("data/cohort")


def main(params: Params) -> None:
    """Make data/cohort whole or not at all."""
    with atomic_folder(COHORT) as folder:
        write_slide_table(_slides(params, folder), folder / "slides.csv")


def _slides(params: Params, folder: Path) -> pd.DataFrame:
    cohort = params.cohort
    if cohort.name == "phantom":
        from wsss_mm.slides.phantom import generate_cohort

        vocabulary = get_vocabulary(cohort.vocabulary)
        return generate_cohort(folder, cohort.phantom.slides, cohort.phantom.size, params.seed, vocabulary=vocabulary)
    if cohort.name == "slides":
        from wsss_mm.slides.adopt import adopt_slides

        return adopt_slides(cohort.source, COHORT)
    from wsss_mm.patches.importers import list_slides

    return list_slides(cohort.name, cohort.source)
