"""Make of the slides' maps what people open: pyramids, annotations, figures and pictures. No network is asked."""

import runpy
import shutil
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tqdm import tqdm

from wsss_mm import places
from wsss_mm.cohort import TABLE, Cohort
from wsss_mm.files import atomic_folder
from wsss_mm.formats import write_object
from wsss_mm.places import SLIDE_SUMMARY, SUMMARY
from wsss_mm.places import SLIDES_TABLE as SLIDES
from wsss_mm.slide_parameters import Parameters
from wsss_mm.vocabulary import get_vocabulary
from wsss_mm.wsi.cohort import jobs_of, note_nothing, raise_failed, share_folder, side_by_side, write_table
from wsss_mm.wsi.export import export_slide
from wsss_mm.wsi.job import Job
from wsss_mm.wsi.truth import judge_slide
from wsss_mm.wsi.viewer import write_overview

if TYPE_CHECKING:
    from wsss_mm.settings import Params

MAPS, OUT = places.MAPS, places.RESULTS
WORK = places.WORK / "export_slides"  # as in stage segment_slides


def main(params: "Params") -> None:
    """Fill results/slides/<slide_id> from data/maps, and list the slides in slides.csv and index.html there.

    A slide without a map is a failed one, as is one that cannot be read any more; the others are exported.
    """
    jobs = jobs_of(Cohort.read(TABLE, check_files=False), params.slides.splits, WORK)
    if not jobs:
        note_nothing(OUT, TABLE, params.slides.splits)
        return
    codes = get_vocabulary(params.cohort.vocabulary).codes
    work = partial(export_slide, maps=MAPS, parameters=Parameters.of(params.slides), skip_done=True)
    results = []
    with atomic_folder(OUT) as folder:
        done = tqdm(side_by_side(list(jobs), work, "export slides"), "slides", len(jobs), unit="slide")
        for (job, split), result in zip(jobs.items(), done, strict=True):
            notes = {"split": split}
            if result.summary is not None:
                notes |= _publish(job, dict(result.summary), codes, folder / job.slide_id)
            results.append(replace(result, notes=notes))
        write_table(folder / SLIDES, results)
        write_overview(folder, OUT)
    raise_failed(results)
    shutil.rmtree(WORK)


def _publish(job: Job, summary: dict[str, Any], codes: Sequence[str], folder: Path) -> dict[str, Any]:
    """Put a finished slide among the results, judged where there is truth; gives further columns of the table."""
    truth = TABLE.parent / places.TRUTH / f"{job.slide_id}.tif"
    share_folder(job.folder, folder)
    if not truth.is_file():
        return {}
    summary["truth"] = judge_slide(folder / places.LABEL_MAP, truth, codes)
    write_object(folder / SUMMARY, SLIDE_SUMMARY, summary)
    return {"miou": summary["truth"]["miou"]}


if __name__ == "__main__":
    runpy.run_module("pipelines", run_name="__main__")
