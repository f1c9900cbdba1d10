"""Stage `cohort`: slides with their patients and splits, as data/cohort/slides.csv."""

import logging
import os
import runpy
from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd

from wsss_mm import places
from wsss_mm.cohort.splits import hold_out
from wsss_mm.dvc_files import pipeline_stages
from wsss_mm.files import atomic_folder
from wsss_mm.slides.icc import note_icc
from wsss_mm.slides.table import write_slide_table
from wsss_mm.vocabulary import get_vocabulary

if TYPE_CHECKING:
    from wsss_mm.settings import Params

logger = logging.getLogger(__name__)

COHORT = places.COHORT
SEEN = places.SEEN


def main(params: "Params") -> None:
    """Make data/cohort whole or not at all."""
    _check_when_it_runs(params.cohort.name)
    with atomic_folder(COHORT) as folder:
        slides = hold_out(_slides(params, folder), params.patches.valid_share, params.seed, str(params.cohort.source))
        write_slide_table(slides, folder / places.SLIDES_TABLE)
        if params.stain.icc:
            note_icc(folder)
    if (slides["path"] != "").any():
        for split in sorted(set(params.slides.splits) - set(slides["split"])):
            logger.warning("slides.splits names %s, but no slide is of that split: none is segmented for it", split)


def _slides(params: "Params", folder: Path) -> pd.DataFrame:
    cohort = params.cohort
    if cohort.name == "phantom":
        from wsss_mm.cohort.adopt import record_slides
        from wsss_mm.slides.phantom import generate_cohort

        vocabulary, phantom = get_vocabulary(cohort.vocabulary), cohort.phantom
        slides = generate_cohort(folder, phantom.slides, phantom.size, params.seed, vocabulary=vocabulary)
        return record_slides(slides, folder)
    if cohort.name == "slides":
        from wsss_mm.cohort.adopt import adopt_slides

        return adopt_slides(cohort.source, folder, COHORT, labels=cohort.labels, drawn=places.DRAWN, seen=SEEN)
    from wsss_mm.patches.importers import list_slides

    return list_slides(cohort.name, cohort.source, get_vocabulary(cohort.vocabulary))


def _check_when_it_runs(name: str) -> None:
    """Say where dvc.yaml is of another cohort: whether slides were replaced, only this stage can tell DVC."""
    if "DVC_STAGE" not in os.environ:
        return
    stage = pipeline_stages(Path(places.PIPELINE).read_bytes(), places.PIPELINE).get("cohort", {})
    if stage.get("always_changed", False) != (name == "slides"):
        logger.warning(
            "dvc.yaml: a user's own slides are looked at in every `dvc repro`, and no other cohort is, and params.yaml "
            "says %s; %s `always_changed: true` below cmd of stage cohort",
            name,
            "write" if name == "slides" else "remove",
        )


if __name__ == "__main__":
    runpy.run_module("pipelines", run_name="__main__")
